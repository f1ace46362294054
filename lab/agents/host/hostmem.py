"""What the host sets aside for a guest's memory: huge pages, transparent ones, file systems.

Source: Linux Documentation/admin-guide/mm/hugetlbpage.rst, transhuge.rst; filesystems/tmpfs.rst.
"""

import os
import re
from pathlib import Path
from typing import Any

from ..rpc import AgentError
from .journal import Entry, Journal
from .sysfs import Sysfs

SETTING, MOUNT = "memory.setting", "memory.mount"
"""Kinds of change: a file of sysfs, and a mounted file system."""

HUGEPAGES = "sys/kernel/mm/hugepages"
SHMEM_THP = "sys/kernel/mm/transparent_hugepage/shmem_enabled"
MOUNTS = "run/cprlab-memory"
_FREE_CACHES, _COMPACT = "proc/sys/vm/drop_caches", "proc/sys/vm/compact_memory"


def page_sizes_kb(sysfs: Sysfs) -> list[int]:
    """The sizes of the pages that can be reserved, smallest first."""
    folder = sysfs.root / HUGEPAGES
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(match[1]) for name in names if (match := re.fullmatch(r"hugepages-(\d+)kB", name)))


def shmem_choices(sysfs: Sysfs) -> list[str]:
    """When shared memory may be made of transparent huge pages: the words that the kernel knows."""
    return [word.strip("[]") for word in _read(sysfs.root / SHMEM_THP).split()]


def file_systems(sysfs: Sysfs) -> list[str]:
    """Those of tmpfs and hugetlbfs that the kernel has."""
    known = {line.split()[-1] for line in _read(sysfs.root / "proc/filesystems").splitlines() if line.strip()}
    return [name for name in ("tmpfs", "hugetlbfs") if name in known]


def reserve(sysfs: Sysfs, journal: Journal, page_kb: int, count: int) -> dict[str, int]:
    """See that so many huge pages of a size are free: {page_kb, reserved, free}; given back at the end.

    Raises:
        AgentError: there are none of that size, or the host's memory has not so many in one piece.
    """
    pages = sysfs.root / HUGEPAGES / f"hugepages-{page_kb}kB"
    if page_kb not in (sizes := page_sizes_kb(sysfs)):
        raise AgentError(f"this host has no huge pages of {page_kb} kB; it has {sizes or 'none'}")
    reserved, free = _count(pages, "nr"), _count(pages, "free")
    if free < count:
        # of the kernel's own caches only what is in the way: huge pages want memory in one piece
        for path in (_FREE_CACHES, _COMPACT):
            if (sysfs.root / path).exists():
                sysfs.write(sysfs.root / path, "1")
        entry = _change(sysfs, journal, pages / "nr_hugepages", str(reserved), str(reserved + count - free))
        if (got := _count(pages, "free")) < count:
            journal.undo(entry)
            raise AgentError(
                f"this host gave {got} of {count} huge pages of {page_kb} kB: memory is too full"
            )
    return {"page_kb": page_kb, "reserved": _count(pages, "nr"), "free": _count(pages, "free")}


def set_shmem_thp(sysfs: Sysfs, journal: Journal, choice: str) -> str:
    """Say when shared memory may be made of transparent huge pages, until the end; returns the word before.

    Raises:
        AgentError: the kernel does not know the word; the text lists those it knows.
    """
    if choice not in (known := shmem_choices(sysfs)):
        raise AgentError(f"shmem_enabled does not take {choice!r}; it takes {known or 'nothing'}")
    path = sysfs.root / SHMEM_THP
    before = next(word.strip("[]") for word in _read(path).split() if word.startswith("["))
    if before != choice:
        _change(sysfs, journal, path, before, choice)
    return before


def mount(sysfs: Sysfs, journal: Journal, kind: str, name: str, options: str) -> str:
    """Mount a tmpfs or a hugetlbfs in a folder of its own; returns the folder, which goes at the end.

    Raises:
        AgentError: this host cannot, or there is one of that name.
    """
    if kind not in file_systems(sysfs):
        raise AgentError(f"this host has no {kind}; it has {', '.join(file_systems(sysfs)) or 'neither'}")
    if not re.fullmatch(r"[a-z0-9-]+", name):
        raise AgentError(f"{name!r} is no name for a folder")
    folder = sysfs.root / MOUNTS / name
    if folder.exists():
        raise AgentError(f"there is {folder} already, which someone may be using")
    entry = journal.begin(MOUNT, str(folder), {}, {"kind": kind, "options": options})
    try:
        folder.mkdir(parents=True, mode=0o700)
        sysfs.run(["mount", "-t", kind, "-o", options, "cprlab", str(folder)])
    except (AgentError, OSError):
        journal.undo(entry)
        raise
    return str(folder)


def undo_setting(sysfs: Sysfs, entry: Entry) -> None:
    """Write back what a file held."""
    path = Path(entry.what)
    if path.exists():
        sysfs.write(path, entry.before["text"])


def undo_mount(sysfs: Sysfs, entry: Entry) -> None:
    """Unmount, with all files in it; nothing must have them open."""
    folder = Path(entry.what)
    if _is_mounted(sysfs, folder):
        sysfs.run(["umount", str(folder)])
    if folder.is_dir():
        folder.rmdir()


def _change(sysfs: Sysfs, journal: Journal, path: Path, before: str, after: str) -> Entry:
    entry = journal.begin(SETTING, str(path), {"text": before}, {"text": after})
    try:
        sysfs.write(path, after)
    except AgentError:
        journal.undo(entry)
        raise
    return entry


def _is_mounted(sysfs: Sysfs, folder: Path) -> bool:
    lines = _read(sysfs.root / "proc/self/mounts").splitlines()
    return any(len(words := line.split()) > 1 and words[1] == os.fspath(folder) for line in lines)


def _count(pages: Path, which: str) -> int:
    return int(_read(pages / f"{which}_hugepages") or 0)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


def calls(sysfs: Sysfs, journal: Journal) -> dict[str, Any]:
    """By the name on the wire."""
    return {
        "hugepages_reserve": lambda page_kb, count: reserve(sysfs, journal, page_kb, count),
        "shmem_thp_set": lambda choice: set_shmem_thp(sysfs, journal, choice),
        "memory_mount": lambda kind, name, options: mount(sysfs, journal, kind, name, options),
    }
