"""Checkers of events against slow models that nobody can get wrong, over timelines made up by hypothesis."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.checkers import interrupts_flow, nothing_grows, pfns_unchanged, same_guest
from lab.checkers.clocks import span, steady, to_controller, to_source
from lab.checkers.findings import Findings
from lab.checkers.growth import LOG, QUANTITIES
from lab.checkers.updates import exits, fresh_epoch, updates
from lab.timeline import Event, Timeline
from lab.verdict import Outcome

from .story import MS, Story
from .timelines import AFTER, EPOCH, INVOKE, OK, healthy

FAIL, UNKNOWN, PASS = Outcome.FAIL, Outcome.UNKNOWN, Outcome.PASS
quickly = settings(max_examples=100, deadline=None)


def told(*events: "tuple[str, Mapping[str, Any]]") -> Timeline:
    """A timeline of these events, a millisecond apart."""
    return Timeline(tuple(Event(i, i * MS, kind, data) for i, (kind, data) in enumerate(events)))


def worst(defect: bool, gap: bool) -> Outcome:
    return FAIL if defect else UNKNOWN if gap else PASS


def bare(story: Story) -> Timeline:
    """Its events without its tables, which cost the time."""
    story.tables.clear()
    return story.timeline(Path("nowhere"))


# -- updates, epochs, ends of processes

WORDS = st.sampled_from(["cpr.invoke", "cpr.ok", "cpr.fail", "cpr.info", "cpr.progress", "epoch", "other"])


@given(st.lists(st.tuples(WORDS, st.integers(1, 4)), max_size=14))
@quickly
def test_updates_are_those_that_one_who_reads_on_would_tell(words: list[tuple[str, int]]) -> None:
    # an update that is not numbered has the number of its place
    fields = {"epoch": "number", "cpr.invoke": "update"}
    unnumbered = ("cpr.invoke", 4)
    timeline = told(
        *(
            (kind, {fields[kind]: n} if kind in fields and (kind, n) != unnumbered else {})
            for kind, n in words
        )
    )
    found: list[list[Any]] = []  # invoke, how it ended, where, the first fresh epoch after it
    seen: set[int] = set()
    for index, (kind, number) in enumerate(words):
        if kind == "cpr.invoke":
            found.append([index, "open", None, None, set()])
        elif kind in ("cpr.ok", "cpr.fail", "cpr.info") and found and found[-1][1] == "open":
            found[-1][1:3] = kind.removeprefix("cpr."), index
            found[-1][4] = set(seen)
        elif kind == "epoch":
            if found and found[-1][2] is not None and found[-1][3] is None and number not in found[-1][4]:
                found[-1][3] = number
            seen.add(number)
    ours = updates(timeline)
    assert [(u.invoke.index, u.outcome, u.end and u.end.index) for u in ours] == [tuple(f[:3]) for f in found]
    invokes = [n for kind, n in words if kind == "cpr.invoke"]
    assert [u.number for u in ours] == [n if n < 4 else place for place, n in enumerate(invokes, 1)]
    assert [u.until for u in ours] == [*(f[0] for f in found[1:]), len(words)][: len(found)]
    for update, (_, _, ended, epoch, _) in zip(ours, found, strict=True):
        if ended is not None:
            assert fresh_epoch(Findings(""), timeline, update) == epoch


ENDS = st.sampled_from(["host.exit", "qemu.left", "qemu.became", "qemu.start", "beside", "host.booted"])


@given(st.lists(st.tuples(ENDS, st.integers(1, 2)), max_size=12))
@quickly
def test_an_exit_counts_if_the_process_ran_the_guest(words: list[tuple[str, int]]) -> None:
    expected, state = [], dict[int, set[str]]()
    for index, (word, pid) in enumerate(words):
        if word == "host.booted":
            state.clear()
        elif word == "host.exit":
            what = state.get(pid, set())
            if "qemu.left" not in what and ("beside" not in what or "qemu.became" in what):
                expected.append(index)
        else:
            state.setdefault(pid, set()).add(word)
    events = [
        ("qemu.start", {"pid": pid, "beside": True}) if word == "beside" else (word, {"pid": pid})
        for word, pid in words
    ]
    assert [e.index for e in exits(told(*events))] == expected


# -- clocks

SYNCS = st.lists(st.tuples(st.integers(0, 40), st.integers(-90, 90), st.integers(0, 3)), max_size=6)


@given(SYNCS, st.integers(0, 40), st.integers(0, 20))
@quickly
def test_a_time_goes_by_the_comparison_next_to_it(
    made: list[tuple[int, int, int]], t: int, lasts: int
) -> None:
    syncs = sorted(made, key=lambda sync: sync[0])
    events = tuple(
        Event(i, at, "clock.sync", {"source": "s", "offset_ns": offset, "error_ns": error})
        for i, (at, offset, error) in enumerate(syncs)
    )
    # what is said of another clock must not matter
    others = (
        Event(len(events) + i, e.t_ns, e.kind, {"source": "o", "offset_ns": 5}) for i, e in enumerate(events)
    )
    timeline = Timeline((*events, *others))
    if not syncs:
        assert to_source(timeline, "s", t) is None
        assert span(timeline, "s", t, t) is None
        assert to_controller(timeline, "s", t) is None
        return
    earlier = [s for s in syncs if s[0] <= t][-1:] or syncs[:1]
    later = [s for s in syncs if s[0] > t + lasts][:1] or syncs[-1:]
    (_, offset, error), (_, end_offset, end_error) = earlier[0], later[0]
    assert to_source(timeline, "s", t) == (t - offset, error)
    at = span(timeline, "s", t, t + lasts)
    assert at is not None
    assert (at.start_ns, at.end_ns) == (t - offset, t + lasts - end_offset)
    assert at.error_ns == max(error, end_error)
    back = to_controller(timeline, "s", t)
    distances = [abs(s[0] - s[1] - t) for s in syncs]
    nearest = syncs[distances.index(min(distances))]
    assert back == (t + nearest[1], nearest[2])


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(-200, 200)), max_size=6))
@quickly
def test_a_clock_is_steady_if_no_two_comparisons_are_far_apart(made: list[tuple[int, int]]) -> None:
    """500 ppm of the seconds between them, 50 ms, and what each comparison may be wrong by."""
    at_s, events, jumps = 0, list[Event](), False
    previous: tuple[int, int] | None = None
    for index, (step_s, offset_ms) in enumerate(made):
        at_s += step_s
        data = {"source": "s", "offset_ns": offset_ms * MS, "error_ns": MS}
        events.append(Event(index, at_s * 1000 * MS, "clock.sync", data))
        if previous is not None:
            jumps |= abs(offset_ms - previous[1]) * 10 > (2 + 50) * 10 + (at_s - previous[0]) * 5
        previous = at_s, offset_ms
    found = Findings("c")
    assert steady(found, Timeline(tuple(events)), "s") == (not jumps)
    assert ("jumped" in found.verdict().summary) == jumps


ERRORS_MS = [(None, None), (3, None), (None, 5), (3, 5)]


@pytest.mark.parametrize("errors_ms", ERRORS_MS)
@pytest.mark.parametrize("beyond_ns, jumps", [(0, False), (1, True)])
def test_a_clock_may_drift_and_be_read_late_and_no_more(
    errors_ms: tuple[int | None, int | None], beyond_ns: int, jumps: bool
) -> None:
    allowed_ns = (sum(error or 0 for error in errors_ms) + 50) * MS + 20_000 * MS * 500 // 1_000_000
    events = [
        Event(n, n * 20_000 * MS, "clock.sync", {"source": "s", "offset_ns": n * (allowed_ns + beyond_ns)})
        for n in range(2)
    ]
    for event, error in zip(events, errors_ms, strict=True):
        if error is not None:
            assert isinstance(event.data, dict)
            event.data["error_ns"] = error * MS
    found = Findings("c")
    assert steady(found, Timeline(tuple(events)), "s") is not jumps


def test_a_comparison_without_an_error_is_exact() -> None:
    timeline = told(("clock.sync", {"source": "s", "offset_ns": 7}))
    assert to_source(timeline, "s", 10) == (3, 0)
    assert to_controller(timeline, "s", 3) == (10, 0)
    assert to_source(Timeline(()), "controller", 10) == (10, 0)


# -- page frames, interrupts, the guest, growth

PAGES = st.dictionaries(st.integers(0, 11), st.tuples(st.integers(0, 3), st.integers(1, 2)), max_size=12)


@given(PAGES, PAGES, st.booleans())
@quickly
def test_page_frames_are_compared_as_the_model_does(
    old: dict[int, tuple[int, int]], new: dict[int, tuple[int, int]], alike: bool
) -> None:
    new = dict(old) if alike else new
    story = healthy()
    for when, pages in (("before", old), ("after", new)):
        story.change(
            "host.pfns", {"when": when}, pages=[[o, pfn, inode] for o, (pfn, inode) in pages.items()]
        )
    defect, both = False, 0
    for offset, (pfn, inode) in old.items():
        if pfn and offset in new:
            now, file = new[offset]
            defect |= now != pfn or (now > 0 and file != inode)
            both += now > 0
    verdict = pfns_unchanged(bare(story))
    assert verdict.outcome is worst(defect, both < 8), str(verdict)


VECTORS = st.dictionaries(st.sampled_from("abc"), st.integers(0, 3))


@given(VECTORS, VECTORS, VECTORS)
@quickly
def test_interrupts_are_counted_as_the_model_does(
    before: dict[str, int], during: dict[str, int], after: dict[str, int]
) -> None:
    story = healthy()
    for when, vectors in (("before", before), ("during", during), ("after", after)):
        story.change("host.interrupts", {"when": when}, vectors=vectors)
    defect = any(v not in after or after[v] < count for v, count in before.items())
    defect |= not any(count > during.get(v, 0) for v, count in after.items())
    verdict = interrupts_flow(bare(story))
    assert verdict.outcome is worst(defect, not any(before.values())), str(verdict)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([500, OK - 50, EPOCH + 50, AFTER, 3000, 3300]),
            st.sampled_from(["b-1", "b-1", "b-1", "b-2"]),
            st.integers(-1, 2),
            st.sampled_from([True, True, None, False]),
            st.integers(1, 2),
        ),
        max_size=8,
    )
)
@quickly
def test_the_guest_lives_on_as_the_model_says(made: list[tuple[int, str, int, bool | None, int]]) -> None:
    story = healthy().drop("guest.heartbeat")
    beat, boots, beats = 10, ["b-1"], list[tuple[int, int, int, bool | None]]()
    for ms, boot, step, intact, epoch in sorted(made, key=lambda one: one[0]):
        beat += step
        data = {"boot_id": boot, "beat": beat, "epoch": epoch, "longest_gap_ns": 0, "t_src_ns": 0}
        story.add(ms, "guest.heartbeat", **data, memory_intact=intact)
        boots.append(boot)
        beats.append((ms, beat, epoch, intact))
    defect = len(set(boots)) > 1 or any(b[1] <= a[1] for a, b in pairwise(beats))
    defect |= any(intact is False for *_, intact in beats)
    fresh = [one for one in beats if one[2] == 2 and one[0] > OK]
    gap = not any(ms < INVOKE for ms, *_ in beats) or not fresh
    gap |= not any(intact is True for *_, intact in fresh)
    verdict = same_guest()(bare(story))
    assert verdict.outcome is worst(defect, gap), str(verdict)


FLAT = {
    "slab_bytes": {},
    "descriptors": 50,
    "eventfds": 9,
    "vectors": 5,
    "threads": 4,
    "mappings": 99,
    "pinned_pages": 65600,
    "iommu_pages": 12,
    "rss_anon_kb": 30000,
}


@given(
    st.sampled_from([q for q in QUANTITIES if "slab" not in q.name]),
    st.lists(st.integers(0, 4), min_size=6, max_size=14),
)
@quickly
def test_growth_is_that_of_the_medians_of_thirds(quantity: Any, steps: list[int]) -> None:
    field = next(f for f, flat in FLAT.items() if f != "slab_bytes" and quantity.of({**FLAT, f: -1}) == -1)
    values = [1000 + int(step * max(1, quantity.allowed) / 2) for step in steps]
    events: list[tuple[str, dict[str, Any]]] = [("witness.start", {"witness": "kmsg-host"})]
    for number, value in enumerate(values, 1):
        events += [("cpr.invoke", {"update": number}), ("cpr.ok", {})]
        events.append(("host.footprint", {**FLAT, "update": number, field: value}))
    verdict = nothing_grows()(told(*events))
    counted = values[2:]
    third = len(counted) // 3
    few = len(counted) < 6
    grows = not few and median(counted[-third:]) - median(counted[:third]) > quantity.allowed
    assert verdict.outcome is worst(grows, few), str(verdict)
    assert (quantity.name in verdict.summary) >= grows and (LOG in verdict.summary) is False
