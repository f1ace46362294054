"""Numbered lines over a byte stream: what one end sends, and what came from the other end, counted.

A line is 31 bytes, b"EEEEEEEE NNNNNNNNNNNN CCCCCCCC\\n": epoch and number in decimal, then the CRC-32 in
hex of the 21 bytes before it. Numbers count from 1 and never jump, so that what is missing is known.
"""

import contextlib
import os
import re
import select
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass

LINE_BYTES = 31
_LINE = re.compile(rb"(\d{8}) (\d{12}) ([0-9a-f]{8})\n")


@dataclass(frozen=True)
class Line:
    """One line: the epoch its sender was in, and its number."""

    epoch: int
    number: int

    def encoded(self) -> bytes:
        text = b"%08d %012d" % (self.epoch, self.number)
        return b"%s %08x\n" % (text, zlib.crc32(text))


def parsed(raw: bytes) -> Line | None:
    """The line in exactly these bytes; None if they are not one, or its CRC is wrong."""
    if (match := _LINE.fullmatch(raw)) is None or int(match[3], 16) != zlib.crc32(raw[:21]):
        return None
    return Line(int(match[1]), int(match[2]))


class Checker:
    """Counts what came: feed it bytes as they were read, in order, across all connections.

    received:   good lines, repeated ones included
    lost:       numbers passed over and never seen since (a damaged line's number is among them)
    repeated:   good lines whose number was there before
    reordered:  good lines that came after a higher number
    damaged:    lines that are not one of ours, or fail their CRC
    seen:       is told of every good line
    cut:        beginnings of a line with a whole line behind them: what a broken connection leaves. Harmless
                where the number comes again or the stream goes on with the rest; else it is also lost
    """

    def __init__(self, seen: "Callable[[Line], object]" = lambda line: None) -> None:
        self._seen = seen
        self.received = self.repeated = self.reordered = self.damaged = self.cut = 0
        self.last_number = self.first_epoch = self.last_epoch = 0
        self._missing: set[int] = set()
        self._tail = b""

    def feed(self, data: bytes) -> None:
        *lines, self._tail = (self._tail + data).split(b"\n")
        for line in lines:
            self._line(line + b"\n")

    def _line(self, raw: bytes) -> None:
        line = parsed(raw)
        if line is None and (line := parsed(raw[-LINE_BYTES:])) is not None:
            self.cut += 1
        if line is None:
            self.damaged += 1
            return
        self.received += 1
        self._seen(line)
        self.first_epoch = min(self.first_epoch or line.epoch, line.epoch)
        self.last_epoch = max(self.last_epoch, line.epoch)
        self._count(line.number)

    def _count(self, number: int) -> None:
        if number > self.last_number:
            self._missing.update(range(self.last_number + 1, number))
            self.last_number = number
        elif number in self._missing:
            self._missing.remove(number)
            self.reordered += 1
        else:
            self.repeated += 1

    def report(self, upto: int | None = None) -> dict[str, int]:
        """The counters; with `upto`, the last number sent, what is missing at the end counts as lost."""
        never_seen = max(0, (upto or 0) - self.last_number)
        return {
            "received": self.received,
            "lost": len(self._missing) + never_seen,
            "repeated": self.repeated,
            "reordered": self.reordered,
            "damaged": self.damaged,
            "cut": self.cut,
            "last_number": self.last_number,
            "first_epoch": self.first_epoch,
            "last_epoch": self.last_epoch,
            "tail_bytes": len(self._tail),
        }


