"""What a host needs, and what is not the device of the target file, is refused, and nothing is written.

Claim: issue 7, "Interlocks". Each line of the table arranges a host in which one thing speaks against a
function, and the same host without it binds it.
"""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lab.agents.host import binding
from lab.agents.host.agent import HostAgent
from lab.agents.host.interlocks import Allowed, AllowList, Uses, objections
from lab.agents.host.journal import Journal
from lab.agents.rpc import AgentError, Wire
from testcases.selftest.host_agent_fakes import DISK, NIC, NIC2, PORT, FakeHost, told

BESIDE = "0000:01:00.1"
Arrange = Callable[[FakeHost], None]

ADDRESSES = (
    '[{"ifindex":1,"ifname":"lo","addr_info":[{"local":"127.0.0.1"}]},'
    '{"ifindex":2,"ifname":"eth1","addr_info":[{"family":"inet","local":"192.0.2.7","prefixlen":32}]}]'
)
ROUTE = '[{"dst":"198.51.100.9","dev":"eth1","prefsrc":"192.0.2.7","flags":[],"uid":0,"cache":[]}]'


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    made = FakeHost(tmp_path / "host")
    made.disk()
    made.link("sys/class/net/eth1", made.folder(f"sys/devices/pci0000:00/{NIC}/net/eth1"))
    return made


@pytest.fixture
def journal(host: FakeHost) -> Journal:
    undo = {binding.KIND: lambda entry: binding.undo(host.sysfs, entry)}
    return Journal(host.root / "journal.jsonl", undo, 0.2)


def says(answers: dict[str, str]) -> Arrange:
    """`ip` answers."""

    def arrange(host: FakeHost) -> None:
        def run(argv: object) -> str:
            assert isinstance(argv, list)
            return next((text for words, text in answers.items() if words in " ".join(argv)), "[]")

        object.__setattr__(host.sysfs, "run", run)

    return arrange


def route(host: FakeHost) -> None:
    host.file("proc/net/route", "Iface\tDestination\neth1\t00000000\n")


def bond(host: FakeHost) -> None:
    """The address is the bond's; its ports are below it."""
    host.link("sys/class/net/bond0", host.folder("sys/devices/virtual/net/bond0"))
    (host.root / "sys/class/net/bond0/lower_eth1").symlink_to(host.root / "sys/class/net/eth1")
    host.file("proc/net/route", "Iface\tDestination\nbond0\t00000000\n")


def bridge_without_address(host: FakeHost) -> None:
    host.link("sys/class/net/br0", host.folder("sys/devices/virtual/net/br0"))
    (host.root / "sys/class/net/eth1/upper_br0").symlink_to(host.root / "sys/class/net/br0")


def neighbour(host: FakeHost) -> None:
    """Another function of the NIC's group carries the host's address; no driver of its own holds it."""
    host.add(BESIDE, "igb", group="1", pci_class="0x020000")
    host.link("sys/class/net/eth2", host.folder(f"sys/devices/pci0000:00/{BESIDE}/net/eth2"))
    host.file("proc/net/route", "Iface\tDestination\neth2\t00000000\n")
    (host.root / "sys/bus/pci/devices" / BESIDE / "driver").unlink()


def shared_group(host: FakeHost) -> None:
    host.add(BESIDE, "igb", group="1", pci_class="0x020000")


def attribute(bdf: str, name: str, text: str) -> Arrange:
    return lambda host: host.file(f"sys/devices/pci0000:00/{bdf}/{name}", f"{text}\n")


def given_away(host: FakeHost) -> None:
    """Somebody bound it to VFIO, and a QEMU has its group open."""
    driver = host.root / "sys/bus/pci/devices" / NIC / "driver"
    driver.unlink()
    driver.symlink_to(host.root / "sys/bus/pci/drivers/vfio-pci")
    host.hold(77, "/dev/vfio/1")


NETWORK = {
    "a route": (route, "0000:01:00.0 carries this host's own network connection: eth1 has a route"),
    "a bond's port": (bond, "own network connection: eth1 below bond0, which has a route"),
    "an address without a route": (
        says({"address show": ADDRESSES}),
        "own network connection: eth1 has the address 192.0.2.7",
    ),
    "the way ssh came": (
        says({"route get 198.51.100.9": ROUTE}),
        "own network connection: eth1 leads to 198.51.100.9, where ssh came from",
    ),
    "a bridge's port": (bridge_without_address, "0000:01:00.0: its interface eth1 is part of br0"),
    "its group": (
        neighbour,
        "0000:01:00.0: 0000:01:00.1 is in its IOMMU group, and of that: it carries this host's own network",
    ),
    "a group that is not whole": (shared_group, "shares IOMMU group 1 with 0000:01:00.1 (igb)"),
    "virtual functions": (attribute(NIC, "sriov_numvfs", "2"), "has 2 virtual functions"),
    "a guest of somebody else's": (given_away, "is given to somebody already: qemu (77)"),
    "no reset": (attribute(NIC, "reset_method", ""), "the kernel knows no way to reset it"),
}


