"""Writes in a thread of its own: a controller that is busy must not hold up the traffic."""

import queue
import threading
from typing import BinaryIO


class QueuedOutput:
    """A stream for `rpc.Wire` whose writes never wait."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def write(self, line: bytes, /) -> int:
        self._lines.put(line)
        return len(line)

    def flush(self) -> None:
        """Nothing: the thread flushes whenever it has caught up."""

    def close(self) -> None:
        """Wait until everything is written."""
        self._lines.put(None)
        self._thread.join(timeout=5)

    def _write(self) -> None:
        try:
            while (line := self._lines.get()) is not None:
                self._out.write(line)
                if self._lines.empty():
                    self._out.flush()
        except OSError:
            pass  # the controller is gone: its end of stdin says so too
