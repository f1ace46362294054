"""Blocks on their way through an edu device: to its buffer by one DMA, back to memory by the next."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..blocks import Anomalies, BlockRows
from ..frames import FrameReader, FrameWriter
from ..pattern import Pattern
from ..rpc import AgentError, Wire
from .edu_registers import BUFFER_BYTES, Bar, Engine

STREAM = "copy"
FAULTS = ("flip", "stale", "torn", "missing", "wild")
FIRMWARE = 0xF0000
"""Where a PC has its firmware. QEMU's q35 makes it read-only memory (PAM0), and so VFIO maps it."""
BLOCKS_UNDER_WAY = 2
NOTHING = b"\xa5"
"""What a page holds before the device writes it."""
NO_ADDRESS = bytes(6)


class Page(Protocol):
    """See physical.Page and vfio.Page."""

    memory: Any

    def address(self) -> int: ...

    def close(self) -> None: ...


class Function(Protocol):
    """See uio.Function and vfio.Function."""

    bdf: str
    irq: int

    @property
    def driver(self) -> str: ...

    @property
    def bar(self) -> Bar: ...

    def pages(self, count: int) -> Sequence[Page]: ...

    def fileno(self) -> int: ...

    def taken(self) -> bool: ...

    def rearm(self) -> None: ...

    def command(self) -> int: ...

    def close(self) -> None: ...


@dataclass
class Block:
    """A block on its way, in its own part of the device's buffer and between its own two pages."""

    source: Page
    target: Page
    offset: int
    seq: int = 0
    epoch: int = 0
    fault: str = ""


@dataclass(frozen=True)
class Dma:
    """The DMA that is under way: one leg of a block's way, to or from one page."""

    block: Block
    outward: bool
    page: Page
    address: int


class Firmware:
    """A page that no device may write."""

    memory = b""

    def address(self) -> int:
        return FIRMWARE

    def close(self) -> None: ...


