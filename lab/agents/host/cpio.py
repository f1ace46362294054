"""Writes initramfs archives (cpio, "newc"): no tool, no privilege, the same bytes every time.

Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst.
"""

import stat
from dataclasses import dataclass, field
from pathlib import PurePosixPath

# a new archive may begin at any multiple of four; 512 is what the cpio program writes
PADDING = 512


@dataclass
class Archive:
    """An archive in memory; folders come by themselves, everything belongs to root, time is 0."""

    _parts: list[bytes] = field(default_factory=list)
    _folders: set[str] = field(default_factory=set)
    _count: int = 0

    def folder(self, name: str) -> None:
        """A folder and those above it."""
        if name in ("", ".") or name in self._folders:
            return
        self.folder(str(PurePosixPath(name).parent))
        self._folders.add(name)
        self._member(name, stat.S_IFDIR | 0o755)

    def file(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """A regular file."""
        self._below_folder(name)
        self._member(name, stat.S_IFREG | mode, content)

    def link(self, name: str, target: str) -> None:
        """A symbolic link."""
        self._below_folder(name)
        self._member(name, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, name: str, major: int, minor: int) -> None:
        """A device node."""
        self._below_folder(name)
        self._member(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def finish(self) -> bytes:
        """The whole archive, padded so that another one may follow."""
        trailer = [*self._parts, _member("TRAILER!!!", 0, b"", (0, 0), 0)]
        return _padded(b"".join(trailer), PADDING)

    def _below_folder(self, name: str) -> None:
        self.folder(str(PurePosixPath(name).parent))

    def _member(self, name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        self._count += 1
        self._parts.append(_member(name, mode, content, device, self._count))


def _member(name: str, mode: int, content: bytes, device: tuple[int, int], inode: int) -> bytes:
    path = name.encode() + b"\0"
    # inode mode uid gid links mtime size, device of the file system (2), device node (2), name size, check
    fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(path), 0)
    head = b"070701" + b"".join(b"%08X" % number for number in fields)
    return _padded(head + path, 4) + _padded(content, 4)


def _padded(data: bytes, multiple: int) -> bytes:
    return data + bytes(-len(data) % multiple)
