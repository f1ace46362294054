"""How often clean runs may cry wolf, by how often they did not."""

from math import comb

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


def _at_most(alarms: int, runs: int, rate: float) -> float:
    return sum(comb(runs, k) * rate**k * (1 - rate) ** (runs - k) for k in range(alarms + 1))
