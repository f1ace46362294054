"""The disks of this machine, from sysfs.

Source: Linux Documentation/ABI/stable/sysfs-block.
"""

from pathlib import Path
from typing import NamedTuple

from .rpc import AgentError

_SECTOR_BYTES = 512  # the unit of `size` in sysfs, whatever the disk's own is
_STAT = (
    *("read_ios", "read_merges", "read_sectors", "read_ms"),
    *("write_ios", "write_merges", "write_sectors", "write_ms"),
    *("in_flight", "io_ms", "queue_ms"),
    *("discard_ios", "discard_merges", "discard_sectors", "discard_ms", "flush_ios", "flush_ms"),
)


class Disk(NamedTuple):
    """A whole disk.

    driver:      the kernel's name, as "nvme" or "virtio_blk"
    bdf:         the PCI function it hangs on; "" if on none
    queue_depth: requests that one of its queues holds
    """

    name: str
    path: str
    driver: str
    bdf: str
    bytes: int
    logical_block_bytes: int
    queue_depth: int
    write_cache: str
    model: str
    serial: str


def disks(root: Path = Path("/")) -> list[Disk]:
    """Every disk that hangs on a device, by name; no partitions, loops, or RAM disks."""
    folders = sorted((root / "sys/class/block").iterdir())
    return [_described(folder) for folder in folders if _is_disk(folder)]


def chosen(bdf: str | None, driver: str | None, root: Path = Path("/")) -> Disk:
    """The disk of this PCI function, or else the first one of this driver.

    Raises:
        AgentError: if there is none, or neither is asked for: no disk is touched by accident.
    """
    if not bdf and not driver:
        raise AgentError("a disk must be asked for by its function or its driver")
    there = disks(root)
    for disk in there:
        if disk.bdf == bdf if bdf else _same(disk.driver, driver or ""):
            return disk
    listed = ", ".join(f"{d.name} ({d.driver}, {d.bdf or 'no function'})" for d in there) or "none"
    raise AgentError(f"no disk of {bdf or driver} on this machine; there is: {listed}")


def users(name: str, root: Path = Path("/")) -> list[str]:
    """What uses a disk or a part of it: mount points, swap, and devices that hold it."""
    folder = root / "sys/class/block" / name
    parts = [folder, *(path.parent for path in sorted(folder.glob("*/partition")))]
    numbers = {text for part in parts if (text := _text(part / "dev"))}
    paths = {f"/dev/{part.name}" for part in parts}
    holders = [f"held by {holder.name}" for part in parts for holder in sorted(part.glob("holders/*"))]
    mounts = []
    for fields in map(str.split, _lines(root / "proc/self/mountinfo")):
        source = fields[fields.index("-") + 2]
        if fields[2] in numbers or source in paths:  # btrfs: its number is anonymous
            mounts.append(f"mounted on {fields[4]}")
    swaps = [line.split()[0] for line in _lines(root / "proc/swaps")[1:]]
    return holders + mounts + [f"{swap} is swap" for swap in swaps if swap in paths]


def counters(name: str, root: Path = Path("/")) -> dict[str, int]:
    """What the kernel counted of a disk, and what it has in flight now."""
    folder = root / "sys/class/block" / name
    counted = dict(zip(_STAT, map(int, _text(folder / "stat").split()), strict=False))
    flying = dict(
        zip(("reads_now", "writes_now"), map(int, _text(folder / "inflight").split()), strict=False)
    )
    return counted | flying


def _is_disk(folder: Path) -> bool:
    return (
        (folder / "device").exists()
        and not (folder / "partition").exists()
        and _text(folder / "hidden") != "1"
    )


def _described(folder: Path) -> Disk:
    device = _device(folder)
    path = [device, *device.parents]
    drivers = (above / "driver" for above in path)
    return Disk(
        name=folder.name,
        path=f"/dev/{folder.name}",
        driver=next((link.resolve().name for link in drivers if link.exists()), ""),
        bdf=next((above.name for above in path if _is_bdf(above.name)), ""),
        bytes=_number(folder / "size") * _SECTOR_BYTES,
        logical_block_bytes=_number(folder / "queue/logical_block_size") or _SECTOR_BYTES,
        queue_depth=_number(folder / "queue/nr_requests"),
        write_cache=_text(folder / "queue/write_cache"),
        model=_text(folder / "device/model"),
        serial=_text(folder / "device/serial") or _text(folder / "serial"),
    )


def _device(folder: Path) -> Path:
    """Where a disk hangs in the tree of devices; of several ways to it, the first."""
    place = folder.resolve()
    if "nvme-subsystem" not in place.parts:
        return place
    # native multipath: the disk is not below its controllers
    links = sorted(link for link in place.parent.glob("nvme*") if link.is_symlink())
    return links[0].resolve() if links else place


def _is_bdf(name: str) -> bool:
    return name.count(":") == 2 and "." in name


def _same(one: str, other: str) -> bool:
    return one.replace("_", "-") == other.replace("_", "-")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # not every kernel or disk has it
        return ""


def _number(path: Path) -> int:
    return int(_text(path) or 0)


def _lines(path: Path) -> list[str]:
    return _text(path).splitlines()
