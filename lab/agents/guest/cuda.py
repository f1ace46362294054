"""The guest's end of the CUDA load: blocks to an NVIDIA GPU, through a kernel there, and back to memory."""

import time
from collections.abc import Callable
from typing import Any

from ..frames import SMALLEST
from ..loop import Loop, Timer
from ..pacing import Pacer
from ..pattern import LONGEST
from ..rpc import AgentError, Wire
from .cuda_copies import STREAM, WORD_BYTES, Copies, CudaError, Gpu

ROWS_PERIOD_MS = 250
TURN_MS = 5
"""So often it is looked for blocks that came back; a look is one call a block, which waits for nothing."""
DEEPEST = 64


def opened(bdf: str | None) -> Gpu:
    """The guest's GPU, by its driver's library."""
    from . import cuda_library  # as in loads.py

    return cuda_library.Library(bdf)


class Cuda:
    """Begins a block whenever one is due and a slot is free.

    open_gpu: what stands for the GPU, for tests
    """

    def __init__(
        self, loop: Loop, out: Wire, load: str, epoch: int, open_gpu: Callable[[str | None], Gpu] = opened
    ) -> None:
        self._loop, self._out, self._load, self._epoch = loop, out, load, epoch
        self._open_gpu = open_gpu
        self._timers: list[Timer] = []
        self._pacer = Pacer(1, 0)
        self.copies: Copies | None = None
        self._gpu: Gpu | None = None
        self._started_ns = self._stopped_ns = 0

    def epoch(self, number: int) -> None:
        """Blocks begun from now on carry it."""
        self._epoch = number
        if self.copies:
            self.copies.epoch = number

    def start(
        self,
        *,
        block_bytes: int,
        rate_hz: float,
        depth: int,
        hold_ms: float,
        deadline_s: float,
        seed: int,
        bdf: str | None = None,
    ) -> dict[str, Any]:
        """Begin; the GPU's facts, and {depth, hold_ms}."""
        if block_bytes % WORD_BYTES or not SMALLEST <= block_bytes <= LONGEST:
            raise AgentError(
                f"a block has {SMALLEST} to {LONGEST} bytes, a multiple of {WORD_BYTES}, not {block_bytes}"
            )
        if not 1 <= depth <= DEEPEST:
            raise AgentError(f"1 to {DEEPEST} blocks can be under way, not {depth}")
        try:
            self._gpu = gpu = self._open_gpu(bdf)
            slots = [gpu.slot(block_bytes) for _ in range(depth)]
        except CudaError as error:
            self._close()
            raise AgentError(f"the GPU cannot be used: {error}") from error
        turns = max(1, round(deadline_s * 1000 / TURN_MS))
        self.copies = Copies(
            self._out, self._load, gpu, slots, block_bytes=block_bytes, seed=seed, deadline_turns=turns
        )
        self.copies.epoch, self.copies.hold_ns = self._epoch, int(hold_ms * 1e6)
        self._started_ns = time.monotonic_ns()
        self._pacer = Pacer(rate_hz, self._started_ns, burst=1)
        self._timers = [
            self._loop.every(TURN_MS, self._turn),
            self._loop.every(ROWS_PERIOD_MS, self.copies.flush),
        ]
        return {**gpu.facts, "depth": depth, "hold_ms": hold_ms}

    def stop_sending(self) -> dict[str, dict[str, Any]]:
        """Begin no new block; those under way come back. The totals up to now."""
        if self.copies is None:
            return {}
        self.copies.sending = False
        self._stopped_ns = self._stopped_ns or time.monotonic_ns()
        return self._totals(self.copies)

    def stop(self) -> dict[str, dict[str, Any]]:
        """Let the GPU go; the totals. A GPU that still has blocks is left as it is: letting go would hang."""
        totals = self.stop_sending()
        for timer in self._timers:
            self._loop.cancel(timer)
        if not (self.copies and self.copies.under_way):
            self._close()
        return totals

    def counters(self) -> dict[str, dict[str, int]]:
        """What was begun and came back."""
        if self.copies is None:
            return {}
        return {"guest-cuda": {"begun": self.copies.seq, "under_way": self.copies.under_way}}

    def fault(self, kind: str) -> None:
        """See `Copies.plant`."""
        if self.copies is None:
            raise AgentError(f"the load {self._load} does not run")
        self.copies.plant(kind)

    def _turn(self) -> None:
        assert self.copies
        self.copies.look()
        due = self._pacer.due(time.monotonic_ns())
        # a slot that is not free costs its turn: what is late is not made up for
        if due:
            self._pacer.sent(due)
            self._pacer.missed += due - self.copies.begin(due)

    def _totals(self, copies: Copies) -> dict[str, dict[str, Any]]:
        copies.flush()
        seconds = (self._stopped_ns - self._started_ns) / 1e9
        return {
            STREAM: {
                "sent": copies.sent.blocks,
                "received": copies.received.blocks,
                "missed_slots": self._pacer.missed,
                "rate_hz": round(copies.sent.blocks / seconds, 2) if seconds > 0 else 0.0,
                "under_way": copies.under_way,
                "anomalies": dict(copies.anomalies.counts),
            }
        }

    def _close(self) -> None:
        if self._gpu:
            self._gpu.close()
            self._gpu = None
