"""Blocks on their way through a GPU: by DMA to its memory, through a kernel, by DMA back to the guest's.

The kernel makes of word i of block `seq`: word ^ key(seq) ^ i * RAMP, from one buffer of the device to
another. So what comes back was computed for this block: neither an old result nor a copy passes for it.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..blocks import Anomalies, BlockRows
from ..frames import FrameReader, FrameWriter
from ..pattern import Pattern
from ..rpc import AgentError, Wire

STREAM = "copy"
FAULTS = ("flip", "stale", "torn", "missing")
RAMP, KEY_STEP, MASK = 0x9E3779B9, 0x85EBCA6B, 0xFFFFFFFF
WORD_BYTES = 4
NOTHING = b"\xa5"
"""What the guest's memory holds before the device writes it."""
NO_ADDRESS = bytes(6)


class CudaError(Exception):
    """A call of the driver that did not give 0: `call`, `code`, and the code's `name`."""

    def __init__(self, call: str, code: int, name: str) -> None:
        super().__init__(f"{call}: {name} ({code})")
        self.call, self.code, self.name = call, code, name


class Slot(Protocol):
    """Memory of the guest that the device reads (`source`) and writes (`target`), and what it needs."""

    @property
    def source(self) -> Any: ...

    @property
    def target(self) -> Any: ...


class Gpu(Protocol):
    """See cuda_library.Library. All but `close` raise CudaError; none of them waits for the device."""

    @property
    def facts(self) -> dict[str, Any]: ...

    def slot(self, block_bytes: int) -> Slot: ...

    def begin(self, slot: Any, key: int, hold_ns: int) -> None:
        """Put in order: source to device, kernel, which lasts so long at least, device to target."""

    def ended(self, slot: Any) -> bool: ...

    def close(self) -> None: ...


def key_of(seq: int) -> int:
    """What the kernel is given for a block; never that of a neighbour."""
    return (seq * KEY_STEP + 1) & MASK


