"""A bench host made of files, and a controller's connection to a host agent on this machine."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from lab.agents.host.interlocks import Allowed
from lab.agents.host.sysfs import Sysfs
from lab.agents.rpc import AgentError

NIC, NIC2, DISK, MANAGEMENT, PORT = (
    "0000:01:00.0",
    "0000:02:00.0",
    "0000:03:00.0",
    "0000:04:00.0",
    "0000:00:01.0",
)


DISK_MODEL, DISK_SERIAL, DISK_BYTES = "QEMU NVMe Ctrl", "nvme", 1 << 30


def told(bdf: str) -> Allowed:
    """What a target file says of a function; of any other than DISK nothing but that it may be assigned."""
    if bdf == DISK:
        return Allowed(bdf, None, DISK_MODEL, DISK_SERIAL, DISK_BYTES)
    return Allowed(bdf)


class FakeHost:
    """/sys and /proc of a host with an IOMMU; `write` does what its kernel would do.

    natural: which driver takes a function that has no override
    refuses: drivers that do not take any
    claims:  disks that the kernel has for itself
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.natural: dict[str, str] = {}
        self.refuses: set[str] = set()
        self.written: list[tuple[str, str]] = []
        self.ran: list[str] = []
        self.claims: set[str] = set()
        self.sysfs = Sysfs(root, self.write, self.run, lambda device: device.name in self.claims)
        for driver in ("vfio-pci", "igb", "nvme", "virtio-pci", "pcieport"):
            (root / "sys/bus/pci/drivers" / driver).mkdir(parents=True)
        self.add(PORT, "pcieport", group="1", pci_class="0x060400")
        self.add(NIC, "igb", group="1", pci_class="0x020000")
        self.add(NIC2, "igb", group="2", pci_class="0x020000")
        self.add(DISK, "nvme", group="3", pci_class="0x010802")
        self.add(MANAGEMENT, "virtio-pci", group="4", pci_class="0x020000")
        self.file("proc/net/route", "Iface\tDestination\n")

    def add(self, bdf: str, driver: str, *, group: str | None, pci_class: str) -> None:
        device = self.root / "sys/devices/pci0000:00" / bdf
        device.mkdir(parents=True)
        self.link(f"sys/bus/pci/devices/{bdf}", device)
        attributes = {"class": pci_class, "vendor": "0x8086", "device": "0x10c9", "driver_override": "(null)"}
        for name, text in (attributes | {"reset_method": "flr pm bus", "numa_node": "-1"}).items():
            (device / name).write_text(text + "\n")
        self.natural[bdf] = driver
        self._bind(bdf, driver)
        if group:
            folder = self.root / "sys/kernel/iommu_groups" / group
            (folder / "devices").mkdir(parents=True, exist_ok=True)
            (folder / "devices" / bdf).symlink_to(device)
            (device / "iommu_group").symlink_to(folder)

    def disk(self) -> Path:
        """DISK has brought up its namespace, which is the one of `told`."""
        disk = self.folder(f"sys/devices/pci0000:00/{DISK}/nvme/nvme0/nvme0n1")
        for name, text in (("model", DISK_MODEL), ("serial", DISK_SERIAL)):
            (disk.parent / name).write_text(f"{text}   \n")  # as the controller says it, filled up
        (disk / "device").symlink_to(disk.parent)
        (disk / "size").write_text(f"{DISK_BYTES // 512}\n")
        self.link("sys/class/block/nvme0n1", disk)
        self.file("dev/nvme0n1", "")
        return disk

    def file(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def link(self, path: str, target: Path) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).symlink_to(target)

    def folder(self, path: str) -> Path:
        (self.root / path).mkdir(parents=True, exist_ok=True)
        return self.root / path

    def write(self, path: Path, text: str) -> None:
        self.written.append((path.name, text))
        if path.name == "driver_override":
            path.write_text(text if text.strip() else "(null)\n")
        elif path.name == "unbind":
            (self.root / "sys/bus/pci/devices" / text / "driver").unlink()
        elif path.name == "drivers_probe":
            override = self.sysfs.attribute(text, "driver_override")
            driver = self.natural[text] if override == "(null)" else str(override)
            if driver not in self.refuses:
                self._bind(text, driver)

    def run(self, argv: Sequence[str]) -> str:
        self.ran.append(" ".join(argv))
        raise AgentError(f"there is no program {argv[0]!r} on this host")

    def hold(self, pid: int, node: str) -> None:
        """A process that has a device node open."""
        self.file(f"proc/{pid}/comm", "qemu\n")
        self.link(f"proc/{pid}/fd/3", Path(node))

    def end(self, pid: int) -> None:
        """A process is gone."""
        shutil.rmtree(self.root / "proc" / str(pid))

    def _bind(self, bdf: str, driver: str) -> None:
        (self.root / "sys/bus/pci/devices" / bdf / "driver").symlink_to(
            self.root / "sys/bus/pci/drivers" / driver
        )


@dataclass
class LocalStream:
    """A command on this machine."""

    process: "subprocess.Popen[bytes]"

    stdin: BinaryIO
    stdout: BinaryIO
    stderr: BinaryIO

    def close(self) -> None:
        self.process.wait(10)
        self.stdout.close()


@dataclass
class LocalConnection:
    """`prefix` runs every command, as another user for example."""

    folder: Path
    prefix: Sequence[str] = ()
    streams: list[LocalStream] = field(default_factory=list)

    def put_blob(self, local: Path) -> str:
        remote = self.folder / "agents"
        remote.write_bytes(local.read_bytes())
        remote.chmod(0o644)
        return str(remote)

    def stream(self, argv: Sequence[str]) -> LocalStream:
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [*self.prefix, *argv], stdin=pipe, stdout=pipe, stderr=pipe, env=dict(os.environ)
        )
        assert process.stdin and process.stdout and process.stderr
        streams = (process.stdin, process.stdout, process.stderr)
        self.streams.append(LocalStream(process, *(cast(BinaryIO, stream) for stream in streams)))
        return self.streams[-1]
