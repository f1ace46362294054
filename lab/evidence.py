"""Where the evidence of one case goes: its timeline, its column tables, its logs."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lab.columns import Table
from lab.timeline import Recorder


class Evidence:
    """The folder of one case while it is being written; receives what agents send.

    Everything is on disk when a method returns. After `close` late events are dropped.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recorder = Recorder(folder / "timeline.jsonl")
        self._tables: dict[str, Table] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._last_logs: dict[str, str] = {}
        self._exits: dict[int, dict[str, Any]] = {}

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        with self._lock:
            if self._closed:
                return
            self.recorder.record(kind, **data)
            if kind == "log":
                self._last_logs[data["where"]] = data["text"]
            elif kind == "host.exit":
                self._exits[data["pid"]] = dict(data)

    def record(self, kind: str, **data: Any) -> None:
        """Record an event of the controller's own."""
        self.event(kind, data)

    def last_log(self, where: str) -> str:
        """The last log line of `host`, `guest` or `qemu`, for messages; empty if there was none."""
        return self._last_logs.get(where, "")

    def exit_of(self, pid: int) -> dict[str, Any] | None:
        """How a process on the bench host ended, {status, signal}; None while it runs."""
        return self._exits.get(pid)

    def rows(self, table: str, columns: Mapping[str, NDArray[Any]]) -> None:
        with self._lock:
            if self._closed:
                return
            if table not in self._tables:
                dtypes = {name: column.dtype.str for name, column in columns.items()}
                self._tables[table] = Table(self.folder / "columns" / table, dtypes)
            self._tables[table].append(columns)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for table in self._tables.values():
                table.close()
            self.recorder.close()
