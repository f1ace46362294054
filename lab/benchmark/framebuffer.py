"""dd to the framebuffer: the plainest way to put pictures on a display."""

import re
import time
from dataclasses import dataclass
from statistics import median
from typing import ClassVar

from lab.benchmark import programs
from lab.errors import BenchError
from lab.loads import Agent

PROGRAM = "/usr/bin/dd"
DEVICE = "/dev/fb0"
SYSFS = "/sys/class/graphics/fb0"
DD_TIMEOUT_S = 60.0
_COPIED = re.compile(r"^(\d+) bytes .*copied, ([0-9.e+-]+) s, ", re.MULTILINE)


@dataclass(frozen=True)
class Framebuffer:
    """Writes pictures of the load's size one behind the other over the whole framebuffer.

    An upper bound: a write ends in the guest's memory, and a worker has the device read what changed
    some time later, many writes at once. The load waits until the device has read each picture.
    """

    block_bytes: int
    name: ClassVar[str] = "dd to /dev/fb0"
    path: ClassVar[str] = "pictures shown"
    streams: ClassVar[tuple[str, ...]] = ("frame",)
    checks: ClassVar[str] = "no content; an upper bound: fbdev flushes to the device later, by a worker"

    def blocks_per_s(self, guest: Agent, seconds: float) -> float:
        """See PlainTool; of many dd the median, by their own time, which leaves out their start."""
        width, height = map(int, programs.read(guest, f"{SYSFS}/virtual_size").split(","))
        bits = int(programs.read(guest, f"{SYSFS}/bits_per_pixel"))
        if not (count := width * height * bits // 8 // self.block_bytes):
            raise BenchError(f"{DEVICE} ({width}x{height}) is smaller than a picture of the load")
        argv = [PROGRAM, "if=/dev/zero", f"of={DEVICE}", f"bs={self.block_bytes}", f"count={count}"]
        rates, end_s = list[float](), time.monotonic() + seconds
        while not rates or time.monotonic() < end_s:
            copied, spent_s = copied_bytes(programs.run(guest, argv, DD_TIMEOUT_S)["stderr"])
            rates.append(copied / self.block_bytes / spent_s)
        return median(rates)


def copied_bytes(said: str) -> tuple[int, float]:
    """Bytes and seconds, from what GNU dd says.

    Raises:
        BenchError: it does not say.
    """
    if not (found := _COPIED.search(said)) or float(found[2]) <= 0:
        raise BenchError(f"dd copied nothing to the framebuffer: {said.strip() or 'it said nothing'}")
    return int(found[1]), float(found[2])
