"""Column tables as checkers read them: whole, or a gap; and passes over 10⁸ rows in pieces."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.checkers.findings import Findings
from lab.columns import BLOCKS, read
from lab.timeline import Timeline

Column = NDArray[Any]
PINS = ("t_ns", "epoch", "pinned")
_PIECE = 1 << 20


def whole(
    found: Findings, timeline: Timeline, table: str, wanted: tuple[str, ...] = tuple(BLOCKS)
) -> Mapping[str, Column] | None:
    """A table with rows and all wanted columns; None, and a gap that says why, otherwise."""
    try:
        columns = read(timeline.tables, table)
    except (ValueError, OSError, EOFError) as damage:
        found.gap(f"the table {table} is damaged: {damage}")
        return None
    if columns is None:
        found.gap(f"there is no table {table}")
        return None
    if missing := [name for name in wanted if name not in columns]:
        found.gap(f"the table {table} lacks {', '.join(missing)}")
        return None
    if not len(columns[wanted[0]]):
        found.gap(f"the table {table} is empty")
        return None
    return columns


class Times:
    """When the rows of tables were written, of those that are in order; each is looked through once."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self._known: dict[str, Column | None] = {}

    def of(self, table: str) -> Column | None:
        """None if there is no such table, or its clock runs backwards."""
        if table not in self._known:
            columns = whole(Findings(""), self.timeline, table)
            in_order = columns is not None and ascending(columns["t_ns"])
            self._known[table] = columns["t_ns"] if columns is not None and in_order else None
        return self._known[table]


def pieces(rows: int, overlap: int = 0) -> Iterator[slice]:
    """Slices that cover `rows`, each starting `overlap` rows before the end of the last."""
    for start in range(0, rows, _PIECE):
        yield slice(max(0, start - overlap), min(rows, start + _PIECE))


def ascending(column: Column, *, strictly: bool = False) -> bool:
    """Whether no value (strictly: none or the same) is followed by a smaller one."""
    compare = np.greater if strictly else np.greater_equal
    return all(bool(compare(c[1:], c[:-1]).all()) for c in (column[p] for p in pieces(len(column), 1)))


def contiguous(column: Column) -> bool:
    """Whether every value is its predecessor plus one."""
    return all(bool((c[1:] - c[:-1] == 1).all()) for c in (column[p] for p in pieces(len(column), 1)))


def equal(one: Column, other: Column) -> bool:
    """Whether two columns hold the same values."""
    return len(one) == len(other) and all(bool(np.array_equal(one[p], other[p])) for p in pieces(len(one)))


def counts(column: Column) -> Counter[int]:
    """How often each value occurs; quick for long runs of the same value."""
    total: Counter[int] = Counter()
    for piece in (column[p] for p in pieces(len(column))):
        edges = np.flatnonzero(piece[1:] != piece[:-1]) + 1
        starts = np.concatenate(([0], edges))
        lengths = np.diff(np.concatenate((starts, [len(piece)])))
        values, which = np.unique(piece[starts], return_inverse=True)
        sums = np.bincount(which, weights=lengths).astype(np.int64)
        total.update(dict(zip(values.tolist(), sums.tolist(), strict=True)))
    return total


def between(t: Column, start_ns: int, end_ns: int) -> slice:
    """The rows of an ascending time column with start <= t <= end."""
    return slice(int(np.searchsorted(t, start_ns, "left")), int(np.searchsorted(t, end_ns, "right")))


def longest_gap_ns(t: Column, start_ns: int, end_ns: int) -> int | None:
    """The longest time between two neighbouring rows any part of which lies in the window.

    None if no row lies at or before the start, or none at or after the end: then nobody
    knows how long it was quiet.
    """
    first = int(np.searchsorted(t, start_ns, "right")) - 1
    last = int(np.searchsorted(t, end_ns, "left"))
    if first < 0 or last >= len(t):
        return None
    seen = t[first : last + 1]
    return int(np.diff(seen).max()) if len(seen) > 1 else 0
