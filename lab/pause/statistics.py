"""The statistics of a sweep: median, spread, slope with its confidence interval. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

BOOTSTRAPS = 2000
SEED = 1
CONFIDENCE = 0.95
PAIRS_AT_ONCE = 1 << 20
"""A large sweep's pairs, all at once, would be gigabytes."""
FEWEST = 3
"""An interval out of fewer values would look sure of what nobody knows."""
METHOD = (
    f"median and interquartile range; slope by Theil and Sen (the median of the slopes of all pairs), its "
    f"{CONFIDENCE:.0%} interval by {BOOTSTRAPS} bootstraps within each memory size"
)


@dataclass(frozen=True)
class Series:
    """Values of one kind."""

    values: tuple[float, ...]

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def median(self) -> float:
        return float(np.median(self.values))

    @property
    def quartiles(self) -> tuple[float, float]:
        """The middle half lies between them (numpy's linear method)."""
        low, high = np.percentile(self.values, [25, 75])
        return float(low), float(high)

    def as_json(self) -> dict[str, object]:
        low, high = self.quartiles
        return {
            "n": self.n,
            "median": round(self.median, 6),
            "q1": round(low, 6),
            "q3": round(high, 6),
            "values": [round(value, 6) for value in self.values],
        }


@dataclass(frozen=True)
class Slope:
    """How y grows with x, and the interval that holds it with `CONFIDENCE`."""

    per_unit: float
    low: float
    high: float
    n: int

    @property
    def seen(self) -> bool:
        """Whether it differs from none at all."""
        return self.low > 0 or self.high < 0

    def as_json(self) -> dict[str, object]:
        return {name: round(float(value), 6) for name, value in vars(self).items()}


def theil_sen(x: Sequence[float], y: Sequence[float]) -> float | None:
    """The median slope of all pairs that differ in x; None if none does."""
    found = _theil_sens(np.asarray(x, float), np.asarray([y], float))
    return None if found is None else float(found[0])


def slope(groups: Sequence[tuple[float, Sequence[float]]]) -> Slope | None:
    """Of values in groups of one x each: [(x, values)]; None without two x of `FEWEST` values."""
    full = [(x, list(values)) for x, values in groups if len(values) >= FEWEST]
    found = theil_sen(*_flat(full))
    if found is None:
        return None
    random = np.random.default_rng(SEED)
    drawn = np.hstack([random.choice(values, (BOOTSTRAPS, len(values))) for _, values in full])
    slopes = _theil_sens(np.asarray(_flat(full)[0]), drawn)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(slopes, [tail, 100 - tail]) if slopes is not None else (found, found)
    return Slope(found, float(low), float(high), drawn.shape[1])


def _theil_sens(x: Numbers, draws: Numbers) -> Numbers | None:
    """For each row of `draws`, values at `x`, the median slope of all pairs that differ in x."""
    one, other = np.triu_indices(len(x), 1)
    apart = x[one] != x[other]
    if not apart.any():
        return None
    one, other = one[apart], other[apart]
    run = x[other] - x[one]
    at_once = max(1, PAIRS_AT_ONCE // len(run))
    parts = (draws[start : start + at_once] for start in range(0, len(draws), at_once))
    return np.hstack([np.median((part[:, other] - part[:, one]) / run, axis=1) for part in parts])


def ratio(one: Sequence[float], other: Sequence[float]) -> tuple[float, float, float] | None:
    """The ratio of two medians and its interval, by bootstraps; None with fewer than `FEWEST` of one."""
    if min(len(one), len(other)) < FEWEST:
        return None
    random = np.random.default_rng(SEED)
    a = np.median(random.choice(one, (BOOTSTRAPS, len(one))), axis=1)
    b = np.median(random.choice(other, (BOOTSTRAPS, len(other))), axis=1)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(a / b, [tail, 100 - tail])
    return float(np.median(one) / np.median(other)), float(low), float(high)


def paired(pairs: Sequence[tuple[float, float]]) -> tuple[float, float, float] | None:
    """The median of the ratios of pairs, and its interval by bootstraps of whole pairs; None with too few.

    What both of a pair have in common, as a machine that is slower for a while, is no part of it.
    """
    if len(pairs) < FEWEST:
        return None
    ratios = np.array([one / other for one, other in pairs])
    drawn = np.random.default_rng(SEED).choice(ratios, (BOOTSTRAPS, len(ratios)))
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(np.median(drawn, axis=1), [tail, 100 - tail])
    return float(np.median(ratios)), float(low), float(high)


def _flat(groups: Sequence[tuple[float, Sequence[float]]]) -> tuple[list[float], list[float]]:
    pairs = [(x, y) for x, values in groups for y in values]
    return [x for x, _ in pairs], [y for _, y in pairs]
