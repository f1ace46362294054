"""Which disk a load gets, on a machine made of files.

Claim: it is the one that was asked for, and never one that anything uses.
"""

from pathlib import Path

import pytest

from lab.agents import disks
from lab.agents.direct import DirectFile
from lab.agents.guest.block import Block
from lab.agents.loop import Loop
from lab.agents.rpc import AgentError, Wire

NVME, NVME2, VIRTIO = "0000:03:00.0", "0000:04:00.0", "0000:05:00.0"
BLOCK = "sys/class/block"


class Machine:
    """/sys and /proc of a machine with disks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder(BLOCK)
        self.file("proc/self/mountinfo", "21 1 0:20 / /proc rw - proc proc rw\n")
        self.file("proc/swaps", "Filename Type Size Used Priority\n")

    def folder(self, path: str) -> Path:
        folder = self.root / path
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def file(self, path: str, text: str) -> None:
        self.folder(str(Path(path).parent))
        (self.root / path).write_text(text)

    def link(self, path: str, to: str) -> None:
        self.folder(str(Path(path).parent))
        (self.root / path).symlink_to(self.folder(to))

    def disk(self, name: str, place: str, device: str, number: str, **attributes: str) -> None:
        """place: its folder; device: what it hangs on."""
        self.link(f"{BLOCK}/{name}", place)
        self.link(f"{place}/device", device)
        given = {
            "size": "2048",
            "dev": number,
            "queue/logical_block_size": "512",
            "queue/nr_requests": "1023",
        }
        for path, text in (given | attributes).items():
            self.file(f"{place}/{path}", text + "\n")

    def nvme(self, name: str, bdf: str, number: str) -> None:
        function = f"sys/devices/pci0000:00/0000:00:10.0/{bdf}"
        self.link(f"{function}/driver", "sys/bus/pci/drivers/nvme")
        controller = f"{function}/nvme/{name[:-2]}"
        self.file(f"{controller}/model", "QEMU NVMe Ctrl   \n")
        self.file(f"{controller}/serial", f"S-{name}\n")
        self.disk(name, f"{controller}/{name}", controller, number)

    def virtio(self, name: str, bdf: str, number: str) -> None:
        function = f"sys/devices/pci0000:00/{bdf}"
        self.link(f"{function}/driver", "sys/bus/pci/drivers/virtio-pci")
        device = f"{function}/virtio3"
        self.link(f"{device}/driver", "sys/bus/virtio/drivers/virtio_blk")
        self.disk(name, f"{device}/block/{name}", device, number, serial="vdpa-1")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.virtio("vda", VIRTIO, "254:0")
    made.nvme("nvme1n1", NVME2, "259:1")
    made.nvme("nvme0n1", NVME, "259:0")
    # a partition, and a disk that is no device's
    made.disk(
        "vda1", f"sys/devices/pci0000:00/{VIRTIO}/virtio3/block/vda/vda1", "sys/x", "254:1", partition="1"
    )
    made.file("sys/devices/virtual/block/loop0/size", "8\n")
    made.link(f"{BLOCK}/loop0", "sys/devices/virtual/block/loop0")
    return made


@pytest.mark.parametrize(
    "bdf, driver, name",
    [
        (NVME, None, "nvme0n1"),
        (NVME2, "nvme", "nvme1n1"),
        (VIRTIO, "nvme", "vda"),  # the function says more than the driver
        (None, "nvme", "nvme0n1"),
        (None, "virtio-blk", "vda"),
        (None, "virtio_blk", "vda"),
    ],
)
def test_the_disk_that_was_asked_for(
    machine: Machine, bdf: str | None, driver: str | None, name: str
) -> None:
    assert disks.chosen(bdf, driver, machine.root).name == name


def test_facts_of_an_nvme_namespace(machine: Machine) -> None:
    assert disks.chosen(NVME, None, machine.root) == disks.Disk(
        name="nvme0n1",
        path="/dev/nvme0n1",
        driver="nvme",
        bdf=NVME,
        bytes=1 << 20,
        logical_block_bytes=512,
        queue_depth=1023,
        write_cache="",
        model="QEMU NVMe Ctrl",
        serial="S-nvme0n1",
    )


def test_facts_of_a_virtio_disk(machine: Machine) -> None:
    found = disks.chosen(None, "virtio-blk", machine.root)
    assert (found.driver, found.bdf, found.model, found.serial) == ("virtio_blk", VIRTIO, "", "vdpa-1")


def test_a_virtio_disk_without_a_pci_function(machine: Machine) -> None:
    """As the bench host sees a vDPA disk that it has back."""
    device = "sys/devices/vdpa0/virtio9"
    machine.link(f"{device}/driver", "sys/bus/virtio/drivers/virtio_blk")
    machine.disk("vdb", f"{device}/block/vdb", device, "254:16")
    found = {disk.name: (disk.driver, disk.bdf) for disk in disks.disks(machine.root)}
    assert found["vdb"] == ("virtio_blk", "")


def test_a_namespace_behind_native_multipath_belongs_to_its_function(machine: Machine) -> None:
    function = "sys/devices/pci0000:00/0000:06:00.0"
    machine.link(f"{function}/driver", "sys/bus/pci/drivers/nvme")
    machine.disk("nvme2c2n1", f"{function}/nvme/nvme2/nvme2c2n1", f"{function}/nvme/nvme2", "0:0", hidden="1")
    subsystem = "sys/devices/virtual/nvme-subsystem/nvme-subsys2"
    machine.link(f"{subsystem}/nvme2", f"{function}/nvme/nvme2")
    machine.disk("nvme2n1", f"{subsystem}/nvme2n1", subsystem, "259:2")
    assert disks.chosen("0000:06:00.0", None, machine.root).name == "nvme2n1"
    assert "nvme2c2n1" not in [disk.name for disk in disks.disks(machine.root)]


def test_a_disk_that_is_not_there_is_named_with_those_that_are(machine: Machine) -> None:
    with pytest.raises(AgentError, match=r"no disk of 0000:09:00.0 .*nvme0n1 \(nvme, 0000:03:00.0\).*vda"):
        disks.chosen("0000:09:00.0", None, machine.root)
    with pytest.raises(AgentError, match="no disk of sd "):
        disks.chosen(None, "sd", machine.root)
    with pytest.raises(AgentError, match="there is: none"):
        disks.chosen(None, "nvme", Machine(machine.root / "other").root)
    with pytest.raises(AgentError, match="must be asked for"):
        disks.chosen(None, None, machine.root)


MOUNTED = "30 21 {number} / {on} rw,relatime shared:1 - ext4 {source} rw\n"
USES = {
    "mounted on /data": (
        "proc/self/mountinfo",
        MOUNTED.format(number="254:0", on="/data", source="/dev/vda"),
    ),
    "mounted on /part": (
        "proc/self/mountinfo",
        MOUNTED.format(number="254:1", on="/part", source="/dev/vda1"),
    ),
    "mounted on /tree": (
        "proc/self/mountinfo",
        MOUNTED.format(number="0:45", on="/tree", source="/dev/vda1"),
    ),
    "/dev/vda1 is swap": ("proc/swaps", "Filename Type\n/dev/vda1 partition 1024 0 -2\n"),
    "held by dm-0": (f"{BLOCK}/vda/holders/dm-0/dev", "253:0\n"),
    "held by dm-1": (f"{BLOCK}/vda1/holders/dm-1/dev", "253:1\n"),
}


@pytest.mark.parametrize("says, use", USES.items(), ids=USES)
def test_every_use_of_a_disk_or_a_part_of_it_is_seen(
    machine: Machine, says: str, use: tuple[str, str]
) -> None:
    assert disks.users("vda", machine.root) == []
    machine.file(*use)
    assert disks.users("vda", machine.root) == [says]
    assert disks.users("nvme0n1", machine.root) == []


def test_a_disk_in_use_is_not_even_opened(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    class Untouchable(DirectFile):
        @classmethod
        def opened(cls, path: str, *, write: bool = False) -> "DirectFile":
            pytest.fail(f"{path} was opened")

    machine.file(*USES["mounted on /part"])
    found = disks.chosen(VIRTIO, None, machine.root)
    monkeypatch.setattr("lab.agents.guest.block.chosen", lambda bdf, driver: found)
    monkeypatch.setattr("lab.agents.guest.block.users", lambda name: disks.users(name, machine.root))
    with (machine.root / "out").open("wb") as out:
        block = Block(Loop(), Wire(out), "nvme", 1, Untouchable)
        with pytest.raises(AgentError, match=r"^vda is in use: mounted on /part$"):
            block.start(block_bytes=4096, rate_hz=100, depth=8, slots=16, seed=1, bdf=VIRTIO)


def test_counters_have_names(machine: Machine) -> None:
    machine.file(f"{BLOCK}/vda/stat", " ".join(map(str, range(100, 117))) + "\n")
    machine.file(f"{BLOCK}/vda/inflight", "       3        5\n")
    counted = disks.counters("vda", machine.root)
    assert (counted["read_ios"], counted["write_ios"], counted["in_flight"]) == (100, 104, 108)
    assert (counted["flush_ios"], counted["reads_now"], counted["writes_now"]) == (115, 3, 5)


def test_an_old_kernel_counts_less(machine: Machine) -> None:
    machine.file(f"{BLOCK}/vda/stat", " ".join(map(str, range(11))) + "\n")
    assert list(disks.counters("vda", machine.root))[-1] == "queue_ms"
