"""Pinned guest pages stay pinned while QEMU is replaced.

Source: /proc/vmstat nr_foll_pin_acquired and _released (Linux mm/gup.c): both rise during an
update, their difference is what is pinned. VmLck and VmPin are accounting, which QEMU 11.1
loses with iommufd (VmPin 262400 kB before, 0 after, the pages pinned all the same): they are
measurements (lab/measure.py), never this verdict.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lab.checkers.clocks import Span, span, steady, to_source, window
from lab.checkers.findings import Findings
from lab.checkers.tables import PINS, Column, ascending, between, longest_gap_ns, whole
from lab.checkers.updates import Update, alive_until, completed, fresh_epoch, seeing, updates
from lab.timeline import Event, Timeline
from lab.verdict import Verdict

_PAGES_PER_MIB = 256
_NS_PER_MS = 1_000_000
Columns = Mapping[str, Column]


@dataclass(frozen=True)
class PagesStayedPinned:
    """The number of pinned pages never falls below what it was before the update.

    Reads: table pins; clock.sync of the host; load.start or case for the guest's memory;
        load.settled, load.stop; epoch; cpr.*.
    tolerance_pages: other processes pin and unpin a few pages (direct I/O)
    hole_ms: longest time without a sample; a busy two-core bench misses 20 ms by far, and
        unpinning and pinning 256 MiB again takes longer than this
    """

    tolerance_pages: int = 64
    hole_ms: int = 250

    @property
    def __name__(self) -> str:
        return "pages_stayed_pinned"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        done = completed(found, timeline)
        seeing(found, timeline, "pins")
        steady(found, timeline, "host")
        pins = whole(found, timeline, "pins", PINS)
        if pins is None:
            return found.verdict()
        if not ascending(pins["t_ns"]):
            found.gap("the host's clock runs backwards in the table pins")
            return found.verdict()
        baseline = _baseline(found, timeline, pins)
        if baseline is not None:
            for update in done:
                self._update(found, timeline, update, pins, baseline)
        return found.verdict()

    def _update(
        self, found: Findings, timeline: Timeline, update: Update, pins: Columns, baseline: int
    ) -> None:
        at = window(found, timeline, "host", update)
        if at is None:
            return
        epoch = fresh_epoch(found, timeline, update)
        end = alive_until(timeline, update)
        judged = _judged(timeline, pins["t_ns"], at, end)
        levels = np.asarray(pins["pinned"][judged])
        if not len(levels):
            found.gap(f"no sample of the pinned pages was taken during {update.name}", *update.events)
            return
        lowest = int(levels.min())
        if lowest < baseline - self.tolerance_pages:
            found.defect(f"pinned pages fell from {baseline} to {lowest} at {update.name}", *update.events)
        self._density(found, update, pins["t_ns"], at)
        if epoch is not None and not np.any(pins["epoch"][judged] == epoch):
            found.gap(f"no sample of the pinned pages was taken after {update.name}", update.done)
        found.fact(
            f"{baseline} pages pinned before and at least {lowest} in {len(levels)} samples of {update.name}",
            *update.events,
        )

    def _density(self, found: Findings, update: Update, t: Column, at: Span) -> None:
        hole_ns = longest_gap_ns(t, at.start_ns - at.error_ns, at.end_ns + at.error_ns)
        if hole_ns is None:
            found.gap(f"the samples of the pinned pages do not span {update.name}", *update.events)
        elif hole_ns > self.hole_ms * _NS_PER_MS:
            found.gap(
                f"no sample of the pinned pages for {hole_ns / _NS_PER_MS:.0f} ms in {update.name},"
                f" more than {self.hole_ms} ms",
                *update.events,
            )


def _baseline(found: Findings, timeline: Timeline, pins: Columns) -> int | None:
    """The median level before the first update, which must hold the guest's memory."""
    begun = updates(timeline)
    start = to_source(timeline, "host", begun[0].invoke.t_ns) if begun else None
    if start is None:
        found.gap("it cannot be told which samples of the pinned pages were taken before the update")
        return None
    before = pins["pinned"][: np.searchsorted(pins["t_ns"], start[0] - start[1], "left")]
    if not len(before):
        found.gap("no sample of the pinned pages was taken before the update", begun[0].invoke)
        return None
    level = int(np.median(before))
    memory, source = _memory_pages(timeline)
    if memory is None:
        found.gap("the guest's memory size is not recorded, so what must be pinned is not known")
    elif level < memory:
        found.gap(f"only {level} pages were pinned to begin with, the guest has {memory}", *source)
    return level


def _judged(timeline: Timeline, t: Column, at: Span, end: Event) -> slice:
    """Samples from the start of the update until the guest may have been stopped."""
    last = span(timeline, "host", end.t_ns, end.t_ns)
    end_ns = (
        at.end_ns + at.error_ns if last is None else max(at.end_ns + at.error_ns, last.end_ns - last.error_ns)
    )
    return between(t, at.start_ns - at.error_ns, end_ns)


def _memory_pages(timeline: Timeline) -> tuple[int | None, tuple[Event, ...]]:
    for event in timeline.of("load.start"):
        if "memory_mib" in event.data:
            return int(event.data["memory_mib"]) * _PAGES_PER_MIB, (event,)
    for event in timeline.of("case"):
        if "memory_mib" in event.data.get("parameters", {}):
            return int(event.data["parameters"]["memory_mib"]) * _PAGES_PER_MIB, (event,)
    return None, ()
