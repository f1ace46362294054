"""What must not add up over many updates: what QEMU holds, and what the host's kernel holds for it.

Source: Linux Documentation/filesystems/proc.rst; slabinfo(5); mm/slab_common.c, slabinfo 2.1.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..rpc import AgentError
from .pins import counter

PROC = Path("/proc")
SLABS = re.compile(
    r"(iommu|iova|vfio|dmar|kvm|x86_emulator|pte_list|eventpoll|filp|maple_node|vm_area|kmalloc)"
)
"""Caches of VFIO, iommufd, the IOMMU driver and KVM; most of what these hold is from kmalloc-*."""
_ANON, _THREADS, _VFIO = b"\nRssAnon:", b"\nThreads:", "vfio-"


def footprint(pid: int, proc: Path = PROC) -> dict[str, Any]:
    """Counts of a process, and of the whole host: a kernel object knows no process.

    Of the process: descriptors, eventfds among them (irqfds and their like), mappings, threads, and
    rss_anon_kb, its memory without the guest's. Of the host: vectors, the interrupts that VFIO has;
    pinned_pages; iommu_pages, those of its page tables (Linux 6.10); slab_bytes in use by cache.

    Raises:
        AgentError: there is no such process, or it is not ours to look at.
    """
    folder = proc / str(pid)
    try:
        links = _links(folder / "fd")
        status = (folder / "status").read_bytes()
        maps = (folder / "maps").read_bytes()
        slabs = (proc / "slabinfo").read_text()
    except (FileNotFoundError, ProcessLookupError):
        raise AgentError(f"there is no process {pid}") from None
    except PermissionError:
        raise AgentError(f"process {pid} is not ours to look at: run the host agent as root") from None
    vmstat = (proc / "vmstat").read_bytes()
    return {
        "pid": pid,
        "descriptors": len(links),
        "eventfds": links.count("anon_inode:[eventfd]"),
        "mappings": maps.count(b"\n"),
        "threads": counter(status, _THREADS),
        "rss_anon_kb": counter(status, _ANON),
        "vectors": (proc / "interrupts").read_text().count(_VFIO),
        "pinned_pages": counter(vmstat, b"\nnr_foll_pin_acquired ")
        - counter(vmstat, b"\nnr_foll_pin_released "),
        "iommu_pages": counter(vmstat, b"\nnr_iommu_pages "),
        "slab_bytes": slab_bytes(slabs),
    }


def slab_bytes(slabinfo: str) -> Mapping[str, int]:
    """What is in use of the caches that matter here."""
    found = {}
    for line in slabinfo.splitlines():
        words = line.split()
        if SLABS.match(line):
            name, active, _, size = words[:4]
            found[name] = int(active) * int(size)
    return found


def _links(folder: Path) -> list[str]:
    found = []
    for path in folder.iterdir():
        try:
            found.append(str(path.readlink()))
        except FileNotFoundError:
            continue  # closed meanwhile
    return found
