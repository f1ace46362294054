"""The guest's end of the DMA engine load: QEMU's edu device copies blocks from memory to memory.

Each block takes two DMAs, memory to device and device to memory, of 100 ms each. Two blocks share the
device's buffer, one in each half, so that while one comes back the other is still under way.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..frames import SMALLEST
from ..loop import Loop, Timer
from ..rpc import AgentError, Wire
from . import pci
from .edu_copies import STREAM, Copies, Function, Page
from .edu_registers import BUFFER_BYTES, EDU, Engine

ROWS_PERIOD_MS = 250
TICK_MS = 100
"""The deadline of a DMA is counted in ticks: those that a paused guest misses are not counted."""


# imported when asked for, as in loads.py
def _by_line(path: Path) -> Function:
    from . import uio

    return uio.Function(path)


def _by_message(path: Path) -> Function:
    from . import vfio

    return vfio.Function(path)


DRIVEN: Mapping[str, Callable[[Path], Function]] = {"intx": _by_line, "msi": _by_message}
"""How it interrupts -> what drives it: uio_pci_generic knows no MSI."""


def opened(bdf: str | None, interrupts: str) -> Function:
    """The guest's edu device, which interrupts as it is told."""
    return DRIVEN[interrupts](pci.found(*EDU, bdf))


class Edu:
    """Has the device copy block after block, and checks what comes back.

    open_function: what stands for the device, for tests
    """

    def __init__(
        self,
        loop: Loop,
        out: Wire,
        load: str,
        epoch: int,
        open_function: Callable[[str | None, str], Function] = opened,
    ) -> None:
        self._loop, self._out, self._load, self._epoch = loop, out, load, epoch
        self._open_function = open_function
        self._function: Function | None = None
        self._pages: Sequence[Page] = []
        self._timers: list[Timer] = []
        self.copies: Copies | None = None
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
        seed: int,
        bdf: str | None = None,
        deadline_s: float = 10.0,
        interrupts: str = "intx",
    ) -> dict[str, Any]:
        """Begin the first block at once.

        interrupts: "intx"; or "msi", for which the guest needs an IOMMU of its own

        Gives {bdf, driver, interrupts, irq, identification, alive, blocks_under_way}.
        """
        if not SMALLEST <= block_bytes <= BUFFER_BYTES:
            raise AgentError(f"a block has {SMALLEST} to {BUFFER_BYTES} bytes, not {block_bytes}")
        if interrupts not in DRIVEN:
            raise AgentError(f"an edu interrupts by {' or '.join(DRIVEN)}, not {interrupts!r}")
        function = self._function = self._open_function(bdf, interrupts)
        try:
            facts = Engine(function.bar).checked()
            ticks = max(1, round(deadline_s * 1000 / TICK_MS))
            copies = Copies(
                self._out, self._load, function, block_bytes=block_bytes, seed=seed, deadline_ticks=ticks
            )
            self._pages, copies.epoch = function.pages(copies.pages), self._epoch
            self._started_ns = time.monotonic_ns()
            copies.begin(self._pages)
        except (AgentError, OSError):
            self._close()
            raise
        self.copies = copies
        self._loop.watch(function.fileno(), self._interrupted)
        self._timers = [self._loop.every(TICK_MS, self._tick), self._loop.every(ROWS_PERIOD_MS, copies.flush)]
        where = {"bdf": function.bdf, "driver": function.driver}
        lines = {"interrupts": interrupts, "irq": function.irq}
        return {**where, **lines, **facts, "blocks_under_way": copies.pages // 2}

    def stop_sending(self) -> dict[str, dict[str, Any]]:
        """Begin no new block; those under way come back. The totals up to now."""
        if self.copies is None:
            raise AgentError(f"the load {self._load} does not run")
        self.copies.sending = False
        self._stopped_ns = self._stopped_ns or time.monotonic_ns()
        return self._totals(self.copies)

    def stop(self) -> dict[str, dict[str, Any]]:
        """Give up what is under way, let the device go; the totals."""
        totals = self.stop_sending()
        for timer in self._timers:
            self._loop.cancel(timer)
        self._close()
        return totals

    def counters(self) -> dict[str, dict[str, int]]:
        """guest-irq: interrupts on the device's line. guest-edu: {interrupts, spurious, late, moved}.

        spurious: the device had raised none
        late:     it came when no DMA had ended that was waited for
        moved:    DMAs that were done again as the kernel had moved their page
        """
        lines = {f"irq{self._function.irq}": pci.interrupts(self._function.irq)} if self._function else {}
        return {"guest-irq": lines, "guest-edu": dict(self.copies.counts) if self.copies else {}}

    def fault(self, kind: str) -> None:
        """See `Copies.plant`."""
        if self.copies is None:
            raise AgentError(f"the load {self._load} does not run")
        self.copies.plant(kind)

    def _interrupted(self, _: int) -> None:
        assert self.copies and self._function
        try:
            self.copies.interrupt()
        except OSError as error:
            self._loop.forget(self._function.fileno())  # it would be ready for ever; ticks go on
            self.copies.failed(error)

    def _tick(self) -> None:
        assert self.copies
        try:
            self.copies.tick()
        except OSError as error:
            self.copies.failed(error)

    def _totals(self, copies: Copies) -> dict[str, dict[str, Any]]:
        copies.flush()
        seconds = (self._stopped_ns - self._started_ns) / 1e9
        return {
            STREAM: {
                "sent": copies.sent.blocks,
                "received": copies.received.blocks,
                # the device sets the pace: there are no slots that could be missed
                "missed_slots": 0,
                "rate_hz": round(copies.sent.blocks / seconds, 2) if seconds > 0 else 0.0,
                "anomalies": dict(copies.anomalies.counts),
            }
        }

    def _close(self) -> None:
        """The function first: once it is closed no DMA can reach the pages."""
        if self._function:
            self._loop.forget(self._function.fileno())
            self._function.close()
            self._function = None
        for page in self._pages:
            page.close()
        self._pages = []
