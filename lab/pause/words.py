"""Numbers of a sweep in words."""

from dataclasses import replace

from lab.pause.analysis import Analysis, Growth, Row
from lab.pause.plan import Point
from lab.pause.statistics import Series

ALIKE = 1.1
"""Guests are compared if a fixed piece of work took the bench host as long, within this."""


def alike(apart_by: float | None) -> bool:
    """Whether the bench host was about as fast for both."""
    return apart_by is not None and apart_by < ALIKE


def speeds(apart_by: float | None) -> str:
    """Why two guests are not compared."""
    if apart_by is None:
        return "nobody looked whether the bench host was equally fast"
    return f"the bench host's own speed differed {apart_by:.2f} times"


def moved(row: Row, other: Row) -> str:
    """The phase that changed most."""
    names = [name for name in row.phases if ":" not in name and name in other.phases]
    if not names:
        return "no phase is known"
    most = max(names, key=lambda name: abs(row.phase_s(name) - other.phase_s(name)))
    return f"most of it in {most}, {1000 * (row.phase_s(most) - other.phase_s(most)):+.0f} ms"


def ms(series: Series) -> str:
    """Median, middle half and n."""
    low, high = series.quartiles
    return f"{1000 * series.median:.0f} ms ({1000 * low:.0f} to {1000 * high:.0f}, n={series.n})"


def share(seconds: float, row: Row) -> str:
    """Of the median pause."""
    return f"{100 * seconds / row.pause.median:.0f}%"


def per_gib(growth: Growth) -> str:
    """The slope and its interval."""
    of = growth.slope
    return f"{1000 * of.per_unit:.0f} ms per GiB (95%: {1000 * of.low:.0f} to {1000 * of.high:.0f})"


def like(point: Point) -> str:
    """What points of several sizes have in common."""
    pages = "" if point.page == "any" else f"{point.page} pages, "
    teardown = ", async-teardown" if point.async_teardown else ""
    return (
        f"{pages}prealloc {point.prealloc}, {point.devices} NIC{'s' if point.devices != 1 else ''}{teardown}"
    )


def plainness(point: Point) -> tuple[bool, int]:
    """Of several points the plainest, and of these the largest, stands for all."""
    return point == Point(point.memory_mib), point.memory_mib


def differs(compared: tuple[float, float, float]) -> bool:
    """Whether the interval of a ratio leaves out 1."""
    return not compared[1] <= 1 <= compared[2]


def times(compared: tuple[float, float, float]) -> str:
    """A ratio and its interval."""
    return f"{compared[0]:.2f} times as long (95%: {compared[1]:.2f} to {compared[2]:.2f})"


def grown(found: Analysis, growth: Growth) -> str:
    """By how much a pause grows, and which of its phases."""
    where = f"with {like(growth.point)}"
    if not alike(growth.apart):
        why = f"{speeds(growth.apart)} between memory sizes"
        return f"{where} by what cannot be told (n={growth.slope.n}): {why}"
    others = [g for g in found.growths if (g.mode, g.point) == (growth.mode, growth.point)]
    parts = ", ".join(
        f"{g.of} {1000 * g.slope.per_unit:.0f}" for g in others if g.of != "pause" and g.slope.seen
    )
    phases = f"phases whose interval leaves out 0: {parts or 'none'}"
    return f"{where} by {per_gib(growth)} (n={growth.slope.n}; {phases})"


def of_small_pages(one: Growth, other: Growth) -> bool:
    """Whether they differ in their pages alone, those of `one` being as the host makes them."""
    return (one.mode, one.point) == (other.mode, replace(other.point, page="any"))
