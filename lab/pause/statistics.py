"""The statistics of a sweep: median, spread, slope with its confidence interval. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BOOTSTRAPS = 2000
SEED = 1
CONFIDENCE = 0.95
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
    xs, ys = np.asarray(x, float), np.asarray(y, float)
    one, other = np.triu_indices(len(xs), 1)
    apart = xs[one] != xs[other]
    if not apart.any():
        return None
    return float(np.median((ys[other] - ys[one])[apart] / (xs[other] - xs[one])[apart]))


def slope(groups: Sequence[tuple[float, Sequence[float]]]) -> Slope | None:
    """Of values in groups of one x each: [(x, values)]; None without two x of `FEWEST` values."""
    full = [(x, list(values)) for x, values in groups if len(values) >= FEWEST]
    found = theil_sen(*_flat(full))
    if found is None:
        return None
    random = np.random.default_rng(SEED)
    drawn = [
        theil_sen(*_flat([(x, list(random.choice(values, len(values)))) for x, values in full]))
        for _ in range(BOOTSTRAPS)
    ]
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile([d for d in drawn if d is not None], [tail, 100 - tail])
    return Slope(found, float(low), float(high), sum(len(values) for _, values in full))


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
