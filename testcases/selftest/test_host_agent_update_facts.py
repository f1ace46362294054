"""What the host agent says of a host and a QEMU before an update.

Recorded: Linux 7.3.4, /proc/PID/limits and /proc/PID/status.
"""

import os
from pathlib import Path

import pytest

from lab.agents.host.sysfs import Sysfs
from lab.agents.host.update_facts import FIRST_USERS, TYPE1, may_lock_all, memlock_bytes, update_facts
from lab.agents.rpc import AgentError
from testcases.selftest.host_agent_fakes import NIC, FakeHost

LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units
Max processes             11811                11811                processes
Max locked memory         {}           8388608              bytes
Max address space         unlimited            unlimited            bytes
"""


@pytest.mark.parametrize(("text", "limit"), [("8388608  ", 8 << 20), ("unlimited", None), ("0        ", 0)])
def test_the_limit_of_locked_memory(text: str, limit: int | None) -> None:
    assert memlock_bytes(LIMITS.format(text)) == limit


@pytest.mark.parametrize(
    ("effective", "may"),
    [
        ("000001ffffffffff", True),
        ("0000000000004000", True),
        ("0000000000000000", False),
        ("00000000a80425fb", False),
    ],
)
def test_the_capability_that_no_limit_holds(effective: str, may: bool) -> None:
    assert may_lock_all(f"Name:\tqemu\nCapPrm:\t0\nCapEff:\t{effective}\n") is may


def test_of_this_process_the_kernel_is_asked() -> None:
    found = update_facts(Sysfs(), os.getpid(), ["0000:ff:1f.7"], [str(Path(__file__).parent), __file__])
    assert found["resets"] == {}
    assert found["folders"] == {str(Path(__file__).parent): True, __file__: False}
    assert found["argv"] == Path("/proc/self/cmdline").read_text().split("\0")[:-1]
    capable = may_lock_all(Path("/proc/self/status").read_text())
    assert found["ipc_lock"] is (capable and str(Path("/proc/self/ns/user").readlink()) == FIRST_USERS)
    assert found["memlock_bytes"] == memlock_bytes(Path("/proc/self/limits").read_text())


def test_a_host_without_vfio_has_neither(tmp_path: Path) -> None:
    host = FakeHost(tmp_path / "host")
    found = update_facts(host.sysfs)
    assert (found["update_vaddr"], found["change_process"]) == (False, False)
    assert found.keys() == {"update_vaddr", "change_process", "resets", "folders"}


def test_a_node_that_answers_nothing_is_not_known(tmp_path: Path) -> None:
    """A file is no device: its ioctl fails in another way than that of a kernel which lacks the call."""
    host = FakeHost(tmp_path / "host")
    host.file("dev/vfio/vfio", "")
    (host.root / TYPE1).mkdir(parents=True)
    assert update_facts(host.sysfs)["update_vaddr"] is None


def test_a_container_that_iommufd_makes_is_none_of_type1(tmp_path: Path) -> None:
    host = FakeHost(tmp_path / "host")
    host.file("dev/iommu", "")
    (host.root / "dev/vfio").mkdir()
    (host.root / "dev/vfio/vfio").symlink_to("../iommu")
    (host.root / TYPE1).mkdir(parents=True)
    assert update_facts(host.sysfs)["update_vaddr"] is False


def test_how_a_function_is_reset(tmp_path: Path) -> None:
    host = FakeHost(tmp_path / "host")
    host.file(f"sys/bus/pci/devices/{NIC}/reset_method", "flr bus\n")
    assert update_facts(host.sysfs, functions=[NIC, "0000:0f:00.0"])["resets"] == {NIC: ["flr", "bus"]}


def test_a_process_that_is_not_there_is_told() -> None:
    with pytest.raises(AgentError, match="there is no process 4194305"):
        update_facts(Sysfs(), 4194305)
