"""Numbered Ethernet frames whose every bit is checked.

bytes        content
0..13        destination, source, ethertype 0x88B5 (IEEE 802: local experimental)
14..21       "CPRL", stream (1 to-guest, 2 from-guest), version, length of the frame (u16)
22..33       epoch (u32), sequence number (u64)
34..37       CRC-32 of bytes 0 to 33
38..-9       content, see pattern.py
last 8       the sequence number again, so that a frame made of two is recognised
Numbers are little-endian, but for the ethertype.
"""

from binascii import crc32
from struct import Struct
from typing import Any, NamedTuple

from .pattern import Pattern

ETHERTYPE = 0x88B5
STREAMS = {"to-guest": 1, "from-guest": 2, "write": 3, "copy": 4, "loop": 5}
SMALLEST = 64
HEADER_BYTES = 38
_FIXED, _NUMBERS, _CRC, _SEQ = Struct(">H4sBB"), Struct("<IQ"), Struct("<I"), Struct("<Q")
_EPOCH_SEQ_CRC = Struct("<IQI")
_MAGIC = b"CPRL"
_VERSION = 1
_FIXED_AT, _NUMBERS_AT, _CRC_AT = slice(12, 22), 22, 34


def mac_bytes(mac: str) -> bytes:
    """ "02:00:00:00:00:01" as six bytes."""
    return bytes.fromhex(mac.replace(":", ""))


def _fixed(stream: str, block_bytes: int) -> bytes:
    return _FIXED.pack(ETHERTYPE, _MAGIC, STREAMS[stream], _VERSION) + block_bytes.to_bytes(2, "little")


class FrameWriter:
    """Makes the frames of one stream.

    block_bytes: length of a frame, Ethernet header included, without its FCS
    """

    def __init__(
        self, stream: str, pattern: Pattern, block_bytes: int, destination: bytes, source: bytes
    ) -> None:
        if block_bytes < SMALLEST:
            raise ValueError(f"a frame of {block_bytes} bytes is too short, {SMALLEST} is the least")
        self._pattern, self._content_bytes = pattern, block_bytes - HEADER_BYTES - 8
        self._start = destination + source + _fixed(stream, block_bytes)

    def frame(self, seq: int, epoch: int) -> bytes:
        """Block `seq`, carrying `epoch`."""
        head = self._start + _NUMBERS.pack(epoch, seq)
        content = self._pattern.of(seq, self._content_bytes)
        return head + _CRC.pack(crc32(head)) + content + _SEQ.pack(seq)


class Diagnosis(NamedTuple):
    """What is wrong with a frame.

    what: "foreign" (not of this stream, nothing lost), "damaged" or "torn" (of two blocks)
    seq:  the block it most probably was; None if nothing tells
    """

    what: str
    seq: int | None
    epoch: int
    detail: dict[str, Any]


class FrameReader:
    """Checks the frames of one stream."""

    def __init__(self, stream: str, pattern: Pattern, block_bytes: int) -> None:
        self._pattern, self._block_bytes = pattern, block_bytes
        self._content_bytes = block_bytes - HEADER_BYTES - 8
        self._stream, self._fixed = stream, _fixed(stream, block_bytes)

    def check(self, frame: bytes) -> tuple[int, int] | None:
        """Sequence number and epoch of a frame that is right in every bit; else None."""
        if frame[_FIXED_AT] != self._fixed or len(frame) != self._block_bytes:
            return None
        epoch, seq, crc = _EPOCH_SEQ_CRC.unpack_from(frame, _NUMBERS_AT)
        if crc32(frame[:_CRC_AT]) != crc or frame[HEADER_BYTES:] != self._rest(seq):
            return None
        return seq, epoch

    def diagnose(self, frame: bytes) -> Diagnosis:
        """Say what is wrong with a frame that `check` refused."""
        if frame[12:14] != self._fixed[:2] and frame[14:18] != _MAGIC:
            return Diagnosis("foreign", None, 0, {"bytes": len(frame), "start": frame[:22].hex()})
        if len(frame) < HEADER_BYTES + 8:
            return Diagnosis("damaged", None, 0, {"bytes": len(frame), "wanted": self._block_bytes})
        epoch, seq, crc = _EPOCH_SEQ_CRC.unpack_from(frame, _NUMBERS_AT)
        header_good = crc32(frame[:_CRC_AT]) == crc
        if header_good and frame[18] != STREAMS[self._stream]:
            return Diagnosis("foreign", None, 0, {"bytes": len(frame), "stream": frame[18]})
        (last,) = _SEQ.unpack_from(frame, len(frame) - 8)
        if not header_good:
            return self._header_damaged(frame, seq, last)
        if len(frame) != self._block_bytes or frame[_FIXED_AT] != self._fixed:
            return Diagnosis("damaged", seq, epoch, {"bytes": len(frame), "wanted": self._block_bytes})
        return self._content_damaged(frame, seq, epoch, last)

    def _rest(self, seq: int) -> bytes:
        return self._pattern.of(seq, self._content_bytes) + _SEQ.pack(seq)

    def _header_damaged(self, frame: bytes, seq: int, last: int) -> Diagnosis:
        whole = frame[HEADER_BYTES:] == self._rest(last)
        detail = {"header": frame[:HEADER_BYTES].hex(), "content_good": whole}
        return Diagnosis("damaged", last if whole else seq, 0, detail)

    def _content_damaged(self, frame: bytes, seq: int, epoch: int, last: int) -> Diagnosis:
        got, wanted = frame[HEADER_BYTES:], self._rest(seq)
        first = next(i for i, (a, b) in enumerate(zip(got, wanted, strict=True)) if a != b)
        detail: dict[str, Any] = {"first_wrong_byte": HEADER_BYTES + first}
        # a wrong number at the end is damage, not the tail of another block
        if first >= self._content_bytes or got[first:] != self._rest(last)[first:]:
            detail["wrong_bytes"] = sum(a != b for a, b in zip(got, wanted, strict=True))
            return Diagnosis("damaged", seq, epoch, detail)
        detail["content_of_seq"] = last
        stale = got == self._rest(last)
        return Diagnosis("damaged" if stale else "torn", seq, epoch, detail)
