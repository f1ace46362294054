"""Devices as the kernel's sysfs shows them, PCI functions before all.

Source: Linux Documentation/ABI/testing/sysfs-bus-pci, sysfs-kernel-iommu_groups.
"""

import errno
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..rpc import AgentError
from .tool import run_tool

BRIDGE_CLASS = "0x06"
_BDF = re.compile(r"[0-9a-f]{4,}(:[0-9a-f]{2}){2}\.\d")


def write_attribute(path: Path, text: str) -> None:
    """Write an attribute in one write, as the kernel wants it.

    Raises:
        AgentError: if the kernel refuses.
    """
    try:
        with path.open("w", encoding="ascii") as file:
            file.write(text)
    except OSError as error:
        raise AgentError(f"could not write {text.strip()!r} to {path}: {error.strerror}") from None


def claimed(device: Path) -> bool:
    """Whether the kernel has a block device, or a part of it, for itself: mounted anywhere, swapped, md, ZFS.

    Source: open(2), O_EXCL on a block device.
    """
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


@dataclass(frozen=True)
class Sysfs:
    """The file trees /sys and /proc below `root`, and the tools that reach where no file leads.

    root, write, run, claimed: another folder, and something that acts like the kernel on a write, on a
                               command of a tool, and on a claim to a disk, in self-tests
    """

    root: Path = Path("/")
    write: Callable[[Path, str], None] = field(default=write_attribute)
    run: Callable[[Sequence[str]], str] = field(default=run_tool)
    claimed: Callable[[Path], bool] = field(default=claimed)

    @property
    def pci(self) -> Path:
        return self.root / "sys/bus/pci"

    def bdfs(self) -> list[str]:
        folder = self.pci / "devices"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def device(self, bdf: str) -> Path:
        """The folder of a function.

        Raises:
            AgentError: if there is no such function; the text lists what is there.
        """
        folder = self.pci / "devices" / bdf
        if "/" in bdf or not folder.is_dir():
            there = ", ".join(f"{b} ({self.driver(b) or 'no driver'})" for b in self.bdfs()) or "none"
            raise AgentError(f"there is no PCI function {bdf!r}; functions on this host: {there}")
        return folder

    def attribute(self, bdf: str, name: str) -> str | None:
        """The text of an attribute; None where the kernel does not offer it."""
        try:
            return (self.pci / "devices" / bdf / name).read_text(encoding="ascii").strip()
        except OSError:
            return None

    def driver(self, bdf: str) -> str | None:
        """The driver bound to a function."""
        return link_name(self.pci / "devices" / bdf / "driver")

    def group(self, bdf: str) -> str | None:
        """The number of its IOMMU group; None where no IOMMU translates for it."""
        return link_name(self.pci / "devices" / bdf / "iommu_group")

    def group_members(self, bdf: str) -> list[str]:
        folder = self.pci / "devices" / bdf / "iommu_group" / "devices"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def is_bridge(self, bdf: str) -> bool:
        """Whether it is a bridge of any kind or a root port: in a group given away it stays with the host."""
        return (self.attribute(bdf, "class") or "").startswith(BRIDGE_CLASS)

    def owners(self, folders: Iterable[Path]) -> set[str]:
        """The functions below which these folders of sysfs lie: the last BDF on each resolved path."""
        there, owners = set(self.bdfs()), set()
        for folder in folders:
            on_path = [part for part in folder.resolve().parts if _BDF.fullmatch(part)]
            owners.update([bdf for bdf in on_path if bdf in there][-1:])
        return owners

    def vfio_cdev(self, bdf: str) -> str | None:
        """The /dev/vfio/devices/ name of a function bound to vfio-pci."""
        return vfio_cdev(self.pci / "devices" / bdf)


def link_name(path: Path) -> str | None:
    """The last part of what a link points to; None where there is no link."""
    return path.readlink().name if path.is_symlink() else None


def vfio_cdev(device: Path) -> str | None:
    """The /dev/vfio/devices/ name of a device, by its folder; None for one that VFIO does not have."""
    folder = device / "vfio-dev"
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return f"/dev/vfio/devices/{names[0]}" if names else None
