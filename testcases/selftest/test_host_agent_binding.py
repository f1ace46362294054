"""Functions are bound only if the host can spare them, and always given back.

Claim: issue 2, "an unknown BDF, a function in a group with others …: one clear line, devices given back".
"""

import contextlib
import json
from pathlib import Path

import pytest

from lab.agents.host import binding, inuse, netuse
from lab.agents.host.functions import functions
from lab.agents.host.journal import Journal
from lab.agents.rpc import AgentError
from testcases.selftest.host_agent_fakes import DISK, MANAGEMENT, NIC, NIC2, PORT, FakeHost, told


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path / "host")


def journal_of(host: FakeHost, lock_wait_s: float = 0.2) -> Journal:
    undo = {binding.KIND: lambda entry: binding.undo(host.sysfs, entry)}
    return Journal(host.root / "journal.jsonl", undo, lock_wait_s)


@pytest.fixture
def journal(host: FakeHost) -> Journal:
    return journal_of(host)


def test_bound_and_given_back(host: FakeHost, journal: Journal) -> None:
    bound = binding.bind(host.sysfs, journal, told(NIC))
    assert (bound["driver_before"], bound["group"], host.sysfs.driver(NIC)) == ("igb", "1", "vfio-pci")
    binding.give_back(journal, NIC)
    assert host.sysfs.driver(NIC) == "igb"
    assert host.sysfs.attribute(NIC, "driver_override") == "(null)"
    assert journal.path.read_text() == ""


def test_the_override_is_set_before_the_driver_lets_go(host: FakeHost, journal: Journal) -> None:
    binding.bind(host.sysfs, journal, told(NIC))
    assert [name for name, _ in host.written] == ["driver_override", "unbind", "drivers_probe"]


def test_binding_and_giving_back_twice_is_harmless(host: FakeHost, journal: Journal) -> None:
    for _ in range(2):
        assert binding.bind(host.sysfs, journal, told(NIC))["driver_before"] == "igb"
    for _ in range(2):
        binding.give_back(journal, NIC)
        assert host.sysfs.driver(NIC) == "igb"


def test_a_function_without_driver_is_left_without(host: FakeHost, journal: Journal) -> None:
    (host.root / "sys/bus/pci/devices" / NIC / "driver").unlink()
    binding.bind(host.sysfs, journal, told(NIC))
    binding.give_back(journal, NIC)
    assert host.sysfs.driver(NIC) is None


def refusal(host: FakeHost, journal: Journal, bdf: str) -> str:
    with pytest.raises(AgentError) as refused:
        binding.bind(host.sysfs, journal, told(bdf))
    assert host.written == [], "a refusal changes nothing"
    return str(refused.value)


def test_unknown_function_is_refused_with_a_list(host: FakeHost, journal: Journal) -> None:
    assert f"{NIC} (igb)" in refusal(host, journal, "0000:99:00.0")
    assert "no PCI function" in refusal(host, journal, "../../../etc")


def test_no_iommu_is_refused(host: FakeHost, journal: Journal) -> None:
    host.add("0000:05:00.0", "igb", group=None, pci_class="0x020000")
    assert "IOMMU" in refusal(host, journal, "0000:05:00.0")


def test_a_bridge_is_refused(host: FakeHost, journal: Journal) -> None:
    assert "bridge" in refusal(host, journal, PORT)


def test_a_shared_group_is_refused_unless_all_are_to_be_bound(host: FakeHost, journal: Journal) -> None:
    host.add("0000:01:00.1", "igb", group="1", pci_class="0x020000")
    assert "0000:01:00.1 (igb)" in refusal(host, journal, NIC)
    binding.bind(host.sysfs, journal, told(NIC), together=["0000:01:00.1"])
    binding.bind(host.sysfs, journal, told("0000:01:00.1"))
    assert host.sysfs.driver("0000:01:00.1") == "vfio-pci"


def test_the_hosts_own_connection_is_refused(host: FakeHost, journal: Journal) -> None:
    net = host.folder(f"sys/devices/pci0000:00/{MANAGEMENT}/virtio0/net/eth0")
    host.link("sys/class/net/eth0", net)
    host.file("proc/net/route", "Iface\tDestination\neth0\t00000000\n")
    assert "network connection" in refusal(host, journal, MANAGEMENT)


def test_a_nic_below_an_addressed_bridge_is_the_hosts_own(host: FakeHost) -> None:
    net = host.folder(f"sys/devices/pci0000:00/{NIC2}/net/eth1")
    host.link("sys/class/net/eth1", net)
    bridge = host.folder("sys/devices/virtual/net/br0")
    host.link("sys/class/net/br0", bridge)
    (bridge / "lower_eth1").symlink_to(net)
    host.file("proc/net/if_inet6", "fd00 05 40 00 80 br0\n")
    assert netuse.management_functions(host.sysfs).keys() == {NIC2}


