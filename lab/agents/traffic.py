"""One end of a wire: sends one stream of numbered frames and checks the other one.

The guest and the far end run the same code, with the streams swapped.
"""

import time
from collections.abc import Callable
from typing import Any

from .blocks import Anomalies, BlockRows
from .frames import FrameReader, FrameWriter, mac_bytes
from .loop import Loop
from .pattern import Pattern
from .rpc import Wire
from .sending import Channel, Sender

LONGEST_FRAME = 2048
FRAMES_A_TURN = 64
"""Frames taken from the socket before other handlers get their turn."""
BACKLOG_S = 10.0
"""At the end so long is spent on what lies in the socket: an agent that was too slow has lost nothing."""


class FrameSink:
    """Receives one stream and checks every bit of it."""

    def __init__(
        self, loop: Loop, channel: Channel, out: Wire, load: str, stream: str, reader: FrameReader
    ) -> None:
        self.rows = BlockRows(out, f"{load}.{stream}.received")
        self.anomalies, self.foreign = Anomalies(out, load, stream), 0
        self.unread = False
        self._loop, self._channel, self._reader = loop, channel, reader
        loop.watch(channel.fileno(), self._turn)

    def _turn(self, _: int) -> None:
        self._drain()

    def _drain(self) -> bool:
        """Take a turn's frames; whether there may be more."""
        receive, check, clock_ns, add = (
            self._channel.recv,
            self._reader.check,
            time.monotonic_ns,
            self.rows.add,
        )
        for _ in range(FRAMES_A_TURN):
            try:
                frame = receive(LONGEST_FRAME)
            except OSError:  # nothing left; an error of the link is the sender's to tell
                return False
            t_ns = clock_ns()
            numbers = check(frame)
            if numbers:
                add(numbers[0], numbers[1], t_ns, 1)
            else:
                self._wrong(frame, t_ns)
        return True

    def _wrong(self, frame: bytes, t_ns: int) -> None:
        what, seq, epoch, detail = self._reader.diagnose(frame)
        if what == "foreign":  # not ours, so nothing is wrong with the load: only counted
            self.foreign += 1
            return
        self.anomalies.seen(what, seq, detail)
        if seq is not None:
            self.rows.add(seq, epoch, t_ns, 0)

    def close(self) -> None:
        """Take what the socket still holds; `unread` says that it was too much."""
        self._loop.forget(self._channel.fileno())
        end_s = time.monotonic() + BACKLOG_S
        while self._drain():
            if time.monotonic() > end_s:
                self.unread = True
                return


class Traffic:
    """Both streams at one end of a wire, from `__init__` to `close`.

    load:            the first part of its tables' names
    sends, receives: "to-guest" or "from-guest", or both "loop" at a device that gives back what it gets
    block_bytes:     of both streams
    """

    def __init__(
        self,
        loop: Loop,
        channel: Channel,
        out: Wire,
        *,
        load: str,
        sends: str,
        receives: str,
        seed: int,
        block_bytes: int,
        rows_period_ms: float = 250,
    ) -> None:
        self._pattern, self._block_bytes, self._sends, self._receives = (
            Pattern(seed),
            block_bytes,
            sends,
            receives,
        )
        self.sender = Sender(loop, channel, out, load, sends)
        reader = FrameReader(receives, self._pattern, block_bytes)
        self.sink = FrameSink(loop, channel, out, load, receives, reader)
        self._loop, self._flushing = loop, loop.every(rows_period_ms, self.flush)

    def start_sending(
        self, rate_hz: float, destination: str, source: str, link_up: Callable[[], bool] = lambda: True
    ) -> None:
        """Send as soon as the link is up. Addresses as "02:00:00:00:00:01"."""
        macs = mac_bytes(destination), mac_bytes(source)
        writer = FrameWriter(self._sends, self._pattern, self._block_bytes, *macs)
        self.sender.start(writer, rate_hz, link_up)

    def flush(self) -> None:
        """Send the rows that were collected."""
        self.sender.rows.flush()
        self.sink.rows.flush()

    def totals(self) -> dict[str, dict[str, Any]]:
        """By stream what was sent, or received, up to now; all its rows are on their way."""
        self.flush()
        sink, sent = self.sink, self.sender.totals()
        counts = {"anomalies": dict(sink.anomalies.counts), "foreign": sink.foreign}
        received = {"received": sink.rows.blocks} | counts | ({"unread": True} if sink.unread else {})
        if self._sends == self._receives:
            return {self._sends: sent | received}
        return {self._sends: sent, self._receives: received}

    def close(self) -> None:
        """Stop both streams."""
        self.sender.stop()
        self.sink.close()
        self._loop.cancel(self._flushing)
        self.flush()
