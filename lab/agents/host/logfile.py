"""The far end of a file that QEMU writes what a chardev says to: whoever reads it afterwards."""

import time
from pathlib import Path
from typing import Any

from ..numbered import Checker
from ..rpc import Wire


class LogFile:
    """Reads the whole file at each report: what is not in it any more is lost.

    truncated: how often it was shorter, or another file, than at the report before
    """

    backend = "file"

    def __init__(self, wire: Wire, chardev: str, path: str) -> None:
        self._wire, self._chardev, self._path = wire, chardev, Path(path)
        self._inode = self._size = self._truncated = 0

    def begin(self) -> None:
        """Nothing is ever sent."""

    def pace(self, rate_hz: float) -> None:
        """Nothing is ever sent."""

    def epoch(self, number: int) -> None:
        """Nothing is ever sent."""

    def report(self, drain: bool, upto: int | None, timeout_s: float) -> dict[str, Any]:
        """As that of a stream, of what is in the file now."""
        checker = Checker()
        try:
            with self._path.open("rb") as file:
                checker.feed(file.read())
                inode, size = self._path.stat().st_ino, file.tell()
        except FileNotFoundError:
            inode = size = 0
        if size < self._size or self._inode not in (0, inode):
            self._truncated += 1
            said = {"was_bytes": self._size, "is_bytes": size, "t_src_ns": time.monotonic_ns()}
            self._wire.event("chardev.truncated", chardev=self._chardev, **said)
        self._inode, self._size = inode, size
        return {
            "chardev": self._chardev,
            "backend": self.backend,
            "connections": 1,
            "eofs": 0,
            "sent": 0,
            "drained": True,
            "longest_idle_ms": 0,
            "truncated": self._truncated,
            "received": checker.report(upto),
        }

    def move(self, where: Any) -> None:
        """It is one file for all QEMUs."""

    def stop(self) -> dict[str, Any]:
        return self.report(False, None, 0)

    def abandon(self) -> None: ...
