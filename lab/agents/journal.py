"""What the guest has to tell, kept until the controller has it.

The way to the controller breaks at every update. So each line gets a number "n" and stays here
until it is acknowledged; after a break everything that is not acknowledged goes out once more.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

BOUND_BYTES = 24 << 20
"""About ten minutes of a load of 500 frames per second in each direction."""

REPLIES_BYTES = 1 << 20
"""Answers still fit when rows and events no longer do."""


class Journal:
    """The lines that are not acknowledged yet; a stream for `rpc.Wire`.

    Guarantees: nothing that was accepted is lost. What finds it full is refused, and an event
    witness.blind says how many lines, as soon as there is room.
    """

    def __init__(
        self, bound_bytes: int = BOUND_BYTES, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._lines: dict[int, bytes] = {}
        self._bound_bytes, self._clock_ns = bound_bytes, clock_ns
        self._bytes = self._refused = 0
        self._first = self._next = self._unsent = 1

    def write(self, line: bytes, /) -> int:
        """Take one JSON object in a line; it is numbered here."""
        bound = self._bound_bytes + (REPLIES_BYTES if line.startswith(b'{"id"') else 0)
        if self._bytes + len(line) > bound:
            self._refused += 1
            return len(line)
        if self._refused and self._bytes < self._bound_bytes // 2:
            self._tell_refused()
        self._append(line)
        return len(line)

    def flush(self) -> None:
        """Nothing: the port asks for lines when it can send them."""

    def unsent(self, most_bytes: int) -> bytes:
        """The next lines to send, about `most_bytes` of them; empty when there is nothing left."""
        lines, length = [], 0
        while self._unsent < self._next and length < most_bytes:
            lines.append(self._lines[self._unsent])
            length += len(lines[-1])
            self._unsent += 1
        return b"".join(lines)

    def resume(self, after: int) -> int:
        """Send everything after line `after` again; the number of the first line there is."""
        self._unsent = max(after + 1, self._first)
        return self._unsent

    def ack(self, upto: int) -> None:
        """Forget the lines up to `upto`."""
        for number in range(self._first, min(upto + 1, self._next)):
            self._bytes -= len(self._lines.pop(number))
        self._first = max(self._first, min(upto + 1, self._next))
        self._unsent = max(self._unsent, self._first)

    def _append(self, line: bytes) -> None:
        numbered = b'{"n":%d,%s' % (self._next, line[1:])
        self._lines[self._next] = numbered
        self._bytes += len(numbered)
        self._next += 1

    def _tell_refused(self) -> None:
        reason = f"{self._refused} lines found the guest's journal full ({self._bound_bytes} bytes)"
        data: Mapping[str, Any] = {"witness": "guest-journal", "reason": reason, "t_src_ns": self._clock_ns()}
        self._refused = 0
        self._append(json.dumps({"event": "witness.blind", "data": data}).encode() + b"\n")