def test_a_link_local_address_alone_does_not_count(
    host: FakeHost, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.link("sys/class/net/eth1", host.folder(f"sys/devices/pci0000:00/{NIC2}/net/eth1"))
    host.file("proc/net/if_inet6", "fe80 05 40 20 80 eth1\n")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    assert netuse.management_functions(host.sysfs) == {}
    monkeypatch.setenv("SSH_CONNECTION", "fe80::1%eth1 40000 fe80::2%eth1 22")
    assert netuse.management_functions(host.sysfs).keys() == {NIC2}


@pytest.mark.parametrize("how", ["mount", "btrfs", "swap", "device mapper", "nvme multipath"])
def test_a_disk_in_use_is_refused(host: FakeHost, journal: Journal, how: str) -> None:
    controller = host.folder(f"sys/devices/pci0000:00/{DISK}/nvme/nvme0")
    disk = host.folder(f"sys/devices/pci0000:00/{DISK}/nvme/nvme0/nvme0n1")
    number, source, swaps = "259:1", "/dev/nvme0n1p1", "Filename\n"
    if how == "nvme multipath":
        subsystem = host.folder("sys/devices/virtual/nvme-subsystem/nvme-subsys0")
        (subsystem / "nvme0").symlink_to(controller)
        disk = host.folder("sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1")
    (disk / "nvme0n1p1").mkdir()
    (disk / "nvme0n1p1/partition").write_text("1\n")
    host.link("sys/class/block/nvme0n1p1", disk / "nvme0n1p1")
    mounted = disk / "nvme0n1p1"
    if how == "device mapper":
        mounted = host.folder("sys/devices/virtual/block/dm-0")
        (mounted / "slaves").mkdir()
        (mounted / "slaves/nvme0n1p1").symlink_to(disk / "nvme0n1p1")
    if how == "btrfs":
        number = "0:27"
    elif how == "swap":
        number, source, swaps = "0:1", "tmpfs", "Filename\n/dev/nvme0n1p1 partition\n"
    else:
        host.link(f"sys/dev/block/{number}", mounted)
    host.file("proc/self/mountinfo", f"22 1 {number} / / rw - btrfs {source} rw\n")
    host.file("proc/swaps", swaps)
    assert "disk" in refusal(host, journal, DISK)
    assert inuse.disk_functions(host.sysfs).keys() == {DISK}


def test_a_kernel_that_does_not_bind_is_told_of_and_undone(host: FakeHost, journal: Journal) -> None:
    host.refuses.add("vfio-pci")
    with pytest.raises(AgentError, match="bound to no driver after asking for vfio-pci"):
        binding.bind(host.sysfs, journal, told(NIC))
    assert host.sysfs.driver(NIC) == "igb"


def test_a_journal_that_cannot_be_written_stops_the_change(host: FakeHost) -> None:
    blocked = host.root / "file"
    blocked.write_text("")
    with pytest.raises(AgentError, match="root"):
        binding.bind(
            host.sysfs, Journal(blocked / "journal.jsonl", {binding.KIND: lambda entry: None}), told(NIC)
        )
    assert host.written == []


@pytest.mark.parametrize("writes_done", range(4))
def test_a_crash_at_any_step_is_undone_by_the_next_agent(host: FakeHost, writes_done: int) -> None:
    real, done = host.write, 0

    class Crash(BaseException):
        pass

    def write(path: Path, text: str) -> None:
        nonlocal done
        if done == writes_done:
            raise Crash
        done += 1
        real(path, text)

    object.__setattr__(host.sysfs, "write", write)
    crashed = journal_of(host)
    with contextlib.suppress(Crash):
        binding.bind(host.sysfs, crashed, told(NIC))
    crashed.close()  # as the kernel does for a dead process
    with crashed.path.open("a") as file:
        file.write('{"entry": 9, "kind": "pci.dri')  # and it died while it wrote
    object.__setattr__(host.sysfs, "write", real)
    following = journal_of(host)
    following.load()
    assert [u["what"] for u in following.undo_all()] == [NIC]
    assert (host.sysfs.driver(NIC), host.sysfs.attribute(NIC, "driver_override")) == ("igb", "(null)")
    assert following.undo_all() == [] and following.path.read_text() == ""


def test_undone_backwards_and_a_failure_does_not_hold_up_the_rest(host: FakeHost, journal: Journal) -> None:
    host.disk()
    for bdf in (NIC, NIC2, DISK):
        binding.bind(host.sysfs, journal, told(bdf))
    host.refuses.add("nvme")
    undone = journal.undo_all()
    assert [u["what"] for u in undone] == [DISK, NIC2, NIC]
    assert ["error" in u for u in undone] == [True, False, False]
    assert [json.loads(line)["what"] for line in journal.path.read_text().split("\n") if '"what"' in line][
        2:
    ] == [DISK]
    host.refuses.clear()
    assert [u["what"] for u in journal.undo_all()] == [DISK]
    assert host.sysfs.driver(DISK) == "nvme"


def test_a_function_that_is_gone_needs_no_undoing(host: FakeHost, journal: Journal) -> None:
    binding.bind(host.sysfs, journal, told(NIC))
    (host.root / "sys/bus/pci/devices" / NIC).unlink()
    assert "error" not in journal.undo_all()[0]


def test_one_agent_at_a_time(host: FakeHost, journal: Journal) -> None:
    journal.load()
    with pytest.raises(AgentError, match="another host agent"):
        journal_of(host).load()


def test_functions_are_described(host: FakeHost) -> None:
    nic = next(f for f in functions(host.sysfs) if f["bdf"] == NIC)
    assert nic["group_members"] == [PORT, NIC] and nic["reset_methods"] == ["flr", "pm", "bus"]
    assert (nic["driver"], nic["iommu_group"], nic["sriov_totalvfs"], nic["numa_node"]) == (
        "igb",
        "1",
        None,
        -1,
    )
