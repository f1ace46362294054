"""The ticks of the guest's heart: by its kernel alone, or by this program where a kernel does not.

A kernel's tick costs no program: its timer goes off, writes the time into a ring, and is read with hundreds
of others. So even a guest on an emulated processor has one each millisecond.

Source: perf_event_open(2), PERF_COUNT_SW_CPU_CLOCK (kernel/events/core.c, perf_swevent_hrtimer: a
high-resolution timer of one processor, which runs in idle too), the layouts of struct perf_event_attr,
perf_event_mmap_page and of a record; Documentation/admin-guide/sysctl/kernel.rst.
"""

import mmap
import os
import struct
import time
from array import array
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from operator import sub
from pathlib import Path

from ..loop import Loop

RING_BYTES = 1 << 20
"""65536 ticks: of 1 ms a minute. While the guest falls asleep and wakes up its agent reads none for 10 s."""
MOST_PER_S = 100_000_000
"""An idle kernel counts ticks since it last did something else, and holds back a timer that had too many."""
_MOST = Path("/proc/sys/kernel/perf_event_max_sample_rate")
_SYSCALL = 298
"""perf_event_open on x86-64."""
_SOFTWARE, _CPU_CLOCK = 1, 0
_TIME, _USE_CLOCKID, _CLOEXEC = 1 << 2, 1 << 25, 1 << 3
_ATTR_BYTES, _CLOCKID_AT = 128, 92
_HEAD_AT, _TAIL_AT = 1024, 1032
_TICK, _TICK_BYTES = 9, 16
"""PERF_RECORD_SAMPLE with a time and nothing else."""


@dataclass(frozen=True)
class Ticks:
    """What was read since the last time.

    gap_ns:  the longest time between two ticks
    count:   how many there were
    holes:   ticks may have been left out so often, so the gap may be longer than any there was
    """

    gap_ns: int
    count: int
    holes: int = 0


class KernelTicks:
    """Ticks of processor 0, by CLOCK_MONOTONIC.

    Raises:
        OSError: this kernel has no such timer, or we may not use it.
    """

    by = "kernel"

    def __init__(self, period_ms: float) -> None:
        with suppress(OSError):
            _MOST.write_text(str(MOST_PER_S), encoding="ascii")
        fd = _opened(attributes(int(period_ms * 1e6)))
        try:
            self._ring = mmap.mmap(fd, mmap.PAGESIZE + RING_BYTES)  # it keeps the timer
        finally:
            os.close(fd)
        self._last_ns = 0

    def read(self) -> Ticks:
        head, tail = struct.unpack_from("<QQ", self._ring, _HEAD_AT)
        times, holes = ticks(unwrapped(self._between, tail, head))
        struct.pack_into("<Q", self._ring, _TAIL_AT, head)
        gap_ns, self._last_ns = longest(times, self._last_ns)
        return Ticks(gap_ns, len(times), holes)

    def _between(self, start: int, end: int) -> bytes:
        return self._ring[mmap.PAGESIZE + start : mmap.PAGESIZE + end]

    def close(self) -> None:
        """End them."""
        self._ring.close()


class ProgramTicks:
    """Ticks of this program's loop, late whenever it does something else."""

    by = "program"

    def __init__(self, loop: Loop, period_ms: float, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._loop, self._now_ns = loop, now_ns
        self._longest_ns = self._count = 0
        self._last_ns = now_ns()
        self._timer = loop.every(period_ms, self._tick)

    def _tick(self) -> None:
        now_ns = self._now_ns()
        self._longest_ns, self._last_ns = max(self._longest_ns, now_ns - self._last_ns), now_ns
        self._count += 1

    def read(self) -> Ticks:
        self._tick()
        seen, self._longest_ns, self._count = Ticks(self._longest_ns, self._count), 0, 0
        return seen

    def close(self) -> None:
        """End them."""
        self._loop.cancel(self._timer)


def attributes(period_ns: int) -> bytes:
    """A struct perf_event_attr: processor time as a timer, its ticks stamped by CLOCK_MONOTONIC."""
    head = (_SOFTWARE, _ATTR_BYTES, _CPU_CLOCK, period_ns, _TIME, 0, _USE_CLOCKID)
    packed = struct.pack("<IIQQQQQ", *head).ljust(_CLOCKID_AT, b"\0")
    return (packed + struct.pack("<i", time.CLOCK_MONOTONIC)).ljust(_ATTR_BYTES, b"\0")


def unwrapped(between: Callable[[int, int], bytes], tail: int, head: int, size: int = RING_BYTES) -> bytes:
    """What lies between two positions that only grow, of a ring whose end is its beginning."""
    start, end = tail % size, head % size
    return between(start, end) if start < end or head == tail else between(start, size) + between(0, end)


def ticks(records: bytes) -> "tuple[array[int], int]":
    """The times of the ticks among some records, and how many others there were: of ticks that are not."""
    times, holes, at = array("Q"), 0, 0
    if len(records) % _TICK_BYTES == 0:
        words = array("Q", records)
        if all(map(_TICK_HEADS.__contains__, words[::2])):
            return words[1::2], 0
    while at < len(records):
        kind, _, size = struct.unpack_from("<IHH", records, at)
        if kind == _TICK:
            times.append(struct.unpack_from("<Q", records, at + 8)[0])
        else:
            holes += 1
        at += size
    return times, holes


_TICK_HEADS = frozenset(_TICK | misc << 32 | _TICK_BYTES << 48 for misc in range(16))
"""The first words of a tick, by where it came upon: in the kernel, in a program, in a guest of it."""


def longest(times: "array[int]", last_ns: int) -> tuple[int, int]:
    """The longest time from one to the next, beginning at `last_ns` unless it is 0; and the last of them."""
    if last_ns:
        times = array("Q", [last_ns]) + times
    return max(map(sub, times[1:], times), default=0), times[-1] if times else 0


def _opened(wanted: bytes) -> int:
    import ctypes  # a program's ticks do not need it

    descriptor = int(ctypes.CDLL(None, use_errno=True).syscall(_SYSCALL, wanted, -1, 0, -1, _CLOEXEC))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), f"perf_event_open: {os.strerror(ctypes.get_errno())}")
    return descriptor
