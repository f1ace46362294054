"""Places of the lab with a host behind them: what becomes of it when something dies in the middle of a run.

The host is an emulated bare-metal one with a BMC, behind a real exporter and a real coordinator; runs are
`cprlab run --place` as processes of their own. Their case binds a NIC to VFIO, so that there is something to
give back, and waits.

Source: issue 7, "Places" and "Done when".
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.bench import prepared
from lab.emulation.started import emulated_host
from lab.places import local
from lab.places.coordinator import Coordinator
from lab.places.local import LocalCoordinator, Program
from lab.places.view import Place
from lab.waiting import wait_until

CHECKOUT = Path(__file__).resolve().parents[1]
TEMPLATE = CHECKOUT / "targets/virtual-place.yaml"
HOST = "bench-a"
BOOT_S = 180.0


@dataclass
class Lab:
    """A lab with one host."""

    coordinator: LocalCoordinator
    exporter: Program
    target: Path
    folder: Path

    def place(self) -> Place:
        with Coordinator(self.coordinator.address, "admin/look") as admin:
            return admin.view.places[HOST]

    def on_host(self, *argv: str) -> str:
        """What a command on the host says; a host that is off is off again afterwards."""
        bench = prepared(self.target)
        try:
            bench.ready()
            said = bench.connection.run(argv).stdout
            bench.off()
            return said
        finally:
            bench.environment.cleanup()

    def power_off(self) -> None:
        """A power cut."""
        bench = prepared(self.target)
        try:
            bench.target.activate(bench.strategy.power)
            bench.strategy.power.off()
        finally:
            bench.environment.cleanup()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    with (
        local.coordinator(folder / "coordinator") as coordinator,
        emulated_host(folder / HOST, "--name", HOST, "--far", "loop") as target,
        local.exporter_of(coordinator.address, "exp", folder / HOST / f"{HOST}.exporter", folder) as exporter,
        Coordinator(coordinator.address, "admin/places") as admin,
        pytest.MonkeyPatch.context() as environment,
    ):
        # what is told of this host is of no other one of its name
        environment.setenv("XDG_STATE_HOME", str(folder / "state"))
        admin.add_place(HOST, (f"exp/{HOST}/*",), {"nic": "igb"})
        yield Lab(coordinator, exporter, target, folder)


@dataclass
class Run:
    """A run on the place; `go on` in its folder ends its case."""

    lab: Lab
    folder: Path
    process: "subprocess.Popen[str]"

    def wait_bound(self) -> None:
        """Wait until its case has given the NIC to VFIO."""
        began = self.folder / "began"
        wait_until(lambda: began.exists() or self.process.poll() is not None, BOOT_S, "the case's beginning")
        assert self.process.poll() is None, self.ended()

    def ended(self, *, go_on: bool = False) -> tuple[int, str]:
        """Its exit status and what it said on stderr."""
        if go_on:
            (self.folder / "go on").touch()
        _, words = self.process.communicate(timeout=BOOT_S)
        return self.process.returncode, words

    def case(self) -> "tuple[str, str]":
        """The status of its case, and the reason."""
        record = next((self.folder / "runs").glob("*/run.json"))
        case = json.loads(record.read_text())["cases"][0]
        return case["status"], case["reason"]


@pytest.fixture
def start(lab: Lab, tmp_path: Path) -> "Iterator[object]":
    """Starts runs; those left over are ended."""
    runs: list[Run] = []

    def start(lease_s: float) -> Run:
        folder = tmp_path / str(len(runs))
        folder.mkdir()
        words = [
            "run",
            str(CHECKOUT / "testcases/places_cases.py"),
            "--place",
            HOST,
            "--bench",
            str(TEMPLATE),
        ]
        options = ["--coordinator", lab.coordinator.address, "--lease-s", str(lease_s)]
        process = subprocess.Popen(
            [sys.executable, "-c", "from lab.cli import main; main()", *words, *options],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(CHECKOUT), "CPRLAB_TEST_FOLDER": str(folder)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        runs.append(Run(lab, folder, process))
        return runs[-1]

    yield start
    for run in runs:
        run.process.terminate()
        run.process.communicate()


@pytest.mark.nightly
def test_a_power_cut_in_the_middle(lab: Lab, start) -> None:  # type: ignore[no-untyped-def]
    """The case is broken, not failed and not skipped; the run itself gives the host back, and says so."""
    run = start(lease_s=60)
    run.wait_bound()
    lab.power_off()
    status, words = run.ended(go_on=True)
    assert (status, run.case()[0]) == (2, "broken"), words
    assert f"looking after {HOST}, as a case was broken" in words
    assert f"{HOST} is given back: nothing is left in its journal, it passed its check" in words
    place = lab.place()
    assert (place.holder, place.in_use, place.health) == (None, {}, "")


@pytest.mark.nightly
def test_a_controller_is_killed_in_the_middle(lab: Lab, start) -> None:  # type: ignore[no-untyped-def]
    """Its lease ends; who comes next waits for that, cycles the host's power, and runs."""
    killed = start(lease_s=20)
    killed.wait_bound()
    holder = lab.place().holder
    killed.process.send_signal(signal.SIGKILL)
    following = start(lease_s=60)
    following.wait_bound()
    status, words = following.ended(go_on=True)
    assert (status, following.case()[0]) == (2, "passed"), "it has no verdict"
    assert f"{HOST} held by {holder}" in words
    assert f"its host was left as it was by {holder}" in words
    assert f"{HOST} is given back: its power was cycled" in words
    assert (lab.place().holder, lab.place().in_use) == (None, {})


