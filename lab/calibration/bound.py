"""How often clean runs may cry wolf, by how often they did not."""

from collections.abc import Mapping
from math import comb
from typing import Any

CONFIDENCE = 0.95


def rate_below(alarms: int, runs: int, confidence: float = CONFIDENCE) -> float:
    """The upper bound on the rate of false alarms per run that `alarms` of `runs` leave, 1.0 without a run.

    One-sided and exact. Source: C. J. Clopper, E. S. Pearson, Biometrika 26 (1934), 404 to 413; without an
    alarm it is 1 - (1 - confidence)^(1/runs), about 3/runs.
    """
    if runs <= 0 or alarms >= runs:
        return 1.0
    low, high = alarms / runs, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _at_most(alarms, runs, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def in_words(bound: Mapping[str, Any]) -> str:
    """The bound of a certificate as a sentence."""
    if not bound["clean_runs"]:
        return "no clean run was done: nothing is known of false alarms"
    return (
        f"{bound['alarms']} of {bound['clean_runs']} clean runs were not green: fewer than "
        f"{100 * bound['rate_below']:.1f}% of clean runs cry wolf, with {100 * bound['confidence']:.0f}% "
        "confidence"
    )


def _at_most(alarms: int, runs: int, rate: float) -> float:
    return sum(comb(runs, k) * rate**k * (1 - rate) ** (runs - k) for k in range(alarms + 1))
