"""Numbered blocks on a medium: block `seq` lies in slot `seq % count`, until a later one overwrites it."""

from typing import Any, NamedTuple

from .frames import FrameReader, FrameWriter
from .pattern import Pattern

STREAM = "write"
SECTOR_BYTES = 512
POISON = b"\xa5"
"""Fills a buffer before a read: where it is still there, nothing came."""
_NOWHERE = bytes(6)


class Look(NamedTuple):
    """What lies in a slot.

    what: "" if it is a block of this slot, right in every bit. Else "misplaced" (a block of another slot),
          "torn" or "damaged" (see frames.Diagnosis), "empty" (zeros), "untouched" (the read brought
          nothing) or "foreign" (no block of ours)
    seq:  the block it is, or most probably was; None if nothing tells
    """

    what: str
    seq: int | None
    epoch: int
    detail: dict[str, Any]


class Slots:
    """Makes the blocks of a medium and says what lies in a slot.

    count: slots there are, from the start of the medium
    """

    def __init__(self, seed: int, block_bytes: int, count: int) -> None:
        pattern = Pattern(seed)
        self.block_bytes, self.count = block_bytes, count
        # off Ethernet both addresses of a frame are zeros
        self._writer = FrameWriter(STREAM, pattern, block_bytes, _NOWHERE, _NOWHERE)
        self._reader = FrameReader(STREAM, pattern, block_bytes)
        self._zeros, self.poison = bytes(block_bytes), POISON * block_bytes

    def slot(self, seq: int) -> int:
        return seq % self.count

    def at(self, slot: int) -> int:
        """Where a slot begins, in bytes."""
        return slot * self.block_bytes

    def block(self, seq: int, epoch: int) -> bytes:
        return self._writer.frame(seq, epoch)

    def look(self, slot: int, data: bytes) -> Look:
        """Check every bit of what was read from a slot."""
        if numbers := self._reader.check(data):
            seq, epoch = numbers
            if self.slot(seq) == slot:
                return Look("", seq, epoch, {})
            return Look("misplaced", seq, epoch, {"of_slot": self.slot(seq)})
        if data == self._zeros:
            return Look("empty", None, 0, {})
        if data == self.poison:
            return Look("untouched", None, 0, {})
        what, number, epoch, detail = self._reader.diagnose(data)
        return Look(what, number, epoch, detail | self._untouched(data))

    def _untouched(self, data: bytes) -> dict[str, Any]:
        """How much of the buffer nothing came into, in sectors, if any."""
        poison = POISON * SECTOR_BYTES
        starts = range(0, self.block_bytes, SECTOR_BYTES)
        count = sum(data[start : start + SECTOR_BYTES] == poison for start in starts)
        return {"untouched_sectors": count} if count else {}
