"""Which pages of the host really back a guest's memory: their size, and how many there are.

Source: Linux Documentation/admin-guide/mm/pagemap.rst (kpageflags), filesystems/proc.rst (smaps).
"""

import os
import struct
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..rpc import AgentError
from . import procfs

KPAGEFLAGS = Path("/proc/kpageflags")
_HEAD, _TAIL, _HUGE = 1 << 15, 1 << 16, 1 << 17
_BLOCK = 512
"""Pages of 4 KiB in 2 MiB: no folio is larger, but those of hugetlb."""
_SAMPLES = 128

Flags = Callable[[int, int], tuple[int, ...]]


def backing(pid: int, hint: str = "memfd:", size: int | None = None) -> dict[str, Any]:
    """What backs the largest memory file of a process whose name holds `hint`, or that of a size.

    {file, inode, bytes, allocated_bytes, kernel_page_kb, pages {kB as text: samples}, holes}

    pages:          samples spread over the whole file, by the size of the folio that each lies in
    kernel_page_kb: of the mapping (smaps KernelPageSize): over 4 for hugetlb only; 0 if it is not mapped

    Raises:
        AgentError: no such file, no such process, or the kernel hides its pages from us.
    """
    fd = procfs.memory_file(pid, hint, size)
    try:
        stat = os.fstat(fd)
        page_kb = kernel_page_kb(Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8"), stat.st_ino)
        pages = procfs.pages_of(pid, fd, spread(stat.st_size))
        sizes = Counter(folio_kb(pfn, page_kb) for _, pfn in pages if pfn >= 0)
        return {
            "file": str(Path(f"/proc/self/fd/{fd}").readlink()),
            "inode": stat.st_ino,
            "bytes": stat.st_size,
            "allocated_bytes": stat.st_blocks * 512,
            "kernel_page_kb": page_kb,
            "pages": {str(size): count for size, count in sorted(sizes.items())},
            "holes": sum(pfn < 0 for _, pfn in pages),
        }
    except OSError as error:
        raise AgentError(f"could not look at the memory of process {pid}: {error}") from None
    finally:
        os.close(fd)
        _flags.cache_clear()


def spread(size: int) -> list[int]:
    """Offsets over the whole file, each inside a 2 MiB block of its own while there are enough."""
    block = _BLOCK * procfs.PAGE_BYTES
    count = max(1, min(_SAMPLES, size // block))
    # not the first page of a block: that one tells least of how far its folio reaches
    return [number * size // count // block * block + block // 2 for number in range(count)]


def kernel_page_kb(smaps: str, inode: int) -> int:
    """KernelPageSize of the mapping of a file; the largest, if there are several."""
    found, ours = 0, False
    for line in smaps.splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            ours = len(words) > 4 and words[4] == str(inode)
        elif ours and words[0] == "KernelPageSize:":
            found = max(found, int(words[1]))
    return found


def folio_kb(pfn: int, hugetlb_kb: int, flags: Flags | None = None) -> int:
    """The size of the folio that a page lies in."""
    start = pfn - pfn % _BLOCK
    block = (flags or _flags)(start, _BLOCK)
    if block[pfn - start] & _HUGE:
        return hugetlb_kb
    if not block[pfn - start] & (_HEAD | _TAIL):
        return 4
    head = pfn - start
    while head > 0 and block[head] & _TAIL:
        head -= 1
    end = head + 1
    while end < _BLOCK and block[end] & _TAIL:
        end += 1
    return 4 * (end - head)


@lru_cache(maxsize=_SAMPLES)
def _flags(pfn: int, count: int) -> tuple[int, ...]:
    try:
        with KPAGEFLAGS.open("rb", buffering=0) as file:
            file.seek(pfn * 8)
            return struct.unpack(f"<{count}Q", file.read(count * 8))
    except (OSError, struct.error) as error:
        raise AgentError(f"cannot read {KPAGEFLAGS}: {error}; CONFIG_PROC_PAGE_MONITOR, and root") from None
