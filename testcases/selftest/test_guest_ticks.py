"""The ticks of the guest's heart: what a kernel's ring says, on rings made by hand, and the kernel's own."""

import struct
import time
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.agents.guest import heartbeat
from lab.agents.guest.heartbeat import Heartbeat
from lab.agents.guest.ticks import ProgramTicks, attributes, longest, ticks, unwrapped
from lab.agents.loop import Loop

MS = 1_000_000


def tick(t_ns: int, misc: int = 1) -> bytes:
    return struct.pack("<IHHQ", 9, misc, 16, t_ns)


LOST = struct.pack("<IHHQQ", 2, 0, 24, 7, 300)
THROTTLED = struct.pack("<IHHQQQ", 5, 0, 32, 0, 0, 0)


def test_times_of_ticks_wherever_they_came_upon() -> None:
    assert ticks(tick(5) + tick(6, misc=2) + tick(8, misc=1)) == (array("Q", [5, 6, 8]), 0)
    assert ticks(b"") == (array("Q"), 0)


@pytest.mark.parametrize("other", [LOST, THROTTLED])
def test_a_record_of_ticks_that_are_missing_is_a_hole(other: bytes) -> None:
    assert ticks(tick(5) + other + tick(900)) == (array("Q", [5, 900]), 1)


@given(st.lists(st.integers(1, 2**62), max_size=40), st.integers(0, 2**40))
def test_a_ring_is_read_over_its_end(times: list[int], turns: int) -> None:
    size, wanted = 1024, b"".join(map(tick, times))
    tail = turns * 16
    ring = bytearray(size)
    for at, byte in enumerate(wanted):
        ring[(tail + at) % size] = byte
    read = unwrapped(lambda start, end: bytes(ring[start:end]), tail, tail + len(wanted), size)
    assert ticks(read) == (array("Q", times), 0)


def test_a_full_ring_is_read_whole() -> None:
    ring = b"".join(map(tick, range(64)))
    assert unwrapped(lambda start, end: ring[start:end], 0, len(ring), len(ring)) == ring


def test_the_longest_gap_begins_with_the_last_tick_before() -> None:
    assert longest(array("Q", [50, 52]), 10) == (40, 52)
    assert longest(array("Q", [50, 52]), 0) == (2, 52), "before the first tick nobody ticked"
    assert longest(array("Q"), 10) == (0, 10), "the gap goes on"


def test_what_the_kernel_is_asked_for() -> None:
    asked = attributes(MS)
    kind, size, config, period, sample = struct.unpack_from("<IIQQQ", asked)
    assert (kind, size, config, period, sample, len(asked)) == (1, 128, 0, MS, 4, 128)
    assert struct.unpack_from("<Q", asked, 40) == (1 << 25,)
    assert struct.unpack_from("<i", asked, 92) == (time.CLOCK_MONOTONIC,)


class Out:
    """Takes the events, and ends the loop at the third beat."""

    def __init__(self, loop: Loop) -> None:
        self.loop, self.events = loop, list[tuple[str, dict[str, Any]]]()

    def event(self, kind: str, **data: Any) -> None:
        self.events.append((kind, data))
        if data.get("beat") == 3:
            self.loop.stop()


def refusing(_: float) -> ProgramTicks:
    raise OSError("no perf events")


@pytest.mark.parametrize("kernel", [True, False], ids=["as this kernel can", "by the program"])
def test_a_heart_ticks_and_tells_of_what_it_missed(monkeypatch: pytest.MonkeyPatch, kernel: bool) -> None:
    if not kernel:
        monkeypatch.setattr(heartbeat, "KernelTicks", refusing)
    loop = Loop()
    out = Out(loop)
    heart = Heartbeat(loop, out, "boot")  # type: ignore[arg-type]  # it has what Heartbeat needs
    heart.start(period_ms=40, tick_ms=1)
    heart.start(period_ms=40, tick_ms=1)
    loop.run()
    (_, (first, told), *beats) = out.events
    assert first == "guest.heart" and told["tick_ms"] == 1 and told["by"] in ("kernel", "program")
    assert kernel or told["by"] == "program"
    assert [data["beat"] for _, data in beats] == [1, 2, 3]
    assert all(data["ticks"] > 5 and data["longest_gap_ns"] >= MS // 2 for _, data in beats)


def test_a_program_that_was_away_has_a_gap() -> None:
    now_ns, loop = [0], Loop()
    heart = ProgramTicks(loop, 1000, lambda: now_ns[0])
    now_ns[0] = 700 * MS
    assert heart.read().gap_ns == 700 * MS
    assert heart.read().gap_ns == 0
