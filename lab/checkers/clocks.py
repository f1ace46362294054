"""Clocks: from the controller's time to that of a source (host, guest, far end)."""

from dataclasses import dataclass
from itertools import pairwise

from lab.checkers.findings import Findings
from lab.checkers.updates import Update
from lab.timeline import Event, Timeline

_DRIFT_PPM = 500
_STEP_NS = 50_000_000
"""Two clocks may drift by 500 ppm, and a TCG bench host may answer 50 ms late; more is a jump."""


@dataclass(frozen=True)
class Span:
    """A stretch of a source's own time, known to within `error_ns` at either end."""

    start_ns: int
    end_ns: int
    error_ns: int


def to_source(timeline: Timeline, source: str, t_ns: int, *, later: bool = False) -> tuple[int, int] | None:
    """A controller time on a source's clock, and its error; None if they were never compared.

    later: use the comparison after the moment, not the one before it. That matters for the
        guest, whose clock stands still while it is paused.
    """
    if source == "controller":
        return t_ns, 0
    syncs = timeline.of("clock.sync", source=source)
    if not syncs:
        return None
    before = [s for s in syncs if s.t_ns <= t_ns]
    after = [s for s in syncs if s.t_ns > t_ns]
    chosen = (after or before)[0 if after else -1] if later else (before or after)[-1 if before else 0]
    return t_ns - int(chosen.data["offset_ns"]), int(chosen.data.get("error_ns", 0))


def span(timeline: Timeline, source: str, start_ns: int, end_ns: int) -> Span | None:
    """A stretch of controller time on a source's clock."""
    start = to_source(timeline, source, start_ns)
    end = to_source(timeline, source, end_ns, later=True)
    if start is None or end is None:
        return None
    return Span(start[0], end[0], max(start[1], end[1]))


def window(found: Findings, timeline: Timeline, source: str, update: Update) -> Span | None:
    """An update on a source's clock, from invoke to its end; a gap if that cannot be told."""
    at = span(timeline, source, update.invoke.t_ns, update.done.t_ns)
    if at is None:
        found.gap(f"the {source} clock was never compared with the controller's")
    return at


def to_controller(timeline: Timeline, source: str, t_ns: int) -> tuple[int, int] | None:
    """A time on the clock of a source that never stops, on the controller's, and its error."""
    syncs = timeline.of("clock.sync", source=source)
    if not syncs:
        return None
    nearest = min(syncs, key=lambda s: abs(s.t_ns - int(s.data["offset_ns"]) - t_ns))
    return t_ns + int(nearest.data["offset_ns"]), int(nearest.data.get("error_ns", 0))


def steady(found: Findings, timeline: Timeline, source: str) -> bool:
    """Whether a clock that never stops kept its distance to the controller's; a gap if it jumped."""
    syncs = timeline.of("clock.sync", source=source)
    for one, other in pairwise(syncs):
        moved = abs(int(other.data["offset_ns"]) - int(one.data["offset_ns"]))
        if moved > _allowance_ns(one, other):
            found.gap(f"the {source} clock jumped by {moved / 1e6:.0f} ms", one, other)
            return False
    return True


def _allowance_ns(one: Event, other: Event) -> int:
    errors = int(one.data.get("error_ns", 0)) + int(other.data.get("error_ns", 0))
    return errors + _STEP_NS + (other.t_ns - one.t_ns) * _DRIFT_PPM // 1_000_000
