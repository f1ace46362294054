"""The timeline: everything the witnesses saw, in the order the controller learned of it.

Standard library only. One JSON object a line in `timeline.jsonl`:
{"index": 0, "t_ns": 123, "kind": "cpr.invoke", "data": {...}}. `t_ns` is the controller's
CLOCK_MONOTONIC at receipt and the only clock that orders; a source's own clock is data
(`t_src_ns`). Bulk evidence lies beside it, one folder a table and one .npy file a column
(`lab/columns.py`); `Timeline.tables` says where.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.errors import OutcomeUnknown, Refused, SutError


@dataclass(frozen=True)
class Event:
    """One thing that was seen."""

    index: int
    t_ns: int
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Timeline:
    """A finished recording, read back from disk.

    tables: folder of the column files; None for a timeline made by hand without bulk evidence
    """

    events: tuple[Event, ...]
    tables: Path | None = field(default=None)

    @classmethod
    def load(cls, path: Path) -> "Timeline":
        """Read `timeline.jsonl`; a last line cut short by a crash is dropped.

        Raises:
            ValueError: if a line but the last is damaged, or indices do not count from 0.
        """
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):
            lines.pop()
        events = []
        for number, line in enumerate(lines):
            try:
                events.append(Event(**json.loads(line)))
            except (ValueError, TypeError) as error:
                raise ValueError(f"{path}:{number + 1}: not an event: {error}") from error
            if events[-1].index != number:
                raise ValueError(f"{path}:{number + 1}: index {events[-1].index}, expected {number}")
        return cls(tuple(events), path.parent / "columns")

    def of(self, kind: str, **data: Any) -> list[Event]:
        """The events of one kind whose data holds all the given values."""
        wanted = data.items()
        return [e for e in self.events if e.kind == kind and all(e.data.get(k) == v for k, v in wanted)]

    def starting(self, prefix: str) -> list[Event]:
        """The events whose kind starts with `prefix`."""
        return [e for e in self.events if e.kind.startswith(prefix)]


class Recorder:
    """The one writer of a timeline: thread-safe, on disk before `record` returns.

    failure: what it could not write; nothing is recorded after that, for what is missing nobody could see.
             Most of those who record are threads that would die of an exception, unheard; so whoever judges
             must ask
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("x", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()
        self._next = 0
        self.failure: OSError | None = None

    def record(self, kind: str, /, **data: Any) -> int:
        """Append one event and return its index; after `close` the case is over, and it is dropped (-1)."""
        with self._lock:
            if self._file.closed or self.failure:
                return -1
            index = self._next
            event = {"index": index, "t_ns": time.monotonic_ns(), "kind": kind, "data": data}
            try:
                self._file.write(json.dumps(event) + "\n")
            except OSError as error:
                self.failure = error
                return -1
            self._next += 1
            return index

    @contextmanager
    def operation(self, kind: str, /, **data: Any) -> Iterator[None]:
        """Record `kind.invoke`, then `kind.ok`, `kind.fail` or `kind.info` (nobody knows).

        Only what the system under test does becomes a record; any other exception goes on.
        """
        self.record(f"{kind}.invoke", **data)
        try:
            yield
        except Refused as refusal:
            self.record(f"{kind}.fail", **data, reason=str(refusal))
        except (OutcomeUnknown, SutError) as unknown:
            self.record(f"{kind}.info", **data, reason=str(unknown))
        else:
            self.record(f"{kind}.ok", **data)

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        with self._lock:
            try:
                self._file.close()
            except OSError as error:  # what it still held
                self.failure = self.failure or error

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
