"""Sends one stream of numbered frames at a steady rate."""

import errno
import time
from collections.abc import Callable
from typing import Any, Protocol

from .blocks import BlockRows
from .frames import FrameWriter
from .loop import Loop, Timer
from .pacing import Pacer
from .rpc import Wire

LINK_POLL_NS = 20_000_000
WIRE_RETRY_NS = 100_000_000
SHORTEST_WAIT_NS = 2_000_000
"""Frames due within it go out together: waking up costs more than a frame."""


class Channel(Protocol):
    """What frames go through, without blocking: a raw socket, or something like it."""

    def fileno(self) -> int: ...

    def send(self, frame: bytes, /) -> int: ...

    def recv(self, longest: int, /) -> bytes: ...


class Sender:
    """Sends one stream of a load at a steady rate.

    Guarantees: a block has a row in the `sent` table if and only if the channel took it, and its
    number is one more than the row's before it.
    """

    def __init__(self, loop: Loop, channel: Channel, out: Wire, load: str, stream: str) -> None:
        self.rows = BlockRows(out, f"{load}.{stream}.sent")
        self.epoch = 1
        self._loop, self._channel, self._out = loop, channel, out
        self._load, self._stream = load, stream
        self._pacer: Pacer | None = None
        self._timer: Timer | None = None
        self._seq = self._refused = self._started_ns = self._stopped_ns = 0
        self._wire_up = True

    def start(self, writer: FrameWriter, rate_hz: float, link_up: Callable[[], bool]) -> None:
        """Send from the moment `link_up` is true: without a carrier Linux drops frames silently."""

        def wait_for_link(now_ns: int) -> int:
            if not link_up():
                return now_ns + LINK_POLL_NS
            self._pacer, self._started_ns = Pacer(rate_hz, now_ns), now_ns
            assert self._timer is not None
            self._timer.run = lambda now_ns: self._send_due(writer, now_ns)
            return now_ns

        self._timer = self._loop.at(time.monotonic_ns(), wait_for_link)

    def stop(self) -> None:
        """Send no more; totals stay."""
        if self._timer:
            self._loop.cancel(self._timer)
            self._timer, self._stopped_ns = None, time.monotonic_ns()

    def _send_due(self, writer: FrameWriter, now_ns: int) -> int:
        assert self._pacer is not None
        due, done = self._pacer.due(now_ns), 0
        error: OSError | None = None
        for _ in range(due):
            try:
                self._channel.send(writer.frame(self._seq, self.epoch))
            except OSError as refusal:
                error = refusal
                break
            self.rows.add(self._seq, self.epoch, time.monotonic_ns(), 1)
            self._seq += 1
            done += 1
        self._pacer.sent(done)
        return self._after(now_ns, error)

    def _after(self, now_ns: int, error: OSError | None) -> int:
        """When to send next, and whether the wire took the last frame."""
        assert self._pacer is not None
        if error is None:
            self._say_wire(True, "")
            return max(self._pacer.next_ns, now_ns + SHORTEST_WAIT_NS)
        self._refused += 1
        if isinstance(error, BlockingIOError) or error.errno == errno.ENOBUFS:
            return now_ns + SHORTEST_WAIT_NS
        self._say_wire(False, f"{type(error).__name__}: {error}")
        return now_ns + WIRE_RETRY_NS

    def _say_wire(self, up: bool, reason: str) -> None:
        if up != self._wire_up:
            self._wire_up = up
            data = {"load": self._load, "stream": self._stream, "up": up, "reason": reason}
            self._out.event("load.wire", **data, t_src_ns=time.monotonic_ns())

    def totals(self) -> dict[str, Any]:
        """{sent, refused, missed_slots, rate_hz}: rate_hz is the one that was reached."""
        seconds = ((self._stopped_ns or time.monotonic_ns()) - self._started_ns) / 1e9
        rate_hz = round(self._seq / seconds, 1) if self._pacer and seconds > 0 else 0.0
        missed = self._pacer.missed if self._pacer else 0
        return {"sent": self._seq, "refused": self._refused, "missed_slots": missed, "rate_hz": rate_hz}
