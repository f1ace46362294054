"""Cases that cannot work, for test_bad_input.py: it runs them by `cprlab run` and reads what came of each.

Its name keeps pytest from collecting it by itself.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import pytest

from lab.bench import Bench
from lab.drivers.agent import HostAgent
from lab.evidence import Evidence
from lab.guest import Guest
from lab.loads import RunningLoad
from lab.rows import Attached, Case, Row
from lab.rows.devices import Disk

T = TypeVar("T")
Start = Callable[[], AbstractContextManager[T]]

QEMU = "host:/usr/bin/qemu-system-x86_64"

good_qemu = pytest.mark.parametrize("qemu_new", [QEMU], ids=["good QEMU"], indirect=True)


@pytest.fixture
def hidden_iommufd(bench: Bench) -> Iterator[None]:
    """A bench host that looks as if its kernel had no iommufd."""
    bench.connection.check(["mv", "/dev/iommu", "/dev/iommu.hidden"])
    yield
    bench.connection.check(["mv", "/dev/iommu.hidden", "/dev/iommu"])


def test_option_qemu_new(guest: Guest) -> None:
    """The run was asked for --qemu-new host:/bin/true."""


@pytest.mark.parametrize("qemu_new", ["host:/no/such/qemu"], indirect=True)
def test_qemu_new(guest: Guest) -> None:
    """A path that does not exist."""


@good_qemu
@pytest.mark.parametrize("iommu", ["iommufd"], indirect=True)
def test_iommufd(hidden_iommufd: None, attached: list[Attached]) -> None:
    """A host without iommufd."""


@good_qemu
@pytest.mark.parametrize(
    "row",
    [Case(Row(name, name, (Disk(name),)), "type1") for name in ("ghost", "twin")],
    ids=["ghost", "twin"],
)
def test_function(attached: list[Attached]) -> None:
    """A function that is not there, and one that shares its IOMMU group."""


@good_qemu
@pytest.mark.parametrize("guest_initramfs", [Path(__file__)], ids=["a text file"], scope="session")
def test_guest_does_not_boot(guest: Guest) -> None:
    """Its initramfs is none."""


def test_all_is_given_back(agent: HostAgent, bench: Bench) -> None:
    """After all of these: functions at their drivers, no QEMU on the bench host."""
    drivers = {f["bdf"]: f["driver"] for f in agent.functions()}
    assert [drivers[bench.function(name).bdf] for name in ("nic", "twin")] == ["igb", "nvme"]
    assert agent.facts["restored"] == []
    assert bench.connection.run(["pgrep", "-f", "cprlab-guest"]).stdout == ""


@good_qemu
def test_bench_dies(bench: Bench, load: Start[RunningLoad], update: Start[None]) -> None:
    """Its QEMU is killed while the load runs."""
    with load() as running:
        running.settle()
        assert bench.virtual is not None
        bench.virtual.vm.process.kill()
        with update():
            running.settle()


def test_fresh_bench(bench: Bench, agent: HostAgent) -> None:
    """The case after it."""
    assert bench.connection.check(["uname", "-s"]) == "Linux\n"


def test_full_disk(attached: list[Attached], evidence: Evidence) -> None:
    """The disk of the run record fills up while a case records."""
    with (evidence.folder / "ballast").open("wb", buffering=0) as ballast:
        while True:
            try:
                ballast.write(bytes(1 << 16))
            except OSError:
                break
    for number in range(1000):
        evidence.record("epoch", number=number)


def test_host_answers(bench: Bench) -> None:
    """Wants nothing but a bench host that answers."""
