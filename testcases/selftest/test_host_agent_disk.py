"""The disk of a function is found when its driver has brought it up, and never one that the host uses.

Claim: a medium that is read or overwritten is the guest's, not the host's.
"""

import threading
from pathlib import Path

import pytest

from lab.agents.host.disk import disk_of
from lab.agents.host.sysfs import Sysfs
from lab.agents.rpc import AgentError
from testcases.selftest.host_agent_fakes import DISK, NIC, FakeHost


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path / "host")


def namespace(host: FakeHost, name: str = "nvme0n1", below: str = f"{DISK}/nvme/nvme0") -> Path:
    disk = host.folder(f"sys/devices/pci0000:00/{below}/{name}")
    host.link(f"sys/class/block/{name}", disk)
    host.file(f"dev/{name}", "")
    return disk


def test_the_first_whole_disk(host: FakeHost) -> None:
    for name in ("nvme0n10", "nvme0n2"):
        namespace(host, name)
    part = namespace(host, "nvme0n1p1", f"{DISK}/nvme/nvme0/nvme0n1")
    (part / "partition").write_text("1\n")
    assert disk_of(host.sysfs, DISK) == "/dev/nvme0n2"


def test_one_with_several_paths(host: FakeHost) -> None:
    hidden = namespace(host, "nvme0c0n1")
    (hidden / "hidden").write_text("1\n")
    shown = host.folder("sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1")
    (shown.parent / "nvme0").symlink_to(host.folder(f"sys/devices/pci0000:00/{DISK}/nvme/nvme0"))
    host.link("sys/class/block/nvme0n1", shown)
    host.file("dev/nvme0n1", "")
    assert disk_of(host.sysfs, DISK) == "/dev/nvme0n1"


def test_what_is_built_on_it_is_not_it(host: FakeHost) -> None:
    disk = namespace(host)
    upper = host.folder("sys/devices/virtual/block/dm-0")
    (upper / "slaves").mkdir()
    (upper / "slaves/nvme0n1").symlink_to(disk)
    host.link("sys/class/block/dm-0", upper)
    host.file("dev/dm-0", "")
    assert disk_of(host.sysfs, DISK) == "/dev/nvme0n1"


def test_it_is_waited_for(host: FakeHost) -> None:
    threading.Timer(0.1, namespace, [host]).start()
    assert disk_of(host.sysfs, DISK, appears_s=10) == "/dev/nvme0n1"


def refusal(sysfs: Sysfs, bdf: str) -> str:
    with pytest.raises(AgentError) as refused:
        disk_of(sysfs, bdf, appears_s=0.05)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_refusals(host: FakeHost) -> None:
    assert "no PCI function" in refusal(host.sysfs, "0000:99:00.0")
    assert f"{NIC} holds no disk: its class is 0x020000" in refusal(host.sysfs, NIC)
    assert f"{DISK} (nvme) has brought up no disk after 0.05 s" in refusal(host.sysfs, DISK)
    (host.root / "sys/bus/pci/devices" / DISK / "driver").unlink()
    assert f"{DISK} is bound to no driver" in refusal(host.sysfs, DISK)
    (host.root / "sys/bus/pci/devices" / DISK / "driver").symlink_to(
        host.root / "sys/bus/pci/drivers/vfio-pci"
    )
    assert f"{DISK} is bound to vfio-pci" in refusal(host.sysfs, DISK)


def test_a_disk_that_the_host_uses_is_refused(host: FakeHost) -> None:
    disk = namespace(host)
    part = namespace(host, "nvme0n1p1", f"{DISK}/nvme/nvme0/nvme0n1")
    (part / "partition").write_text("1\n")
    host.link("sys/dev/block/259:1", disk / "nvme0n1p1")
    host.file("proc/self/mountinfo", "22 1 259:1 / / rw - ext4 /dev/nvme0n1p1 rw\n")
    assert f"{DISK} holds a disk that this host has mounted" in refusal(host.sysfs, DISK)
