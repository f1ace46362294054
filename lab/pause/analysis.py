"""From samples to numbers: a row a point and mode, slopes over memory, the recorder's own cost. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lab.pause.plan import Point
from lab.pause.samples import CLOCKS, Sample, select
from lab.pause.statistics import METHOD, Series, Slope, paired, slope

MIB_PER_GIB = 1024


@dataclass(frozen=True)
class Row:
    """What was measured of one point by one mode, the first update of each guest left out.

    pause:  by the bench host's kernel, in seconds
    clocks: by each clock
    phases: name -> series, in the order in which they follow each other
    still:  for how long the guest's clock stood still
    yardstick: how fast the bench host was, by the time that a fixed piece of work took
    """

    point: Point
    mode: str
    pause: Series
    clocks: Mapping[str, Series]
    phases: Mapping[str, Series]
    resolutions: Mapping[str, float]
    still: Series | None
    yardstick: Series | None

    def phase_s(self, *names: str) -> float:
        """The medians of some phases together; what is unknown counts nothing."""
        return sum(self.phases[name].median for name in names if name in self.phases)

    def as_json(self) -> dict[str, Any]:
        return {
            "point": str(self.point),
            "mode": self.mode,
            "pause_s": self.pause.as_json(),
            "clocks_s": {name: series.as_json() for name, series in self.clocks.items()},
            "resolutions_s": {name: round(value, 6) for name, value in self.resolutions.items()},
            "phases_s": {name: series.as_json() for name, series in self.phases.items()},
            "guest_clock_stood_still_s": self.still.as_json() if self.still else None,
            "yardstick_s": self.yardstick.as_json() if self.yardstick else None,
        }


@dataclass(frozen=True)
class Growth:
    """How a mode's pause grows with memory, in seconds per GiB.

    of:    "pause" or a phase
    apart: how many times slower the bench host was at one size than at another; None if nobody looked
    """

    mode: str
    point: Point
    of: str
    slope: Slope
    apart: float | None

    def as_json(self) -> dict[str, Any]:
        ms = {name: round(value * 1000, 3) for name, value in vars(self.slope).items() if name != "n"}
        like = str(self.point).split("-", 1)[1]
        told = {"mode": self.mode, "like": like, "of": self.of, "ms_per_gib": ms, "n": self.slope.n}
        return told | {"bench_speed_apart": round(self.apart, 3) if self.apart else None}


@dataclass(frozen=True)
class Cost:
    """Of some witnesses: the pause by QEMU's STOP and RESUME with them and without any, in one guest.

    ratio:  of the two, update by update, each with its neighbour
    effort: thread of the host agent -> its median share of one processor meanwhile
    """

    point: Point
    witnesses: tuple[str, ...]
    seen: Series
    bare: Series
    ratio: tuple[float, float, float]
    effort: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        value, low, high = self.ratio
        return {
            "point": str(self.point),
            "witnesses": list(self.witnesses),
            "clock": CLOCKS["qmp"],
            "with_s": self.seen.as_json(),
            "without_s": self.bare.as_json(),
            "agent_threads": {name: round(share, 4) for name, share in self.effort.items()},
            "ratio": round(value, 4),
            "low": round(low, 4),
            "high": round(high, 4),
        }


@dataclass(frozen=True)
class Analysis:
    """Everything that a sweep says."""

    rows: Sequence[Row]
    growths: Sequence[Growth]
    costs: Sequence[Cost]

    def row(self, point: Point, mode: str) -> Row | None:
        return next((row for row in self.rows if (row.point, row.mode) == (point, mode)), None)

    @property
    def modes(self) -> list[str]:
        return list(dict.fromkeys(row.mode for row in self.rows))

    @property
    def points(self) -> list[Point]:
        return list(dict.fromkeys(row.point for row in self.rows if not row.point.cost))

    def as_json(self) -> dict[str, Any]:
        return {
            "method": METHOD,
            "rows": [row.as_json() for row in self.rows],
            "growth": [growth.as_json() for growth in self.growths],
            "cost": [cost.as_json() for cost in self.costs],
        }


def analyse(samples: Sequence[Sample]) -> Analysis:
    """All numbers of a sweep."""
    pairs = dict.fromkeys((s.point, s.mode) for s in samples)
    rows = [row for point, mode in pairs if (row := _row(samples, point, mode)) is not None]
    return Analysis(rows, _growths(samples), _costs(samples))


def _row(samples: Sequence[Sample], point: Point, mode: str) -> Row | None:
    mine = [s for s in select(samples, point, mode) if s.pause_s is not None]
    if not mine:
        return None
    names = dict.fromkeys(name for s in mine for name in s.phases)
    still = tuple(s.still_s for s in mine if s.still_s is not None)
    yardsticks = tuple(s.yardstick_s for s in mine if s.yardstick_s is not None)
    resolutions = {name: max((s.resolutions.get(name, 0.0) for s in mine), default=0.0) for name in CLOCKS}
    return Row(
        point,
        mode,
        Series(tuple(s.pause_s for s in mine if s.pause_s is not None)),
        {n: Series(v) for n in CLOCKS if (v := tuple(s.clocks[n] for s in mine if n in s.clocks))},
        {name: Series(tuple(s.phases[name] for s in mine if name in s.phases)) for name in names},
        {name: value for name, value in resolutions.items() if value},
        Series(still) if still else None,
        Series(yardsticks) if yardsticks else None,
    )


def apart(yardsticks: Sequence[Series | None]) -> float | None:
    """How many times slower the bench host was in one guest than in another; None if nobody looked."""
    medians = [series.median for series in yardsticks if series is not None]
    return max(medians) / min(medians) if len(medians) == len(yardsticks) > 0 else None


def _growths(samples: Sequence[Sample]) -> list[Growth]:
    found = []
    alike = dict.fromkeys((replace(s.point, memory_mib=0), s.mode) for s in samples if not s.point.cost)
    for like, mode in alike:
        mine = [
            s for s in samples if (replace(s.point, memory_mib=0), s.mode, s.first) == (like, mode, False)
        ]
        for of in ("pause", *dict.fromkeys(name for s in mine for name in s.phases)):
            groups: dict[float, list[float]] = {}
            for s in mine:
                value = s.pause_s if of == "pause" else s.phases.get(of)
                if value is not None:
                    groups.setdefault(s.point.memory_mib / MIB_PER_GIB, []).append(value)
            if (grown := slope(list(groups.items()))) is not None:
                found.append(Growth(mode, like, of, grown, _speeds_apart(mine)))
    return found


def _speeds_apart(samples: Sequence[Sample]) -> float | None:
    sizes: dict[int, list[float]] = {}
    for s in samples:
        sizes.setdefault(s.point.memory_mib, []).extend([] if s.yardstick_s is None else [s.yardstick_s])
    return apart([Series(tuple(seen)) if seen else None for seen in sizes.values()])


def _costs(samples: Sequence[Sample]) -> list[Cost]:
    """Of all witnesses together, then of each alone."""
    found = []
    for point in dict.fromkeys(s.point for s in samples if s.point.cost):
        mine = [s for s in samples if s.point == point and not s.first and "qmp" in s.clocks]
        turns: dict[frozenset[str], dict[int, float]] = {}
        for s in mine:
            turns.setdefault(s.witnesses, {})[s.turn] = s.clocks["qmp"]
        bare = turns.pop(frozenset(), {})
        for who in sorted(turns, key=lambda who: (-len(who), sorted(who))):
            both = [turn for turn in turns[who] if turn in bare]
            if (compared := paired([(turns[who][turn], bare[turn]) for turn in both])) is not None:
                seen, without = (Series(tuple(times[t] for t in both)) for times in (turns[who], bare))
                effort = _efforts([s for s in mine if s.witnesses == who])
                found.append(Cost(point, tuple(sorted(who)), seen, without, compared, effort))
    return found


def _efforts(samples: Sequence[Sample]) -> dict[str, float]:
    """Median shares of those threads that were there each time, the largest first."""
    names = [set(s.effort) for s in samples if s.effort]
    every = set.intersection(*names) if names else set()
    shares = {name: float(np.median([s.effort[name] for s in samples if s.effort])) for name in every}
    return dict(sorted(shares.items(), key=lambda one: -one[1]))
