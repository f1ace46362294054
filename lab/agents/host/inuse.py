"""What the host itself needs: the functions under its network connections and its disks.

Source: Linux Documentation/filesystems/proc.rst; Documentation/ABI/testing/sysfs-class-net.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from .sysfs import Sysfs

_LINK_LOCAL_SCOPE = "20"


def management_functions(sysfs: Sysfs) -> set[str]:
    """The functions that carry an address of this host, directly or below a bridge, bond or VLAN.

    An IPv6 link-local address alone does not count, for every NIC that is up has one, unless ssh came by it.
    """
    names = _lower(sysfs, _addressed(sysfs, os.environ.get("SSH_CONNECTION", "")))
    return _owners(sysfs, [sysfs.root / "sys/class/net" / name for name in names])


def disk_functions(sysfs: Sysfs) -> set[str]:
    """The functions that hold a mounted or swapped block device, directly or below device mapper or md."""
    return _owners(sysfs, _backing(sysfs, _mounted(sysfs)))


def disks(sysfs: Sysfs, bdf: str) -> list[str]:
    """The whole disks that lie directly on a function: no partitions, and nothing that is built on them."""
    found = [
        folder.name
        for folder in (sysfs.root / "sys/class/block").glob("*")
        if _is_whole(folder) and bdf in _owners(sysfs, _backing(sysfs, [folder]))
    ]
    return sorted(found, key=lambda name: (len(name), name))


def _is_whole(folder: Path) -> bool:
    hidden = folder / "hidden"  # a path of an NVMe disk that has several
    return (
        not (folder / "partition").exists()
        and not any((folder / "slaves").glob("*"))
        and not (hidden.exists() and hidden.read_text().strip() == "1")
    )


def _addressed(sysfs: Sysfs, ssh_connection: str) -> set[str]:
    names = {line.split()[0] for line in _lines(sysfs, "proc/net/route")[1:]}
    for fields in map(str.split, _lines(sysfs, "proc/net/if_inet6")):
        if fields[3] != _LINK_LOCAL_SCOPE:
            names.add(fields[5])
    server = ssh_connection.split()[2:3]
    names.update(address.split("%", 1)[1] for address in server if "%" in address)
    return names - {"lo"}


def _lower(sysfs: Sysfs, names: set[str]) -> set[str]:
    """The interfaces and all those below them."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            links = (sysfs.root / "sys/class/net" / name).glob("lower_*")
            waiting += [link.name.removeprefix("lower_") for link in links]
    return found


def _mounted(sysfs: Sysfs) -> list[Path]:
    """The block devices under mounts and swaps, as sysfs folders."""
    folders = []
    for line in _lines(sysfs, "proc/self/mountinfo"):
        fields = line.split()
        source = fields[fields.index("-") + 2]
        folders.append(sysfs.root / "sys/dev/block" / fields[2])
        folders.append(sysfs.root / "sys/class/block" / Path(source).name)  # btrfs: its number is anonymous
    for line in _lines(sysfs, "proc/swaps")[1:]:
        folders.append(sysfs.root / "sys/class/block" / Path(line.split()[0]).name)
    return [folder for folder in folders if folder.exists()]


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


def _owners(sysfs: Sysfs, folders: Iterable[Path]) -> set[str]:
    """The functions below which these sysfs folders lie: the last BDF on the resolved path."""
    there, owners = set(sysfs.bdfs()), set()
    for folder in folders:
        on_path = [
            part
            for part in folder.resolve().parts
            if re.fullmatch(r"[0-9a-f]{4,}(:[0-9a-f]{2}){2}\.\d", part)
        ]
        owners.update([bdf for bdf in on_path if bdf in there][-1:])
    return owners


def _lines(sysfs: Sysfs, path: str) -> list[str]:
    try:
        return (sysfs.root / path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
