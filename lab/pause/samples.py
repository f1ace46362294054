"""Samples out of a run record: one for each update of a sweep. Read again, they are the same."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.checkers.host_clock import standstill
from lab.checkers.pauses import pauses
from lab.checkers.phases import known, phases, vcpu_gap
from lab.checkers.updates import Update, updates
from lab.pause.plan import TIMED as TIMED_BY
from lab.pause.plan import Point
from lab.run_record import read_run
from lab.timeline import Event, Timeline

TIMED = frozenset(TIMED_BY)
CLOCKS = {
    "host": "KVM exit to entry",
    "qmp": "QMP STOP to RESUME",
    "running": "QMP STOP to query-status running",
    "guest": "guest heartbeat",
    "load": "frames from the guest",
}
"""Short names of the clocks that are compared."""


@dataclass(frozen=True)
class Sample:
    """One update.

    first:       the old QEMU was the one that booted the guest
    witnesses:   who watched, of `WITNESSES`
    turn:        of a comparison: what is compared has the same
    clocks:      the pause in seconds by each clock (`CLOCKS`) that told
    resolutions: what each of them cannot tell apart, in seconds
    phases:      in seconds, those that are known
    still_s:     for how long the guest's clock stood still
    yardstick_s: what a fixed piece of work took on the bench host right before; None if nobody looked
    effort:      thread of the host agent -> its share of one processor of the bench host meanwhile
    """

    point: Point
    update: int
    mode: str
    first: bool
    witnesses: frozenset[str]
    turn: int
    clocks: Mapping[str, float]
    resolutions: Mapping[str, float]
    phases: Mapping[str, float]
    still_s: float | None
    yardstick_s: float | None = None
    effort: Mapping[str, float] = field(default_factory=dict)

    @property
    def timed(self) -> bool:
        """Whether the phases of its pause can be known."""
        return self.witnesses >= TIMED

    @property
    def pause_s(self) -> float | None:
        """By the bench host's kernel."""
        return self.clocks.get("host")


def of_run(run: Path) -> list[Sample]:
    """All samples of a run; a case that is damaged or is no sweep's has none.

    Raises:
        LabUsageError: the folder holds no run.
    """
    found: list[Sample] = []
    for case in read_run(run).get("cases", []):
        if not case.get("folder"):
            continue
        try:
            timeline = Timeline.load(run / case["folder"] / "timeline.jsonl")
        except (OSError, ValueError):
            continue
        found += of_case(timeline)
    return found


def of_case(timeline: Timeline) -> Iterator[Sample]:
    """The samples of one guest: of the updates that completed."""
    points = timeline.of("pause.point")
    told = {int(e.data["update"]): e for e in timeline.of("pause.sample")}
    for update in updates(timeline) if points else ():
        if update.outcome == "ok" and update.number in told:
            yield _sample(timeline, update, Point.parse(str(points[0].data["name"])), told[update.number])


def _sample(timeline: Timeline, update: Update, point: Point, told: Event) -> Sample:
    by_name = {p.name: p for p in pauses(timeline, update)}
    found = {
        short: next((p for name, p in by_name.items() if name.startswith(full)), None)
        for short, full in CLOCKS.items()
    }
    if (gap := vcpu_gap(timeline, update)) is None:
        found["host"] = None
    still = standstill(timeline, update)
    return Sample(
        point=point,
        update=update.number,
        mode=str(told.data["mode"]),
        first=bool(told.data["first"]),
        witnesses=frozenset(told.data["witnesses"]),
        turn=int(told.data["turn"]),
        clocks={short: p.seconds for short, p in found.items() if p is not None},
        resolutions={
            short: p.resolution_s
            for short, p in found.items()
            if p is not None and p.resolution_s is not None
        },
        phases=known(phases(timeline, update)) if gap else {},
        still_s=still[0] if still else None,
        effort=_effort(timeline, update),
        yardstick_s=int(told.data["yardstick_ns"]) / 1e9 if "yardstick_ns" in told.data else None,
    )


def _effort(timeline: Timeline, update: Update) -> dict[str, float]:
    told = timeline.of("agent.effort", update=update.number)
    return (
        {name: ns / told[0].data["window_ns"] for name, ns in told[0].data["threads"].items()} if told else {}
    )


def select(samples: Iterable[Sample], point: Point, mode: str) -> list[Sample]:
    """Those of one point and mode whose phases can be known, but for the first of the guest."""
    return [s for s in samples if (s.point, s.mode, s.first) == (point, mode, False) and s.timed]


def by_point(samples: Iterable[Sample]) -> dict[Point, list[Sample]]:
    """The same, a list for each point."""
    found: dict[Point, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.point, []).append(sample)
    return found
