"""What a screenshot shows of the pictures of a GPU load: which one, and whether every pixel is right."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lab.agents.pattern import Pattern
from lab.agents.picture import MARK_PIXELS, PIXEL_BYTES, PictureWriter

Pixels = NDArray[np.uint8]
NEIGHBOURS = (-1, -2, 1, 2)
"""Pictures, counted from the one that was seen, that may lie in a buffer of the guest."""


FEW_COLOURS = 16
"""A picture of the load has thousands; a text (QEMU's, on a display that was reset) or one colour has few."""


class Seen(NamedTuple):
    """What is on a screenshot.

    what: "good" (every pixel), "blank" (no picture of the load: a few colours, or another size),
          "torn" (every pixel is of one of two pictures), or "damaged"
    seq:  the picture it most probably is; None if nothing tells
    """

    what: str
    seq: int | None
    epoch: int
    detail: dict[str, Any]


class PictureReader:
    """Checks screenshots of one stream: (height, width, 3) of red, green, blue."""

    def __init__(self, seed: int, width: int, height: int) -> None:
        self._writer = PictureWriter(Pattern(seed), width, height)
        self._shape = (height, width, 3)

    def look(self, shot: Pixels) -> Seen:
        """Say what it shows."""
        if shot.shape != self._shape:
            height, width = shot.shape[:2]
            return Seen("blank", None, 0, {"size": [width, height], "wanted": list(self._shape[1::-1])})
        numbers = top, end = self._numbers(shot[0, :MARK_PIXELS]), self._numbers(shot[-1, -MARK_PIXELS:])
        number = top or end
        if number is None:
            return _without_marks(shot)
        right = self._equal(shot, *number)
        if right.all():
            return Seen("good", *number, {})
        return self._wrong(shot, number, numbers, right)

    def _wrong(
        self,
        shot: Pixels,
        number: tuple[int, int],
        numbers: tuple[tuple[int, int] | None, ...],
        right: NDArray[np.bool_],
    ) -> Seen:
        seq, epoch = number
        y, x = (int(place) for place in np.argwhere(~right)[0])
        detail: dict[str, Any] = {"wrong_pixels": int((~right).sum()), "first_wrong": [x, y]}
        others = [other for other in numbers if other not in (None, number)]
        others += [(seq + step, epoch) for step in NEIGHBOURS if seq + step >= 0]
        for other in others:
            if other is not None and (right | self._equal(shot, *other)).all():
                return Seen("torn", seq, epoch, detail | {"content_of_seq": other[0]})
        return Seen("damaged", seq, epoch, detail)

    def _equal(self, shot: Pixels, seq: int, epoch: int) -> NDArray[np.bool_]:
        """Which pixels are those of a picture."""
        memory = np.frombuffer(self._writer.picture(seq, epoch), np.uint8)
        pixels = memory.reshape(*self._shape[:2], PIXEL_BYTES)[:, :, 2::-1]
        equal: NDArray[np.bool_] = (shot == pixels).all(axis=2)
        return equal

    def _numbers(self, pixels: Pixels) -> tuple[int, int] | None:
        return self._writer.numbers(pixels[:, ::-1].tobytes())


def _without_marks(shot: Pixels) -> Seen:
    colours = len(np.unique(shot.reshape(-1, 3), axis=0))
    if colours <= FEW_COLOURS:
        return Seen("blank", None, 0, {"colours": colours, "first": shot[0, 0].tolist()})
    return Seen("damaged", None, 0, {"colours": colours, "start": shot[0, :MARK_PIXELS].tobytes().hex()})