class NumberedStream:
    """One end of a stream, both directions, over as many connections as it takes.

    Set `epoch` and the lines carry it from then on. `run` belongs in one thread,
    the rest may be called from others.

    held: nothing is sent before `begin`
    """

    def __init__(
        self,
        rate_hz: float = 50.0,
        epoch: int = 1,
        seen: Callable[[Line], object] = lambda line: None,
        *,
        held: bool = False,
    ) -> None:
        self.epoch = epoch
        self._seen = seen
        self.checker = Checker(seen)
        self.sent = 0
        self._period_s = 1 / rate_hz
        self._sending = not held
        self._awake_s, self._longest_idle_s = 0.0, 0.0
        self._line = self._rest = b""
        self._due = 0.0
        self._progress = threading.Condition()

    @property
    def period_s(self) -> float:
        """From one line to the next."""
        return self._period_s

    def run(self, fd: int, stop: threading.Event, out: int | None = None) -> str:
        """Send and check on a non-blocking descriptor; "stopped", or why the connection ended.

        out: where to write, if it is another descriptor than where to read

        An end of file is "eof". On a virtio-serial port that only means that nobody is connected at the other
        side: wait a little and run again. A line that was only partly written is written whole the next time.
        """
        out = fd if out is None else out
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        self._rest = self._line if self._rest else b""
        self._awake_s = time.monotonic()
        try:
            while not stop.is_set():
                full = bool(self._rest)
                poll.modify(fd, select.POLLIN | (select.POLLOUT if full and out == fd else 0))
                ready = poll.poll(self._wait_ms())
                if ready and ready[0][1] & ~select.POLLOUT and not self._receive(fd):
                    return "eof"
                self._send(out)
        except OSError as error:
            return f"{type(error).__name__}: {error}"
        finally:
            self._idle()
        return "stopped"

    def begin(self) -> None:
        """Send from now on, if it was held until now."""
        with self._progress:
            self._awake_s = time.monotonic()
            self._sending = True

    def renew(self, rate_hz: float, *, held: bool = False) -> None:
        """Go on over the same connection as if it were a new stream; when both ends are drained."""
        with self._progress:
            self.checker, self.sent = Checker(self._seen), 0
            self._longest_idle_s, self._awake_s = 0.0, time.monotonic()
            self._period_s, self._sending = 1 / rate_hz, not held

    def pace(self, rate_hz: float) -> None:
        """Send so many lines per second from now on."""
        self._period_s = 1 / rate_hz
        self._due = min(self._due, time.monotonic() + self._period_s)

    def drain(self) -> None:
        """Begin no further line: `sent` is final; a report says `drained` once the last line is out."""
        with self._progress:
            self._idle()
            self._sending = False

    def report(self, upto: int | None = None, timeout_s: float = 0.0) -> dict[str, object]:
        """{sent, drained, longest_idle_ms, received: counters}; waits up to `timeout_s` for number `upto`.

        longest_idle_ms: the longest time in which it was connected, sent nothing and could have
        """
        if upto is not None:
            with self._progress:
                self._progress.wait_for(lambda: self.checker.last_number >= upto, timeout_s)
        drained = not self._sending and not self._rest
        idle_ms = round(1000 * self._longest_idle_s)
        counted = {"sent": self.sent, "drained": drained, "longest_idle_ms": idle_ms}
        return {**counted, "received": self.checker.report(upto)}

    def _wait_ms(self) -> float:
        until_due_s = self._due - time.monotonic() if self._sending else self._period_s
        # a slow stream looks no oftener than it sends: a timer costs a guest under emulation five exits
        return max(0.0, min(until_due_s, max(0.1, self._period_s))) * 1000 if not self._rest else 100.0

    def _receive(self, fd: int) -> bool:
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return True
        with self._progress:
            self.checker.feed(data)
            self._progress.notify_all()
        return bool(data)

    def _send(self, fd: int) -> None:
        if not self._rest:
            self._rest = self._next_line()
        else:
            self._idle()
        # BlockingIOError: the other side does not read; poll waits for room
        with contextlib.suppress(BlockingIOError):
            self._rest = self._rest[os.write(fd, self._rest) :] if self._rest else b""

    def _next_line(self) -> bytes:
        """The next line if it is due, else nothing."""
        now = time.monotonic()
        with self._progress:
            if not self._sending or now < self._due:
                return b""
            # after a pause: go on at the rate, no burst to catch up
            self._due = max(self._due + self._period_s, now)
            self._idle()
            self.sent += 1
            self._line = Line(self.epoch, self.sent).encoded()
        return self._line

    def _idle(self) -> None:
        """It is awake now: a line is on its way, or waits for room."""
        now = time.monotonic()
        if self._sending:
            self._longest_idle_s = max(self._longest_idle_s, now - self._awake_s)
        self._awake_s = now