class Copies:
    """Keeps the device busy from `begin` on, each DMA begun when the one before it has ended.

    deadline_ticks: `tick` is called so often before a DMA without an interrupt is told of
    sending:        whether new blocks are begun
    dma:            what is under way now
    """

    def __init__(
        self, out: Wire, load: str, function: Function, *, block_bytes: int, seed: int, deadline_ticks: int
    ) -> None:
        self.sent, self.received = (BlockRows(out, f"{load}.{STREAM}.{end}") for end in ("sent", "received"))
        self.anomalies = Anomalies(out, load, STREAM)
        self.counts = dict.fromkeys(("interrupts", "spurious", "late", "moved"), 0)
        self.epoch, self.sending, self.seq = 1, True, 0
        self.dma: Dma | None = None
        self._out, self._load, self._function = out, load, function
        self._engine, self._block_bytes = Engine(function.bar), block_bytes
        self._free, self._under_way = deque[Block](), deque[Block]()
        self._deadline_ticks, self._ticks, self._endless = deadline_ticks, 0, False
        self._planted = deque[str]()
        pattern = Pattern(seed)
        self._writer = FrameWriter(STREAM, pattern, block_bytes, NO_ADDRESS, NO_ADDRESS)
        self._reader = FrameReader(STREAM, pattern, block_bytes)

    @property
    def pages(self) -> int:
        """How many it needs."""
        return 2 * min(BLOCKS_UNDER_WAY, BUFFER_BYTES // self._block_bytes)

    def begin(self, pages: Sequence[Page]) -> None:
        """Begin the first block."""
        for part, (source, target) in enumerate(zip(pages[::2], pages[1::2], strict=True)):
            self._free.append(Block(source, target, part * self._block_bytes))
        self._next()

    def plant(self, kind: str) -> None:
        """Have something go wrong with the next block.

        flip, stale: the device is given a flipped bit, or the block before it, in its place
        torn:        half of it comes back
        missing:     it does not come back
        wild:        nothing; but the device writes where it may not, once more than it should

        Raises:
            AgentError: for another kind.
        """
        if kind not in FAULTS:
            raise AgentError(f"no fault {kind!r} of a DMA engine: there are {', '.join(FAULTS)}")
        self._planted.append(kind)
        self._out.event("fault.planted", fault=f"engine.{kind}", detail={"load": self._load})

    def interrupt(self) -> None:
        """Take an interrupt, if one came, and go on if a DMA has ended.

        Raises:
            OSError: the function is gone.
        """
        if not self._function.taken():
            return
        self.counts["interrupts"] += 1
        self.counts["spurious"] += not self._engine.acknowledge()
        self._function.rearm()
        # asked after the acknowledgement: a DMA that ends from now on raises a new interrupt
        if self.dma and not self._engine.busy():
            self._done(self.dma)
        else:
            self.counts["late"] += 1

    def tick(self) -> None:
        """Look whether the DMA under way is overdue; OSError as above."""
        dma = self.dma
        self._ticks += 1
        if dma is None or self._ticks < self._deadline_ticks:
            return
        self._ticks = 0
        # timers run before descriptors: the interrupt may be there, unseen
        self.interrupt()
        if self.dma is dma:
            self._overdue(dma)

    def failed(self, error: OSError) -> None:
        """Tell that the function could not be asked."""
        detail = {"errno": error.errno, "text": error.strerror}
        self.anomalies.seen("error", self.dma.block.seq if self.dma else None, detail)

    def flush(self) -> None:
        """Send the rows that were collected."""
        self.sent.flush()
        self.received.flush()

    def _next(self) -> None:
        """Begin the next DMA: fill a free part of the buffer, or have the oldest block come back."""
        self.dma = None
        if self._planted and self._planted[0] == "wild":
            self._planted.popleft()
            self._start((self._free or self._under_way)[0], Firmware(), outward=True)
        elif self._free and self.sending:
            block = self._free.popleft()
            block.seq, block.epoch, self.seq = self.seq, self.epoch, self.seq + 1
            block.source.memory[: self._block_bytes] = self._writer.frame(block.seq, block.epoch)
            block.fault = self._planted.popleft() if self._planted else ""
            self._spoil(block)
            self._under_way.append(block)
            self.sent.add(block.seq, block.epoch, time.monotonic_ns(), 1)
            self._start(block, block.source, outward=False)
        elif self._under_way:
            block = self._under_way[0]
            self._start(block, block.target, outward=True)

    def _spoil(self, block: Block) -> None:
        if block.fault == "flip":
            block.source.memory[self._block_bytes // 2] ^= 0x10
        elif block.fault == "stale":
            older = self._writer.frame(max(0, block.seq - 1), block.epoch)
            block.source.memory[: self._block_bytes] = older

    def _start(self, block: Block, page: Page, *, outward: bool) -> None:
        if outward and page.address() != FIRMWARE:
            page.memory[:] = NOTHING * len(page.memory)
        self.dma = Dma(block, outward, page, page.address())
        self._ticks, self._endless = 0, False
        self._engine.start(self.dma.address, block.offset, self._block_bytes, outward=outward)

    def _overdue(self, dma: Dma) -> None:
        """Say what is known of a DMA without an interrupt, and go on as well as can be."""
        busy = self._engine.busy()
        if not (busy and self._endless):  # which was told
            detail = {"dma": "out" if dma.outward else "in", "done": not busy, **self._engine.state()}
            detail["config_command"] = f"{self._function.command():#06x}"
            self.anomalies.seen("no-interrupt", dma.block.seq, detail)
        self._endless = busy
        self._engine.acknowledge()
        self._function.rearm()
        # the device takes no new order while it is busy: then there is nothing but to wait on
        if not busy:
            self._done(dma)

    def _done(self, dma: Dma) -> None:
        if dma.page.address() != dma.address:
            self._moved(dma)
            return
        if dma.outward and dma.address != FIRMWARE:
            self._free.append(self._under_way.popleft())
            self._check(dma.block)
        self._next()

    def _check(self, block: Block) -> None:
        """Compare every bit of what came back with what was sent."""
        if block.fault == "missing":
            return
        if block.fault == "torn":
            half = self._block_bytes // 2
            block.target.memory[half:] = NOTHING * (len(block.target.memory) - half)
        t_ns, page = time.monotonic_ns(), bytes(block.target.memory)
        got, behind = page[: self._block_bytes], page[self._block_bytes :]
        what, detail = self._wrong(block, got)
        if not what and behind != NOTHING * len(behind):
            what = "overrun"
        self.received.add(block.seq, block.epoch, t_ns, int(not what))
        if what:
            self.anomalies.seen(what, block.seq, detail)

    def _wrong(self, block: Block, got: bytes) -> tuple[str, dict[str, Any]]:
        """What is wrong with the bytes of a block, "" if nothing is."""
        numbers = self._reader.check(got)
        if numbers == (block.seq, block.epoch):
            return "", {}
        if numbers:
            return "stale", {"content_of_seq": numbers[0], "epoch": numbers[1]}
        if got == NOTHING * len(got):
            return "not-written", {}
        found = self._reader.diagnose(got)
        unwritten = len(got) - len(got.rstrip(NOTHING))
        # in this page nothing is of others
        what = "damaged" if found.what == "foreign" else found.what
        return what, {**found.detail, "seq_found": found.seq, "unwritten_at_end": unwritten}

    def _moved(self, dma: Dma) -> None:
        """The kernel moved a page under a DMA: the lab's own trouble. The DMA is done again.

        Its block is not lost by that, so nothing is held against the device; but it may have written into
        memory that is no longer ours, so from now on nobody can vouch for what this guest does.
        """
        self.counts["moved"] += 1
        reason = f"the kernel moved a locked page during a DMA {'to' if dma.outward else 'from'} it"
        self._out.event("witness.blind", witness=f"load-{self._load}", reason=reason, where="guest")
        self._start(dma.block, dma.page, outward=dma.outward)
