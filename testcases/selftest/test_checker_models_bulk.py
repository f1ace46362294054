"""Checkers of tables, traces and chardevs against slow models, as in test_checker_models.py."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lab.checkers import chardev_grade, mappings_kept, pages_stayed_pinned
from lab.checkers.pauses import table_pause
from lab.checkers.tables import Times
from lab.checkers.updates import updates
from lab.columns import BLOCKS
from lab.timeline import Timeline

from .story import Story
from .test_checker_models import FAIL, PASS, bare, quickly, worst
from .timelines import EXEC, INVOKE, OK, epoch_at, healthy, host_ns

LINES = "chardev.stream-fd.received"


@contextmanager
def recorded(story: Story, name: str) -> Iterator[Timeline]:
    """The recording with this table alone."""
    story.tables = {name: story.tables[name]}
    with tempfile.TemporaryDirectory() as folder:
        yield story.timeline(Path(folder))


STEPS_MS = st.sampled_from([30, 120, 249, 250, 251, 400])


@given(
    st.integers(600, 1100),
    st.lists(
        st.tuples(STEPS_MS, st.sampled_from([65600, 65600, 65600, 65537, 65536, 65535, 0])), max_size=16
    ),
)
@quickly
def test_pinned_pages_are_judged_as_the_model_does(start_ms: int, made: list[tuple[int, int]]) -> None:
    samples, ms = [], start_ms
    for step_ms, level in made:
        samples.append((ms, level))
        ms += step_ms
    story = healthy()
    if not samples:
        return
    t_ms = np.array([ms for ms, _ in samples], np.float64)
    rows = {"t_ns": [host_ns(ms) for ms in t_ms], "epoch": epoch_at(t_ms), "pinned": [n for _, n in samples]}
    zero = np.zeros(len(samples))
    story.table("pins", **rows, vmlck_kb=zero, vmpin_kb=zero)
    # the clocks are known to within 1 ms; the load is stopped at 3450
    before = [level for ms, level in samples if ms < INVOKE - 1]
    judged = [(ms, level) for ms, level in samples if INVOKE - 1 <= ms <= 3449]
    holes = [b - a for (a, _), (b, _) in pairwise(samples) if b > INVOKE - 1 and a < OK + 1]
    spans = samples[0][0] <= INVOKE - 1 and samples[-1][0] >= OK + 1
    level = int(median(before)) if before else 0
    defect = bool(before and judged) and min(n for _, n in judged) < level - 64
    gap = not before or level < 65536 or not judged or not spans or max(holes, default=0) > 250
    gap |= not any(ms >= 1750 for ms, _ in judged)
    with recorded(story, "pins") as timeline:
        verdict = pages_stayed_pinned()(timeline)
    assert verdict.outcome is worst(defect, gap), str(verdict)


@given(st.lists(st.integers(0, 300), min_size=1, max_size=40), st.integers(0, 900))
@quickly
def test_a_pause_is_the_longest_gap_that_touches_the_update(steps_ms: list[int], first_ms: int) -> None:
    times = [first_ms + sum(steps_ms[:n]) for n in range(len(steps_ms) + 1)]
    story = healthy()
    rows: dict[str, Any] = {name: np.zeros(len(times)) for name in BLOCKS}
    story.table(LINES, **rows | {"t_ns": [host_ns(ms) for ms in times]})
    # looked at from 100 ms before the update until a second after it, and 1 ms that the clock may be wrong by
    start_ms, end_ms = INVOKE - 100 - 1, OK + 1000 + 1
    gaps = [b - a for a, b in pairwise(times) if b > start_ms and a < end_ms]
    with recorded(story, LINES) as timeline:
        found = table_pause(Times(timeline), updates(timeline)[0], "host", LINES, "lines")
    if times[0] > start_ms or times[-1] < end_ms:
        assert found is None
        return
    assert found is not None and round(found.seconds * 1000) == max(gaps)
    ordinary = [ms for ms in times if INVOKE - 3000 <= ms < INVOKE - 100]
    longest = max((b - a for a, b in pairwise(ordinary)), default=None)
    assert (None if found.resolution_s is None else round(found.resolution_s * 1000)) == longest


TRACED = st.tuples(
    st.integers(960, 1725),
    st.sampled_from(["iommu:unmap", "iommu:unmap", "iommu:map", "iommu:io_page_fault"]),
    st.sampled_from([0x1000, 0xBFFFF000, 0xC0000000, 0xFFFFF000, 0x100000000]),
    st.sampled_from([0x1000, 0x2000]),
    st.sampled_from(["CPU 0/KVM", "qemu-system-x86", "<...>"]),
)


@given(st.lists(TRACED, max_size=4), st.booleans(), st.integers(0, 1), st.booleans(), st.integers(0, 1))
@quickly
def test_mappings_are_judged_as_the_model_does(
    made: list[tuple[int, str, int, int, str]], own: bool, untold: int, exec_seen: bool, lost: int
) -> None:
    """Kept back: unmaps of BARs; with an IOMMU of its own what the guest did while it was not paused."""
    story = healthy()
    counts = {"iommu:unmap": untold, "sched:sched_process_exec": 1}
    unmapped, faults = 0, 0
    for ms, name, iova, size, task in made:
        fields = {"iova": hex(iova), "size": hex(size), "task": task}
        story.add(ms, "trace.event", name=name, t_src_ns=host_ns(ms), fields=fields)
        counts[name] = counts.get(name, 0) + 1
        faults += name == "iommu:io_page_fault"
        if name == "iommu:unmap":
            bar = iova >= 0xC0000000 and iova + size <= 0x100000000
            paused = STOPPED <= ms <= RESUMED
            unmapped += not ((task != "qemu-system-x86" and not paused) if own else bar)
    if not exec_seen:
        story.drop("trace.event", name="sched:sched_process_exec")
        del counts["sched:sched_process_exec"]
    story.change("trace.close", counts=counts, lost=lost)
    for event, ms in (("STOP", 1100), ("RESUME", 1500)):
        # the host's wall clock is stamped so that it and the other one tell the same
        story.change("qmp.event", {"name": event}, t_host_ns=host_ns(ms) - WALL_NS)
    verdict = mappings_kept(own)(bare(story))
    assert verdict.outcome is worst(bool(unmapped + untold + faults), bool(lost) or not exec_seen), str(
        verdict
    )


STOPPED, RESUMED = 1101, 1499
"""Surely: the wall clock is known to within 10 us, and nothing was made up between two milliseconds."""
WALL_NS = 1_000_000_000_000 + 5_000_000_000


@given(
    lost=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    fresh=st.tuples(st.booleans(), st.booleans()),
    connections=st.integers(1, 2),
    eofs=st.integers(0, 1),
    cut_ms=st.sampled_from([None, 500, EXEC]),
    refused=st.booleans(),
    told=st.booleans(),
)
@quickly
def test_a_connection_is_graded_as_the_model_does(
    lost: tuple[int, int],
    fresh: tuple[bool, bool],
    connections: int,
    eofs: int,
    cut_ms: int | None,
    refused: bool,
    told: bool,
) -> None:
    story = healthy().drop("chardev.eof").drop("chardev.reopen")
    ways = {
        way: {"sent": 9, "received": 9 - n, "lost": n, "first_epoch": 1, "last_epoch": 2 if new else 1}
        for way, n, new in zip(("to_guest", "from_guest"), lost, fresh, strict=True)
    }
    story.change("chardev.report", {"chardev": "stream-fd"}, connections=connections, eofs=eofs, **ways)
    if cut_ms is not None:
        story.add(cut_ms, "chardev.eof", chardev="stream-fd", t_src_ns=0)
    if refused:
        story.drop("cpr.ok").add(OK, "cpr.fail", update=1, reason="no")
    ended = connections > 1 or eofs > 0 or cut_ms == EXEC
    if not all(fresh):
        grade = "lost"
    elif refused and not any(lost):
        grade = "refused"
    elif ended:
        grade = "C" if any(lost) else "B"
    else:
        grade = ("cut" if told else "C") if any(lost) else "A"
    timeline = bare(story)
    assert chardev_grade("stream-fd", "A", told=told).graded(timeline).grade == grade
    if not refused:
        for expected in ("A", "B", "cut", "C", "lost"):
            verdict = chardev_grade("stream-fd", expected, told=told)(timeline)
            assert verdict.outcome is (PASS if expected == grade else FAIL), str(verdict)
