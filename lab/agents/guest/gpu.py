"""The guest's end of the GPU load: draws numbered pictures and has the card show them."""

import time
from typing import Any

from ..blocks import Anomalies, BlockRows
from ..loop import NEVER, Loop, Timer
from ..pacing import Pacer
from ..pattern import Pattern
from ..picture import PictureWriter
from ..picture_faults import FaultyWriter
from ..rpc import AgentError, Wire
from .drm import DEV, Buffer, Card, Found, Mode, Output, cards

ROWS_PERIOD_MS = 250
BUFFERS = 2
"""One is shown while the other is drawn: a picture is never changed while anybody can see it."""


class Gpu:
    """Shows picture after picture, each one when the one before it is on its screen."""

    def __init__(self, loop: Loop, out: Wire, load: str, epoch: int) -> None:
        self._loop, self._out, self._epoch = loop, out, epoch
        self._rows, self._anomalies = BlockRows(out, f"{load}.frame.sent"), Anomalies(out, load, "frame")
        self._card: Card | None = None
        self._pacer = Pacer(1, 0)
        self._timers: list[Timer] = []
        self._seq = self._flips = self._drawing_ns = 0
        self._flipping = False
        self._started_ns = self._stopped_ns = 0

    def epoch(self, number: int) -> None:
        """Pictures drawn from now on carry it."""
        self._epoch = number

    def start(
        self, *, rate_hz: float, width: int, height: int, seed: int, bdf: str | None = None
    ) -> dict[str, Any]:
        """Show the first picture at once; {name, bdf, driver}: the card's."""
        found = _chosen(bdf)
        try:
            self._card = Card(DEV / found.name)
            self._output, mode = _fitting(self._card, found, width, height)
            self._buffers = [self._card.buffer(width, height) for _ in range(BUFFERS)]
            writer = PictureWriter(Pattern(seed), width, height, self._buffers[0].pitch)
            self._writer = FaultyWriter(writer, self._out)
            self._card.show(self._output, mode, self._drawn())
        except OSError as error:
            self._close()
            raise AgentError(f"/dev/dri/{found.name} cannot be used: {error.strerror}") from error
        self._sent()
        self._started_ns = time.monotonic_ns()
        self._pacer = Pacer(rate_hz, self._started_ns + int(1e9 / rate_hz), burst=1)
        self._loop.watch(self._card.fileno(), self._flipped)
        self._next = self._loop.at(self._pacer.next_ns, self._turn)
        self._timers = [self._next, self._loop.every(ROWS_PERIOD_MS, self._rows.flush)]
        return found._asdict()

    def stop_sending(self) -> dict[str, dict[str, Any]]:
        """Leave the last picture on the screen; the totals."""
        self._stopped_ns = self._stopped_ns or time.monotonic_ns()
        for timer in self._timers[:1]:
            self._loop.cancel(timer)
        return self._totals()

    def stop(self) -> dict[str, dict[str, Any]]:
        """Let the card go, which then shows nothing; the totals."""
        totals = self.stop_sending()
        for timer in self._timers:
            self._loop.cancel(timer)
        self._close()
        return totals

    def counters(self) -> dict[str, dict[str, int]]:
        """What the kernel took and what it showed."""
        return {"guest-gpu": {"frames": self._seq, "flips": self._flips}}

    def fault(self, kind: str) -> None:
        """Do this to the pictures of the next second: see picture_faults.FaultyWriter."""
        self._writer.plant(kind)

    def _turn(self, now_ns: int) -> int:
        if self._flipping:
            return NEVER  # until it is done, see _flipped
        if self._pacer.due(now_ns):
            self._pacer.sent(1)
            self._flip()
        return self._pacer.next_ns

    def _flip(self) -> None:
        assert self._card
        try:
            self._card.flip(self._output, self._drawn())
        except OSError as error:
            self._anomalies.seen("error", self._seq, {"errno": error.errno, "text": error.strerror})
            return
        self._flipping = True
        self._sent()

    def _flipped(self, _: int) -> None:
        assert self._card
        if done := self._card.flipped():
            self._flips += done
            self._flipping, self._next.due_ns = False, self._pacer.next_ns

    def _drawn(self) -> Buffer:
        """The buffer that is not shown, with the next picture in it."""
        began_ns = time.monotonic_ns()
        buffer = self._buffers[self._seq % BUFFERS]
        picture = self._writer.picture(self._seq, self._epoch)
        buffer.memory[: len(picture)] = picture
        self._drawing_ns += time.monotonic_ns() - began_ns
        return buffer

    def _sent(self) -> None:
        """The kernel took the picture: it is, or will soon be, on the screen."""
        self._rows.add(self._seq, self._epoch, time.monotonic_ns(), 1)
        self._seq += 1

    def _totals(self) -> dict[str, dict[str, Any]]:
        self._rows.flush()
        if not self._seq:  # it could not be started
            return {}
        seconds = (self._stopped_ns - self._started_ns) / 1e9
        return {
            "frame": {
                "sent": self._seq,
                "missed_slots": self._pacer.missed,
                "rate_hz": round(self._seq / seconds, 1) if seconds > 0 else 0.0,
                "drawing_ms": round(self._drawing_ns / 1e6 / self._seq, 2),
                "anomalies": dict(self._anomalies.counts),
            }
        }

    def _close(self) -> None:
        if self._card:
            self._loop.forget(self._card.fileno())
            self._card.close()
            self._card = None


def _chosen(bdf: str | None) -> Found:
    there = cards()
    for card in there:
        if bdf in (None, card.bdf):
            return card
    found = ", ".join(f"{card.name} ({card.driver}, {card.bdf})" for card in there) or "none"
    raise AgentError(f"no graphics card {bdf or ''} in the guest; there is: {found}".replace("  ", " "))


def _fitting(card: Card, found: Found, width: int, height: int) -> tuple[Output, Mode]:
    """A display and its mode of this size."""
    offered: list[str] = []
    for output in card.outputs():
        offered += [f"{mode.width}x{mode.height}" for mode in output.modes]
        for mode in output.modes:
            if (mode.width, mode.height) == (width, height):
                return output, mode
    sizes = ", ".join(offered) or "none, no display is connected"
    raise AgentError(f"{found.name} has no mode of {width}x{height}; it has: {sizes}")
