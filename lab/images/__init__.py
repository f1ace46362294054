"""Images of the virtual bench: built once from the recipes in `images/`, then cached for ever.

bench = ensure_root()          bench.root_dir, bench.disk_image
bz_image = ensure_kernel()
base = ensure_guest()          then guest_initrd(base, agents, bench.root_dir) for each run
"""

from dataclasses import dataclass
from pathlib import Path

from lab.images.catalogue import Catalogue
from lab.images.progress import PlainProgress, Progress
from lab.images.store import Entry

__all__ = [
    "BenchRoot",
    "Catalogue",
    "Entry",
    "PlainProgress",
    "Progress",
    "ensure",
    "ensure_guest",
    "ensure_kernel",
    "ensure_root",
]


@dataclass(frozen=True)
class BenchRoot:
    """The bench host's root file system: as a tree, for the controller's QEMU, and as a disk."""

    root_dir: Path
    disk_image: Path


def ensure(name: str, progress: Progress | None = None) -> Path:
    """The folder of the image's entry, built first if need be."""
    return Catalogue().ensure(name, progress).path


def ensure_root(progress: Progress | None = None) -> BenchRoot:
    """The bench host's root file system; attach the disk with snapshot=on."""
    entry = ensure("root", progress)
    return BenchRoot(entry / "root", entry / "root.ext4")


def ensure_kernel(progress: Progress | None = None) -> Path:
    """The bzImage of bench host and guest."""
    return ensure("kernel", progress) / "bzImage"


def ensure_guest(progress: Progress | None = None) -> Path:
    """The guest's initramfs without agents; see `guest_initrd`."""
    return ensure("guest", progress) / "base.cpio"