@pytest.mark.parametrize(("arrange", "line"), NETWORK.values(), ids=NETWORK)
def test_a_nic_is_refused(
    host: FakeHost, journal: Journal, arrange: Arrange, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "198.51.100.9 40000 192.0.2.7 22")
    arrange(host)
    assert line in refusal(host, journal, told(NIC))


def test_the_same_nic_is_bound_where_nothing_speaks_against_it(host: FakeHost, journal: Journal) -> None:
    says({})(host)
    assert binding.bind(host.sysfs, journal, told(NIC))["driver_before"] == "igb"


def partition(host: FakeHost) -> Path:
    folder = host.folder(f"sys/devices/pci0000:00/{DISK}/nvme/nvme0/nvme0n1/nvme0n1p1")
    (folder / "partition").write_text("1\n")
    host.link("sys/class/block/nvme0n1p1", folder)
    return folder


def mounted(host: FakeHost) -> None:
    host.link("sys/dev/block/259:1", partition(host))
    host.file("proc/self/mountinfo", "22 1 259:1 / /srv rw - ext4 /dev/nvme0n1p1 rw\n")


def swapped(host: FakeHost) -> None:
    partition(host)
    host.file("proc/swaps", "Filename\tType\n/dev/nvme0n1p1 partition\n")


def volume(host: FakeHost, mounts: str = "") -> None:
    """LVM on md on a partition."""
    md, dm = host.folder("sys/devices/virtual/block/md0"), host.folder("sys/devices/virtual/block/dm-0")
    for upper, lower in ((md, partition(host)), (dm, md)):
        for folder, other in ((upper / "slaves", lower), (lower / "holders", upper)):
            folder.mkdir()
            (folder / other.name).symlink_to(other)
        host.link(f"sys/class/block/{upper.name}", upper)
    host.file("sys/devices/virtual/block/dm-0/dm/name", "vg0-data\n")
    host.link("sys/dev/block/253:0", dm)
    host.file("proc/self/mountinfo", mounts)


def multipath(host: FakeHost) -> None:
    """Nothing is mounted; device mapper holds the disk as one of its paths."""
    dm = host.folder("sys/devices/virtual/block/dm-3")
    host.link("sys/class/block/dm-3", dm)
    host.file("sys/devices/virtual/block/dm-3/dm/name", "mpatha\n")
    holders = host.folder(f"sys/devices/pci0000:00/{DISK}/nvme/nvme0/nvme0n1/holders")
    (holders / "dm-3").symlink_to(dm)


DISKS = {
    "mounted": (mounted, "holds a disk that this host uses: nvme0n1p1 is mounted on /srv"),
    "swapped": (swapped, "holds a disk that this host uses: nvme0n1p1 is swapped to"),
    "mounted through LVM and md": (
        lambda host: volume(host, "22 1 253:0 / /srv rw - ext4 /dev/mapper/vg0-data rw\n"),
        "holds a disk that this host uses: nvme0n1p1 below dm-0 is mounted on /srv",
    ),
    "a member of md, mounted nowhere": (volume, "its disk nvme0n1p1 is part of md0"),
    "a path of dm-multipath": (multipath, "its disk nvme0n1 is part of dm-3 (mpatha)"),
    "claimed by the kernel": (
        lambda host: host.claims.add("nvme0n1"),
        "its disk nvme0n1 is claimed by the kernel",
    ),
    "held open by a process": (
        lambda host: host.hold(77, "/dev/nvme0n1"),
        "its disk nvme0n1 is held open by qemu (77)",
    ),
}


@pytest.mark.parametrize(("arrange", "line"), DISKS.values(), ids=DISKS)
def test_a_disk_is_refused(host: FakeHost, journal: Journal, arrange: Arrange, line: str) -> None:
    arrange(host)
    assert line in refusal(host, journal, told(DISK))


def test_the_same_disk_is_bound_where_nothing_speaks_against_it(host: FakeHost, journal: Journal) -> None:
    partition(host)
    host.hold(77, "/dev/nvme1n1")
    binding.bind(host.sysfs, journal, told(DISK))
    assert host.sysfs.driver(DISK) == "vfio-pci"


def test_udev_that_looks_at_a_disk_does_not_count(host: FakeHost, journal: Journal) -> None:
    host.hold(77, "/dev/nvme0n1")
    host.file("proc/77/comm", "(udev-worker)\n")
    binding.bind(host.sysfs, journal, told(DISK))


