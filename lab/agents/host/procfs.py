"""One process as /proc shows it: who it is, what it holds, which pages back its guest's memory.

Source: Linux Documentation/filesystems/proc.rst, admin-guide/mm/pagemap.rst.
"""

import mmap
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..rpc import AgentError

PAGE_BYTES = mmap.PAGESIZE
_PRESENT, _PFN = 1 << 63, (1 << 55) - 1
_STATUS = {"VmLck": "vmlck_kb", "VmPin": "vmpin_kb", "VmRSS": "vmrss_kb", "Threads": "threads"}


def process(pid: int) -> dict[str, Any]:
    """{pid, start_ticks, exe, cmdline, fds [[fd, link, inode]], vmlck_kb, vmpin_kb, vmrss_kb, threads}.

    start_ticks: since the host booted; with the PID it tells processes apart, and cpr-exec keeps it

    Raises:
        AgentError: if there is no such process, or it is not ours to look at.
    """
    folder = Path(f"/proc/{pid}")
    try:
        return {
            "pid": pid,
            "start_ticks": start_ticks(pid),
            "exe": str((folder / "exe").readlink()),
            "cmdline": (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1],
            "fds": descriptors(pid),
        } | _status((folder / "status").read_text())
    except (FileNotFoundError, ProcessLookupError):
        raise AgentError(f"there is no process {pid}") from None
    except PermissionError:
        raise AgentError(f"process {pid} is not ours to look at: run the host agent as root") from None


def start_ticks(pid: int) -> int:
    """Field 22 of stat; the name in field 2 may hold anything, even a parenthesis."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def descriptors(pid: int) -> list[list[Any]]:
    """[[number, link, inode]] of its open files."""
    found: list[list[Any]] = []
    for path in sorted(Path(f"/proc/{pid}/fd").iterdir(), key=lambda p: int(p.name)):
        try:
            found.append([int(path.name), str(path.readlink()), path.stat().st_ino])
        except FileNotFoundError:
            continue  # closed meanwhile
    return found


def _status(text: str) -> dict[str, int]:
    values = dict.fromkeys(_STATUS.values(), 0)
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name in _STATUS:
            values[_STATUS[name]] = int(value.split()[0])
    return values


def pfns(pid: int, offsets: Sequence[int], hint: str = "memfd:", size: int | None = None) -> list[list[int]]:
    """[[offset, pfn, inode]] of pages of the largest memory file whose name holds `hint`, or that of a size.

    The PFN is from the page tables of the process; for a page that it has not touched since its exec, from
    the file itself. PFN -1: the file has no page there.

    Raises:
        AgentError: no such file, no such process, or PFNs are hidden from us.
    """
    fd = memory_file(pid, hint, size)
    try:
        inode = os.fstat(fd).st_ino
        return [[offset, pfn, inode] for offset, pfn in pages_of(pid, fd, offsets)]
    except OSError as error:
        raise AgentError(f"could not look up pages of process {pid}: {error}") from None
    finally:
        os.close(fd)


def memory_file(pid: int, hint: str, size: int | None = None) -> int:
    """The largest of its files whose names hold `hint`, or that of `size` bytes, opened for reading."""
    files = [(fd, link) for fd, link, _ in process(pid)["fds"] if hint in link]
    sizes = {fd: Path(f"/proc/{pid}/fd/{fd}").stat().st_size for fd, _ in files}
    wanted = {fd: bytes_ for fd, bytes_ in sizes.items() if size in (None, bytes_)}
    if not wanted:
        like = f"named like {hint!r}" + ("" if size is None else f" with {size} bytes")
        raise AgentError(f"process {pid} has no open file {like}: guest memory must be a memfd or a file")
    return os.open(f"/proc/{pid}/fd/{max(wanted, key=wanted.__getitem__)}", os.O_RDONLY | os.O_CLOEXEC)


def pages_of(pid: int, fd: int, offsets: Sequence[int]) -> list[tuple[int, int]]:
    """(offset, pfn) of pages of a file that we have open, and that a process maps; PFN -1: there is none."""
    mapped = _mapped(pid, fd)
    return [(offset, _pfn(pid, fd, mapped, offset)) for offset in offsets]


def _mapped(pid: int, fd: int) -> list[tuple[int, int, int]]:
    """Where a process maps the file that we have open: (file offset, bytes, address)."""
    found, file = [], os.fstat(fd)
    identity = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}", str(file.st_ino)
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        addresses, _, offset, device, inode = line.split()[:5]
        start, end = (int(address, 16) for address in addresses.split("-"))
        if (device, inode) == identity:
            found.append((int(offset, 16), end - start, start))
    return found


def _pfn(pid: int, fd: int, mapped: Sequence[tuple[int, int, int]], offset: int) -> int:
    for file_offset, length, address in mapped:
        if file_offset <= offset < file_offset + length:
            entry = _pagemap(pid, address + offset - file_offset)
            if entry & _PRESENT:
                return _visible(entry)
    return _page_of_file(fd, offset)


def _page_of_file(fd: int, offset: int) -> int:
    """The PFN of the page in the page cache, by mapping it ourselves; holes are not filled."""
    # hugetlbfs maps nothing smaller than its pages
    block = os.fstatvfs(fd).f_bsize
    start = offset - offset % block
    if _is_hole(fd, start, block):
        return -1
    with mmap.mmap(fd, block, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ, offset=start) as page:
        page[offset - start]
        address = next(a for o, _, a in _mapped(os.getpid(), fd) if o == start)
        entry = _pagemap(os.getpid(), address + offset - start)
    return _visible(entry) if entry & _PRESENT else -1


def _is_hole(fd: int, start: int, block: int) -> bool:
    if block > PAGE_BYTES:
        # it tells no holes (SEEK_DATA finds data everywhere), and to look would fill them
        stat = os.fstat(fd)
        if stat.st_blocks * 512 < stat.st_size:
            raise AgentError("a file of huge pages is not full, and nobody tells where its holes are")
        return False
    try:
        return os.lseek(fd, start, os.SEEK_DATA) != start
    except OSError:
        return True  # a hole up to the end


def _pagemap(pid: int, address: int) -> int:
    with Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as pagemap:
        pagemap.seek(address // PAGE_BYTES * 8)
        return int(struct.unpack("<Q", pagemap.read(8))[0])


def _visible(entry: int) -> int:
    if (pfn := entry & _PFN) == 0:
        raise AgentError("page frame numbers are hidden: the host agent needs CAP_SYS_ADMIN, run it as root")
    return pfn