@pytest.mark.nightly
def test_the_coordinator_dies_in_the_middle(lab: Lab, start) -> None:  # type: ignore[no-untyped-def]
    """The run stops after half a lease, having given the host's devices back, and says why."""
    run = start(lease_s=20)
    run.wait_bound()
    lab.coordinator.program.kill()
    status, words = run.ended()
    assert (status, run.case()) == (2, ("broken", "the coordinator did not answer for 10 s"))
    assert words.splitlines()[-1].startswith(f"cprlab: place {HOST}: the coordinator did not answer for 10 s")
    assert lab.on_host("cat", "/var/lib/cprlab/journal.jsonl") == ""
    lab.coordinator.restart()
    lab.exporter.kill()  # it ended when it lost the coordinator; its service would start it again
    lab.exporter.start("(Exporter ready)")


@pytest.mark.nightly
def test_the_exporter_dies_in_the_middle(lab: Lab, start) -> None:  # type: ignore[no-untyped-def]
    """The run goes on, as it needs it no more; the place is not handed out until an exporter is back."""
    run = start(lease_s=60)
    run.wait_bound()
    lab.exporter.kill()
    status, _ = run.ended(go_on=True)
    assert (status, run.case()[0]) == (2, "passed"), "it has no verdict"
    assert lab.place().holder is None
    status, words = start(lease_s=60).ended()
    assert status == 2
    assert f"{HOST}: no exporter offers exp/{HOST}/*" in words
    lab.exporter.start("(Exporter ready)")


@pytest.mark.nightly
def test_ssh_dies_in_the_middle(lab: Lab, start) -> None:  # type: ignore[no-untyped-def]
    """The case is broken; the host's agent undid everything when its line was cut."""
    run = start(lease_s=60)
    run.wait_bound()
    lab.on_host("sh", "-c", "nohup sh -c 'sleep 1; pkill sshd-session || pkill -f sshd:' >/dev/null 2>&1 &")
    status, words = run.ended(go_on=True)
    assert (status, run.case()[0]) == (2, "broken"), words
    assert f"{HOST} is given back: nothing is left in its journal, it passed its check" in words
    assert (lab.place().holder, lab.place().in_use) == (None, {})