OTHERS = {
    "another model": {"disk_model": "Other"},
    "another serial": {"disk_serial": "nvme2"},
    "another size": {"disk_bytes": 1 << 31},
    "no serial in the target file": {"disk_serial": None},
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_a_disk_that_is_not_the_one_of_the_target_file_is_not_written_to(
    host: FakeHost, journal: Journal, change: dict[str, object]
) -> None:
    line = refusal(host, journal, replace(told(DISK), **change))  # type: ignore[arg-type]
    if None in change.values():
        assert "name the one that may be overwritten by disk_model, disk_serial and disk_bytes" in line
    else:
        assert "does not hold the one disk of the target file" in line
        assert line.endswith("found: QEMU NVMe Ctrl, serial nvme, 1073741824 bytes")


def test_a_disk_beside_the_one_of_the_target_file_is_refused(host: FakeHost, journal: Journal) -> None:
    second = host.folder(f"sys/devices/pci0000:00/{DISK}/nvme/nvme0/nvme0n2")
    host.link("sys/class/block/nvme0n2", second)
    assert "does not hold the one disk" in refusal(host, journal, told(DISK))


def test_a_disk_that_somebody_else_gave_to_vfio_is_not_known(host: FakeHost, journal: Journal) -> None:
    """Its identity cannot be read, so nobody knows that it is the one."""
    driver = host.root / "sys/bus/pci/devices" / DISK / "driver"
    driver.unlink()
    driver.symlink_to(host.root / "sys/bus/pci/drivers/vfio-pci")
    (host.root / "sys/class/block/nvme0n1").unlink()
    assert "found: none (bound to vfio-pci)" in refusal(host, journal, told(DISK))


def test_another_device_at_the_address_is_refused(host: FakeHost, journal: Journal) -> None:
    line = refusal(host, journal, Allowed(NIC, ids="15b3:1017"))
    assert line.startswith("0000:01:00.0 is 8086:10c9, and the target file says 15b3:1017")
    binding.bind(host.sysfs, journal, Allowed(NIC, ids="8086:10c9"))


def test_without_reset_only_if_told_so(host: FakeHost, journal: Journal) -> None:
    attribute(NIC, "reset_method", "")(host)
    refusal(host, journal, Allowed(NIC))
    binding.bind(host.sysfs, journal, Allowed(NIC, without_reset=True))
    assert host.sysfs.driver(NIC) == "vfio-pci"


def test_nothing_is_allowed_until_the_controller_has_said_what(host: FakeHost) -> None:
    allowed = AllowList()
    with pytest.raises(
        AgentError, match=r"0000:01:00\.0 is not on the target file's list of functions: none"
    ):
        allowed.of(NIC)
    allowed.allow([{"bdf": NIC, "ids": "8086:10c9", "about": "for people"}])
    assert allowed.of(NIC) == Allowed(NIC, "8086:10c9")
    with pytest.raises(AgentError, match=r"0000:02:00\.0 is not on .*: 0000:01:00\.0"):
        allowed.of(NIC2)


def test_doctor_hears_what_binding_would_refuse(host: FakeHost, tmp_path: Path) -> None:
    agent = HostAgent(Wire(io.BytesIO()), tmp_path / "state", host.sysfs)
    agent.allow([vars(told(NIC)), {"bdf": DISK}])
    assert agent.calls()["objections"](NIC) == []
    route(host)
    [line] = agent.calls()["objections"](NIC)
    assert line.startswith("it carries this host's own network connection")
    assert agent.calls()["objections"](DISK)[0].startswith("it can hold disks")
    with pytest.raises(AgentError, match="is not on the target file's list"):
        agent.calls()["objections"](NIC2)
    agent.end()


def test_devices_are_made_only_on_what_is_allowed(host: FakeHost) -> None:
    """A vDPA device or an mdev takes from its parent; the kernel's simulators have none."""
    allowed = AllowList()
    allowed.parent(host.sysfs, "vdpasim_net")
    with pytest.raises(AgentError, match="is not on the target file's list"):
        allowed.parent(host.sysfs, NIC)
    allowed.allow([{"bdf": NIC}])
    allowed.parent(host.sysfs, NIC)
    route(host)
    with pytest.raises(AgentError, match="own network connection"):
        allowed.parent(host.sysfs, NIC)


def test_all_reasons_are_listed_the_worst_first(host: FakeHost) -> None:
    route(host)
    shared_group(host)
    attribute(NIC, "reset_method", "")(host)
    found = [one.kind for one in objections(host.sysfs, NIC, Uses.of(host.sysfs), Allowed(NIC))]
    assert found == ["network", "group", "no-reset"]
    assert next(objections(host.sysfs, PORT, Uses.of(host.sysfs), Allowed(PORT))).kind == "bridge"


def refusal(host: FakeHost, journal: Journal, function: Allowed) -> str:
    with pytest.raises(AgentError) as refused:
        binding.bind(host.sysfs, journal, function)
    assert host.written == [] and not journal.path.exists(), "a refusal changes nothing"
    assert "\n" not in str(refused.value)
    return str(refused.value)
