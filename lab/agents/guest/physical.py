"""Pages of memory whose place in physical memory is known, for a device without a driver in the kernel.

Source: Linux Documentation/admin-guide/mm/pagemap.rst; sysctl/vm.rst, compact_unevictable_allowed.
"""

import ctypes
import mmap
import os
from pathlib import Path

from ..rpc import AgentError

PAGE_BYTES = mmap.PAGESIZE
PAGEMAP = Path("/proc/self/pagemap")
COMPACTION = Path("/proc/sys/vm/compact_unevictable_allowed")
_MAP_LOCKED = 0x2000
_PRESENT, _NUMBER = 1 << 63, (1 << 55) - 1


def keep_locked_pages_in_place() -> None:
    """Forbid the kernel's compaction to move locked pages: a lock keeps them in memory, not in place."""
    if COMPACTION.exists():  # else the kernel has no compaction
        COMPACTION.write_text("0", encoding="ascii")


class Page:
    """One locked page; it may still be moved, so ask for its address before a DMA and after it.

    memory: its bytes
    """

    def __init__(self) -> None:
        # shared: a private page is copied when the process forks, and ours would be the copy
        flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE | _MAP_LOCKED
        self.memory = mmap.mmap(-1, PAGE_BYTES, flags=flags)
        self._virtual = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))

    def address(self) -> int:
        """Where it is now, in physical memory.

        Raises:
            AgentError: it is not in memory, or the kernel does not tell.
        """
        with PAGEMAP.open("rb", buffering=0) as pagemap:
            entry = int.from_bytes(os.pread(pagemap.fileno(), 8, self._virtual // PAGE_BYTES * 8), "little")
        number = entry & _NUMBER
        if not entry & _PRESENT or not number:  # 0 is what a process without the right to know is told
            raise AgentError(f"the physical address of a locked page is not known: pagemap says {entry:#x}")
        return number * PAGE_BYTES

    def close(self) -> None:
        """Give it back; no DMA may be under way."""
        self.memory.close()
