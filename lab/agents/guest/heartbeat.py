"""The guest's heartbeat: it lives, how long it was away, and whether its memory is intact."""

import time
from binascii import crc32

from ..loop import Loop, Timer
from ..pattern import seeded
from ..rpc import Wire
from .ticks import KernelTicks, ProgramTicks

SLICE_BYTES = 64 << 10
SLICES = 16
"""1 MiB in all, one slice checked per beat."""


class MemoryPattern:
    """Seeded bytes that lie in guest memory, across all updates, and are checked in rotation."""

    def __init__(self, seed: int = 1) -> None:
        content = seeded(seed, SLICE_BYTES * SLICES)
        self._slices = [content[i * SLICE_BYTES : (i + 1) * SLICE_BYTES] for i in range(SLICES)]
        self._checksums = [crc32(part) for part in self._slices]
        self._turn = 0
        self.intact = True

    def check_next(self) -> bool:
        """Check one slice; False for ever once one was wrong."""
        self._turn = (self._turn + 1) % SLICES
        if crc32(self._slices[self._turn]) != self._checksums[self._turn]:
            self.intact = False
        return self.intact


class Heartbeat:
    """Beats once started; `epoch` is that of the beats to come."""

    def __init__(self, loop: Loop, out: Wire, boot_id: str) -> None:
        self.epoch = 1
        self._loop, self._out, self._boot_id = loop, out, boot_id
        self._beat = 0
        self._memory: MemoryPattern | None = None
        self._ticks: KernelTicks | ProgramTicks | None = None
        self._timer: Timer | None = None

    def start(self, period_ms: float = 200, tick_ms: float = 10) -> None:
        """One beat a period; a gap is the time between two ticks of which none came in between.

        Event guest.heart {tick_ms, by}: whether the kernel ticks, or this program.
        """
        self.stop()
        self._memory = self._memory or MemoryPattern()
        self._ticks = self._ticking(tick_ms)
        self._out.event("guest.heart", tick_ms=tick_ms, by=self._ticks.by)
        self._timer = self._loop.every(period_ms, self._tell)

    def stop(self) -> None:
        """Beat no more, until started again."""
        if self._timer is not None:
            self._loop.cancel(self._timer)
        if self._ticks is not None:
            self._ticks.close()
        self._timer = self._ticks = None

    def _ticking(self, tick_ms: float) -> KernelTicks | ProgramTicks:
        try:
            return KernelTicks(tick_ms)
        except OSError:  # a kernel without perf events, or one that does not let us
            return ProgramTicks(self._loop, tick_ms)

    def _tell(self) -> None:
        assert self._memory is not None and self._ticks is not None
        seen = self._ticks.read()
        self._beat += 1
        self._out.event(
            "guest.heartbeat",
            boot_id=self._boot_id,
            beat=self._beat,
            epoch=self.epoch,
            t_src_ns=time.monotonic_ns(),
            longest_gap_ns=seen.gap_ns,
            ticks=seen.count,
            **({"holes": seen.holes} if seen.holes else {}),
            memory_intact=self._memory.check_next(),
        )
