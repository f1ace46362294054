"""Which functions the host's own disks stand on, by what, and what lies on each disk.

Source: Linux Documentation/filesystems/proc.rst, ABI/stable/sysfs-block (holders, slaves); open(2): O_EXCL.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .holders import holders
from .sysfs import Sysfs

SECTOR_BYTES = 512
_LOOKERS = ("systemd-udevd", "(udev-worker)", "udevd")
"""They open every disk that appears, for a moment, and would not miss it."""
EDGE_BYTES = 1 << 20
"""What is written on a disk by anything known begins here, or ends here."""


def disk_functions(sysfs: Sysfs) -> dict[str, str]:
    """BDF -> why: it holds a mounted or swapped block device, directly or below device mapper or md."""
    found: dict[str, str] = {}
    for folder, why in _mounted(sysfs):
        for below in _backing(sysfs, [folder]):
            through = "" if below == folder.resolve() else f" below {folder.resolve().name}"
            for bdf in sysfs.owners([below]):
                found.setdefault(bdf, f"it holds a disk that this host uses: {below.name}{through} {why}")
    return found


def held_disks(sysfs: Sysfs, bdf: str) -> str | None:
    """Why somebody would miss the disks on a function, although none is mounted; None if nobody would."""
    for disk in disks(sysfs, bdf):
        folder = (sysfs.root / "sys/class/block" / disk).resolve()
        parts = [folder, *(path.parent for path in sorted(folder.glob("*/partition")))]
        for part in parts:
            if whole := sorted(path.name for path in (part / "holders").glob("*")):
                return f"its disk {part.name} is part of {', '.join(_named(sysfs, name) for name in whole)}"
        by = holders(sysfs, [f"/dev/{part.name}" for part in parts])
        if held := [process for process in by if not process.startswith(_LOOKERS)]:
            return f"its disk {disk} is held open by {', '.join(held)}"
        if sysfs.claimed(sysfs.root / "dev" / disk):
            return f"its disk {disk} is claimed by the kernel: a file system, ZFS, or a mount elsewhere"
    return None


def disks(sysfs: Sysfs, bdf: str) -> list[str]:
    """The whole disks that lie directly on a function: no partitions, and nothing that is built on them."""
    found = [
        folder.name
        for folder in (sysfs.root / "sys/class/block").glob("*")
        if _is_whole(folder) and bdf in sysfs.owners(_backing(sysfs, [folder]))
    ]
    return sorted(found, key=lambda name: (len(name), name))


def identity(sysfs: Sysfs, disk: str) -> dict[str, Any]:
    """{disk, model, serial, bytes}, by which it is known again; None for what the kernel does not tell."""
    folder = sysfs.root / "sys/class/block" / disk
    sectors = _text(folder / "size")
    return {
        "disk": disk,
        "model": _text(folder / "device/model"),
        "serial": _text(folder / "device/serial"),
        "bytes": int(sectors) * SECTOR_BYTES if sectors else None,
    }


def is_blank(sysfs: Sysfs, disk: str) -> bool | None:
    """Whether nothing but zeros lies at both ends of a disk; None if it cannot be read."""
    size = identity(sysfs, disk)["bytes"] or 0
    try:
        with (sysfs.root / "dev" / disk).open("rb") as file:
            first = file.read(EDGE_BYTES)
            file.seek(max(0, size - EDGE_BYTES))
            return not any(first) and not any(file.read(EDGE_BYTES))
    except OSError:
        return None


def _is_whole(folder: Path) -> bool:
    hidden = folder / "hidden"  # a path of an NVMe disk that has several
    return (
        not (folder / "partition").exists()
        and not any((folder / "slaves").glob("*"))
        and not (hidden.exists() and hidden.read_text().strip() == "1")
    )


def _mounted(sysfs: Sysfs) -> Iterator[tuple[Path, str]]:
    """The block devices under mounts and swaps, as sysfs folders, and why."""
    block = sysfs.root / "sys/class/block"
    found: list[tuple[Path, str]] = []
    for line in _lines(sysfs, "proc/self/mountinfo"):
        fields = line.split()
        source = fields[fields.index("-") + 2]
        why = f"is mounted on {fields[4]}"
        found.append((sysfs.root / "sys/dev/block" / fields[2], why))
        found.append((block / Path(source).name, why))  # btrfs: its number is anonymous
    for line in _lines(sysfs, "proc/swaps")[1:]:
        found.append((block / Path(line.split()[0]).name, "is swapped to"))
    yield from (one for one in found if one[0].exists() and one[0] != block)


def _backing(sysfs: Sysfs, folders: Iterable[Path]) -> list[Path]:
    """The block devices and all those below them, down to controllers."""
    found: list[Path] = []
    waiting = [folder.resolve() for folder in folders]
    while waiting:
        folder = waiting.pop()
        if folder in found:
            continue
        found.append(folder)
        disk = folder if not (folder / "partition").exists() else folder.parent
        waiting += [link.resolve() for link in (disk / "slaves").glob("*")]
        if "/nvme-subsystem/" in str(disk):  # native multipath: the disk is not below its controllers
            waiting += [link.resolve() for link in disk.parent.glob("nvme*") if link.is_symlink()]
    return found


def _named(sysfs: Sysfs, name: str) -> str:
    """A device of device mapper has a number, and a name that people know."""
    known = _text(sysfs.root / "sys/class/block" / name / "dm/name")
    return f"{name} ({known})" if known else name


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def _lines(sysfs: Sysfs, path: str) -> list[str]:
    return (_text(sysfs.root / path) or "").splitlines()
