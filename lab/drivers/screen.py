"""What a display of the bench host shows: pictures of it, pixel by pixel."""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lab.drivers import monitor
from lab.errors import BenchError

_PPM = re.compile(rb"P6\s+(\d+)\s+(\d+)\s+255\s")


class Screen(Protocol):
    """A display that can be looked at; from any thread."""

    def shot(self) -> NDArray[np.uint8]:
        """What it shows now, as (height, width, 3): red, green, blue.

        Raises:
            BenchError: it cannot be looked at.
        """


@dataclass(frozen=True)
class MonitorScreen:
    """The virtual bench's display, as the bench host's QEMU gives it: what the device read from memory.

    Each shot is one short connection to the monitor, which serves one client after the other: 3 ms on
    an idle bench host.

    path:   socket of that monitor; the pictures pass through its folder
    device: id of the display device
    """

    path: Path
    device: str

    def shot(self) -> NDArray[np.uint8]:
        try:
            # a name of its own: nobody else may write it meanwhile
            with tempfile.NamedTemporaryFile(dir=self.path.parent, suffix=".ppm") as file:
                monitor.execute(self.path, "screendump", {"filename": file.name, "device": self.device})
                return picture(Path(file.name).read_bytes())
        except OSError as error:  # the folder goes when the bench host is powered off
            raise BenchError(f"no screenshot of {self.device} can be taken: {error}") from error


def picture(ppm: bytes) -> NDArray[np.uint8]:
    """A binary PPM as (height, width, 3).

    Raises:
        BenchError: it is damaged, or something else.
    """
    head = _PPM.match(ppm)
    if head is None:
        raise BenchError(f"a screenshot is no binary PPM, but begins with {ppm[:20]!r}")
    width, height = int(head[1]), int(head[2])
    if len(ppm) != head.end() + 3 * width * height:
        raise BenchError(f"a screenshot of {width}x{height} pixels holds {len(ppm) - head.end()} bytes")
    return np.frombuffer(ppm, np.uint8, offset=head.end()).reshape(height, width, 3)
