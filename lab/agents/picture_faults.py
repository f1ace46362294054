"""Faults of a display, planted to see whether the lab notices them."""

import time
from collections.abc import Callable

from .picture import PIXEL_BYTES, PictureWriter
from .rpc import AgentError, Wire

FAULT_S = 1.0
"""So long pictures are wrong: a display is looked at now and then only."""


class FaultyWriter:
    """Makes the pictures of a writer, and for a while those it was told to spoil.

    flip:  one bit of one pixel is wrong
    torn:  the lower half is that of the picture before
    stale: the first picture of all
    blank: black
    """

    def __init__(self, writer: PictureWriter, out: Wire) -> None:
        self._writer, self._out = writer, out
        self._fault, self._until_ns = "", 0
        self._first = self._older = b""
        self._spoil: dict[str, Callable[[bytes], bytes]] = {
            "flip": _flipped,
            "torn": lambda picture: picture[: len(picture) // 2] + self._older[len(picture) // 2 :],
            "stale": lambda picture: self._first,
            "blank": lambda picture: bytes(len(picture)),
        }

    def plant(self, kind: str) -> None:
        """Spoil the pictures of the next second.

        Raises:
            AgentError: if there is no such fault.
        """
        if kind not in self._spoil:
            raise AgentError(f"no fault {kind!r} of a display: there are {', '.join(self._spoil)}")
        self._fault, self._until_ns = kind, time.monotonic_ns() + int(FAULT_S * 1e9)
        detail = {"kind": kind, "seconds": FAULT_S}
        self._out.event("fault.planted", fault=f"display.{kind}", detail=detail)

    def picture(self, seq: int, epoch: int) -> bytes:
        """Picture `seq`, or what is to be shown in its place."""
        picture = self._writer.picture(seq, epoch)
        shown = self._spoil[self._fault](picture) if time.monotonic_ns() < self._until_ns else picture
        self._first, self._older = self._first or picture, picture
        return shown


def _flipped(picture: bytes) -> bytes:
    at = len(picture) // 2 // PIXEL_BYTES * PIXEL_BYTES  # the blue of a pixel, which is shown
    return picture[:at] + bytes([picture[at] ^ 0x10]) + picture[at + 1 :]
