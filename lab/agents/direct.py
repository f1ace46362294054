"""A disk, or a file in its place, read and written past the page cache."""

import mmap
import os
import stat
from typing import Protocol

from .rpc import AgentError


def buffer(length: int) -> mmap.mmap:
    """Memory that O_DIRECT accepts: it begins with a page."""
    return mmap.mmap(-1, length)


class BlockFile(Protocol):
    """What whole blocks are written to and read from; requests wait for the device, and raise OSError."""

    direct: bool

    def again(self) -> "BlockFile":
        """The same open file, to be closed on its own."""

    def length(self) -> int:
        """Bytes there are."""

    def write(self, data: mmap.mmap, at: int) -> int:
        """Write all of a buffer; the bytes that were taken."""

    def read(self, into: mmap.mmap, at: int) -> int:
        """Fill a buffer; the bytes that came."""

    def flush(self) -> None:
        """What was written is past the device's own volatile cache."""

    def close(self) -> None: ...


class DirectFile:
    """See BlockFile. What is read came from the medium, what is written went to it.

    No page cache can answer, old or new, for O_DIRECT passes it by. Only a file system in memory refuses
    O_DIRECT: there the page cache is the medium.
    direct: whether O_DIRECT is in force
    """

    def __init__(self, fd: int, direct: bool) -> None:
        self._fd, self.direct = fd, direct

    @classmethod
    def opened(cls, path: str, *, write: bool = False) -> "DirectFile":
        """Open it; a block device to be written is claimed, so that nothing else can mount or write it.

        Raises:
            AgentError: if it cannot be opened, or something else has claimed it.
        """
        try:
            is_device = stat.S_ISBLK(os.stat(path).st_mode)  # noqa: PTH116 (one import less in the guest)
            # on a block device, without O_CREAT, O_EXCL is the claim that a mount makes, too
            flags = (os.O_RDWR | (os.O_EXCL if is_device else 0)) if write else os.O_RDONLY
            try:
                return cls(os.open(path, flags | os.O_DIRECT), True)
            except OSError:
                if is_device:
                    raise
                return cls(os.open(path, flags), False)
        except OSError as error:
            raise AgentError(f"could not open {path}: {error.strerror}") from None

    def again(self) -> "DirectFile":
        return type(self)(os.dup(self._fd), self.direct)

    def length(self) -> int:
        return os.lseek(self._fd, 0, os.SEEK_END)

    def write(self, data: mmap.mmap, at: int) -> int:
        return os.pwritev(self._fd, [data], at)

    def read(self, into: mmap.mmap, at: int) -> int:
        return os.preadv(self._fd, [into], at)

    def flush(self) -> None:
        os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)