class Masks:
    """What the kernel changes of a block, as one number of its length."""

    def __init__(self, block_bytes: int) -> None:
        self._bytes = block_bytes
        words = range(block_bytes // WORD_BYTES)
        ramp = b"".join((i * RAMP & MASK).to_bytes(WORD_BYTES, "little") for i in words)
        self._ramp = int.from_bytes(ramp, "little")

    def applied(self, data: bytes, seq: int) -> bytes:
        """The kernel's work, which undoes itself."""
        keys = key_of(seq).to_bytes(WORD_BYTES, "little") * (self._bytes // WORD_BYTES)
        changed = int.from_bytes(data, "little") ^ int.from_bytes(keys, "little") ^ self._ramp
        return changed.to_bytes(self._bytes, "little")


@dataclass
class Block:
    """A block under way, or the one that was last in its slot."""

    slot: Slot
    seq: int = 0
    epoch: int = 0
    before: int | None = None
    fault: str = ""
    turns: int = 0
    told: bool = False
    failed: bool = False


class Copies:
    """Blocks under way, one a slot.

    deadline_turns: `look` is called so often before a block that does not come back is told of
    """

    def __init__(
        self,
        out: Wire,
        load: str,
        gpu: Gpu,
        slots: Sequence[Slot],
        *,
        block_bytes: int,
        seed: int,
        deadline_turns: int,
    ) -> None:
        self.sent, self.received = (BlockRows(out, f"{load}.{STREAM}.{end}") for end in ("sent", "received"))
        self.anomalies = Anomalies(out, load, STREAM)
        self.epoch, self.sending, self.seq, self.hold_ns = 1, True, 0, 0
        self._out, self._load, self._gpu, self._block_bytes = out, load, gpu, block_bytes
        self._free, self._under_way = deque(Block(slot) for slot in slots), deque[Block]()
        self._deadline_turns, self._planted = deadline_turns, deque[str]()
        pattern = Pattern(seed)
        self._masks = Masks(block_bytes)
        self._writer = FrameWriter(STREAM, pattern, block_bytes, NO_ADDRESS, NO_ADDRESS)
        self._reader = FrameReader(STREAM, pattern, block_bytes)

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    def plant(self, kind: str) -> None:
        """Have something go wrong with the next block.

        flip, stale: the device is given a flipped bit, or the block before it, in its place
        torn:        half of it comes back
        missing:     it does not come back

        Raises:
            AgentError: for another kind.
        """
        if kind not in FAULTS:
            raise AgentError(f"no fault {kind!r} of a CUDA load: there are {', '.join(FAULTS)}")
        self._planted.append(kind)
        self._out.event("fault.planted", fault=f"cuda.{kind}", detail={"load": self._load})

    def begin(self, wanted: int) -> int:
        """Begin so many blocks, if slots are free; how many were."""
        begun = 0
        while begun < wanted and self._free and self.sending:
            self._put(self._free.popleft())
            begun += 1
        return begun

    def look(self) -> None:
        """Check what came back, tell of what is overdue."""
        # of one that failed nothing can be asked: an event that was not recorded has ended, says CUDA
        for block in [block for block in self._under_way if not block.failed]:
            block.turns += 1
            try:
                ended = self._gpu.ended(block.slot)
            except CudaError as error:
                self._failed(block, error)
                continue
            if ended:
                self._check(block)
                self._under_way.remove(block)
                self._free.append(block)
            elif block.turns >= self._deadline_turns and not block.told:
                block.told = True
                self.anomalies.seen("not-ended", block.seq, {"turns": block.turns})

    def flush(self) -> None:
        """Send the rows that were collected."""
        self.sent.flush()
        self.received.flush()

    def _put(self, block: Block) -> None:
        block.before = block.seq if block.turns else None
        block.seq, block.epoch, self.seq = self.seq, self.epoch, self.seq + 1
        block.turns, block.told = 0, False
        block.fault = self._planted.popleft() if self._planted else ""
        block.slot.source[:] = self._spoiled(block)
        block.slot.target[:] = NOTHING * self._block_bytes
        self._under_way.append(block)
        self.sent.add(block.seq, block.epoch, time.monotonic_ns(), 1)
        try:
            self._gpu.begin(block.slot, key_of(block.seq), self.hold_ns)
        except CudaError as error:
            self._failed(block, error)

    def _spoiled(self, block: Block) -> bytes:
        seq = max(0, block.seq - 1) if block.fault == "stale" else block.seq
        frame = bytearray(self._writer.frame(seq, block.epoch))
        if block.fault == "flip":
            frame[self._block_bytes // 2] ^= 0x10
        return bytes(frame)

    def _failed(self, block: Block, error: CudaError) -> None:
        """Its slot is not used again: nobody knows what the device still does with it."""
        block.failed = True
        detail = {"call": error.call, "code": error.code, "error": error.name}
        self.anomalies.seen("error", block.seq, detail)

    def _check(self, block: Block) -> None:
        if block.fault == "missing":
            return
        if block.fault == "torn":
            half = self._block_bytes // 2
            block.slot.target[half:] = NOTHING * (self._block_bytes - half)
        t_ns, got = time.monotonic_ns(), bytes(block.slot.target)
        what, detail = self._wrong(block, got)
        self.received.add(block.seq, block.epoch, t_ns, int(not what))
        if what:
            self.anomalies.seen(what, block.seq, detail)

    def _wrong(self, block: Block, got: bytes) -> tuple[str, dict[str, Any]]:
        """What is wrong with the bytes of a block, "" if nothing is."""
        content = self._masks.applied(got, block.seq)
        numbers = self._reader.check(content)
        if numbers == (block.seq, block.epoch):
            return "", {}
        if numbers:
            return "stale", {"content_of_seq": numbers[0], "epoch": numbers[1]}
        if got == NOTHING * len(got):
            return "not-written", {}
        if block.before is not None and self._reader.check(self._masks.applied(got, block.before)):
            return "stale", {"result_of_seq": block.before}
        found = self._reader.diagnose(content)
        what = "damaged" if found.what == "foreign" else found.what
        unwritten = len(got) - len(got.rstrip(NOTHING))
        return what, {**found.detail, "seq_found": found.seq, "unwritten_at_end": unwritten}
