"""Numbered pictures whose every visible pixel is checked.

A pixel is four bytes: blue, green, red, and one that no display shows. A picture is as many pieces of
content, see pattern.py, as it takes; piece `i` of picture `seq` is that of block seq * pieces + i. But
the first nine pixels of a picture and its last nine hold a mark in their visible bytes:

bytes    content
0..5     "CPRL", stream (6 frame), version
6..9     width, height (u16)
10..21   epoch (u32), sequence number (u64)
22..26   CRC-32 of bytes 0 to 21, a zero
Numbers are little-endian. Marks at both ends tell a picture that is made of two.
"""

from binascii import crc32
from struct import Struct

from .pattern import LONGEST, Pattern

PIXEL_BYTES = 4
MARK_PIXELS = 9
MARK_BYTES = 3 * MARK_PIXELS
_FIELDS, _CRC = Struct("<4sBBHHIQ"), Struct("<Ix")
_MAGIC = b"CPRL"
_STREAM, _VERSION = 6, 1  # streams are numbered on from those of frames.py


class PictureWriter:
    """Makes the pictures of one stream.

    pitch: bytes from one row to the next; a picture shows the same whatever it is
    """

    def __init__(self, pattern: Pattern, width: int, height: int, pitch: int | None = None) -> None:
        if width < 2 * MARK_PIXELS:
            raise ValueError(f"a picture {width} pixels wide has no room for its marks")
        self._pattern, self._width, self._height = pattern, width, height
        self._row_bytes = width * PIXEL_BYTES
        self._pieces = -(-self._row_bytes * height // LONGEST)
        self._padding = bytes((pitch or self._row_bytes) - self._row_bytes)

    def picture(self, seq: int, epoch: int) -> bytes:
        """Picture `seq`, carrying `epoch`, as it lies in memory."""
        first, end = seq * self._pieces, self._row_bytes * self._height
        # few long pieces: in a slow guest it is Python's steps that cost, not bytes
        content = b"".join([self._pattern.of(first + i, LONGEST) for i in range(self._pieces)])
        mark = self._mark_in_memory(seq, epoch)
        shown = mark + content[len(mark) : end - len(mark)] + mark
        return self._in_rows(shown) if self._padding else shown

    def _in_rows(self, shown: bytes) -> bytes:
        starts = range(0, len(shown), self._row_bytes)
        return b"".join([shown[at : at + self._row_bytes] + self._padding for at in starts])

    def _mark_in_memory(self, seq: int, epoch: int) -> bytes:
        mark = self._mark(seq, epoch)
        return b"".join([mark[at : at + 3] + b"\0" for at in range(0, MARK_BYTES, 3)])

    def numbers(self, mark: bytes) -> tuple[int, int] | None:
        """Sequence number and epoch of a mark, from its visible bytes; None if it is none of ours."""
        fields, (crc,) = mark[: _FIELDS.size], _CRC.unpack(mark[_FIELDS.size :])
        if crc32(fields) != crc:
            return None
        *fixed, epoch, seq = _FIELDS.unpack(fields)
        return (seq, epoch) if fixed == self._fixed() else None

    def _mark(self, seq: int, epoch: int) -> bytes:
        fields = _FIELDS.pack(*self._fixed(), epoch, seq)
        return fields + _CRC.pack(crc32(fields))

    def _fixed(self) -> list[bytes | int]:
        return [_MAGIC, _STREAM, _VERSION, self._width, self._height]
