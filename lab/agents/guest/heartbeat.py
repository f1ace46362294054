"""The guest's heartbeat: it lives, how long it was away, and whether its memory is intact."""

import time
from binascii import crc32

from ..loop import Loop, Timer
from ..pattern import seeded
from ..rpc import Wire

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
        self._beat = self._longest_gap_ns = self._last_ns = 0
        self._memory: MemoryPattern | None = None
        self._timers: list[Timer] = []

    def start(self, period_ms: float = 200, tick_ms: float = 10) -> None:
        """One beat a period; a gap is the time between two ticks of which none came in between."""
        self.stop()
        self._memory = self._memory or MemoryPattern()
        self._last_ns = time.monotonic_ns()
        self._timers = [self._loop.every(tick_ms, self._tick), self._loop.every(period_ms, self._tell)]

    def stop(self) -> None:
        """Beat no more, until started again."""
        for timer in self._timers:
            self._loop.cancel(timer)
        self._timers = []

    def _tick(self) -> None:
        now_ns = time.monotonic_ns()
        self._longest_gap_ns = max(self._longest_gap_ns, now_ns - self._last_ns)
        self._last_ns = now_ns

    def _tell(self) -> None:
        self._tick()
        assert self._memory is not None
        self._beat += 1
        self._out.event(
            "guest.heartbeat",
            boot_id=self._boot_id,
            beat=self._beat,
            epoch=self.epoch,
            t_src_ns=self._last_ns,
            longest_gap_ns=self._longest_gap_ns,
            memory_intact=self._memory.check_next(),
        )
        self._longest_gap_ns = 0
