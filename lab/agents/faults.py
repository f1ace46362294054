"""Faults on the wire, planted to see whether the lab notices them."""

import contextlib
import time
from collections import deque
from collections.abc import Callable

from .frames import HEADER_BYTES
from .rpc import AgentError, Wire
from .sending import Channel

TO_GUEST = ("drop", "duplicate", "flip", "reorder", "stale")
FROM_GUEST = ("drop", "flip", "delay")


class FaultyWire:
    """A channel that does to the next frames what it was told, and else passes them on.

    A dropped frame counts as sent: that is the fault. "delay" keeps all frames back for a time, in order.
    """

    def __init__(self, channel: Channel, out: Wire) -> None:
        self.fileno = channel.fileno
        self._channel, self._out = channel, out
        self._to_guest: list[str] = []
        self._from_guest: list[str] = []
        self._older = self._held = b""
        self._late, self._until_ns = deque[bytes](), 0
        self._send: dict[str, Callable[[bytes], None]] = {
            "drop": lambda frame: None,
            "duplicate": self._duplicate,
            "flip": lambda frame: self._put(_flipped(frame)),
            "reorder": self._hold,
            "stale": lambda frame: self._put(frame[:HEADER_BYTES] + self._older[HEADER_BYTES:]),
        }

    def plant(self, kind: str, count: int = 1, direction: str = "to-guest", seconds: float = 0.0) -> None:
        """Do `kind` to the next `count` frames; "delay" to those of the next `seconds`.

        Raises:
            AgentError: if there is no such fault in that direction.
        """
        possible = {"to-guest": TO_GUEST, "from-guest": FROM_GUEST}.get(direction, ())
        if kind not in possible:
            raise AgentError(f"no fault {kind!r} {direction}: there are {', '.join(possible) or 'none'}")
        if kind == "delay":
            self._until_ns = time.monotonic_ns() + int(seconds * 1e9)
        else:
            (self._to_guest if direction == "to-guest" else self._from_guest).extend([kind] * count)
        detail = {"kind": kind, "count": count, "direction": direction}
        self._out.event("fault.planted", fault=f"wire.{kind}", detail=detail)

    def send(self, frame: bytes) -> int:
        held, self._held = self._held, b""
        if self._to_guest and self._older:
            self._send[self._to_guest.pop(0)](frame)
        else:
            self._put(frame)
        if held:
            self._put(held)
        self._older = frame
        return len(frame)

    def recv(self, longest: int) -> bytes:
        while time.monotonic_ns() < self._until_ns:
            self._late.append(self._channel.recv(longest))  # BlockingIOError: it has them all
        if self._late:
            return self._late.popleft()
        frame = self._channel.recv(longest)
        # frames of others, like the guest kernel's own, are not what was meant
        while self._from_guest and frame[14:18] == b"CPRL":
            if self._from_guest.pop(0) == "flip":
                return _flipped(frame)
            frame = self._channel.recv(longest)
        return frame

    def _put(self, frame: bytes) -> None:
        self._channel.send(frame)

    def _duplicate(self, frame: bytes) -> None:
        self._put(frame)
        with contextlib.suppress(OSError):  # the frame itself is out: the block was sent
            self._put(frame)

    def _hold(self, frame: bytes) -> None:
        self._held = frame


def _flipped(frame: bytes) -> bytes:
    middle = (HEADER_BYTES + len(frame)) // 2
    return frame[:middle] + bytes([frame[middle] ^ 0x10]) + frame[middle + 1 :]
