"""A recording made by hand that can still be changed."""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.columns import BLOCKS, Table
from lab.timeline import Event, Timeline

MS = 1_000_000
START_NS = 1_000_000 * MS
"""When the controller's clock stands at 0 ms."""
PINS = {"t_ns": "<i8", "epoch": "<u4", "pinned": "<i8", "vmlck_kb": "<i8", "vmpin_kb": "<i8"}
Spoiler = Callable[["Story"], object]


class Story:
    """Events and tables that can still be changed; `timeline(folder)` makes the recording of them."""

    def __init__(self, updates: int = 1) -> None:
        self.updates = updates
        self.events: list[tuple[float, str, dict[str, Any]]] = []
        self.tables: dict[str, dict[str, NDArray[Any]]] = {}

    def copy(self) -> "Story":
        """One that can be changed apart from this one; arrays are never changed in place."""
        other = Story(self.updates)
        other.events = pickle.loads(pickle.dumps(self.events))
        other.tables = {name: dict(columns) for name, columns in self.tables.items()}
        return other

    # -- telling

    def add(self, ms: float, kind: str, /, **data: Any) -> "Story":
        """Something happens at a time; later than everything already told of the same time."""
        place = sum(1 for event in self.events if event[0] <= ms)
        self.events.insert(place, (ms, kind, data))
        return self

    def table(self, name: str, **columns: Any) -> None:
        dtypes = PINS if name == "pins" else BLOCKS
        self.tables[name] = {c: np.asarray(columns[c], dtypes[c]) for c in dtypes}

    # -- spoiling

    def drop(self, kind: str, /, **data: Any) -> "Story":
        """It was never recorded."""
        self.events = [e for e in self.events if not _is(e, kind, data)]
        return self

    def change(self, kind: str, where: Mapping[str, Any] | None = None, /, **data: Any) -> "Story":
        """It was recorded otherwise."""
        found = [e for e in self.events if _is(e, kind, where or {})]
        assert found, f"there is no {kind} to change"
        for event in found:
            event[2].update(data)
        return self

    def move(self, kind: str, ms: float, /, **data: Any) -> "Story":
        """It happened at another time."""
        found = [e for e in self.events if _is(e, kind, data)]
        assert found, f"there is no {kind} to move"
        self.drop(kind, **data)
        for _, _, told in found:
            self.add(ms, kind, **told)
        return self

    def keep_rows(self, name: str, which: Callable[[dict[str, NDArray[Any]]], Any]) -> "Story":
        """Only rows for which it is true (or whose index it lists) were recorded."""
        rows = which(self.tables[name])
        self.tables[name] = {c: values[rows] for c, values in self.tables[name].items()}
        return self

    def set_rows(self, name: str, column: str, rows: Any, value: Any) -> "Story":
        values = self.tables[name][column].copy()
        values[rows] = value
        self.tables[name][column] = values
        return self

    def without_rows(self, name: str, *rows: int) -> "Story":
        count = len(self.tables[name]["t_ns"])
        return self.keep_rows(name, lambda _: np.delete(np.arange(count), rows))

    def with_order(self, name: str, *rows: int, at: int, of: int) -> "Story":
        """These rows, in this order, in place of as many from `at` as `of` says."""
        order = np.arange(len(self.tables[name]["t_ns"]))
        return self.keep_rows(name, lambda _: np.concatenate((order[:at], rows, order[at + of :])))

    # -- the recording

    def timeline(self, folder: Path) -> Timeline:
        for name, columns in self.tables.items():
            table = Table(folder / name, {c: values.dtype.str for c, values in columns.items()})
            table.append(columns)
            table.close()
        told = [(START_NS + round(ms * MS), kind, data) for ms, kind, data in self.events]
        return Timeline(tuple(Event(i, *event) for i, event in enumerate(told)), folder)


def _is(event: tuple[float, str, dict[str, Any]], kind: str, data: Mapping[str, Any]) -> bool:
    return event[1] == kind and all(event[2].get(k) == v for k, v in data.items())
