"""Where the evidence of one case goes: its timeline, its column tables, its logs."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lab.columns import Table
from lab.errors import BenchError
from lab.timeline import Recorder

LOGS = {"host": "dmesg-host.log", "guest": "dmesg-guest.log", "qemu": "qemu-old.log"}
"""Where each source of `log` events is written to as plain text, too."""


class Evidence:
    """The folder of one case while it is being written; receives what agents send.

    Everything is on disk when a method returns. Once concluded, the case is over: what comes later
    is dropped, so that whoever judges the record again judges the same.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recorder = Recorder(folder / "timeline.jsonl")
        self._tables: dict[str, Table] = {}
        self._lock = threading.Lock()
        self._grown = threading.Condition(self._lock)
        self._rows: Counter[str] = Counter()
        self._flowing: dict[str, list[str]] = {}
        self._last_words = ExitStack()
        self._closed = False
        self._last_logs: dict[str, str] = {}
        self._exits: dict[int, Mapping[str, Any]] = {}
        self._logs = dict(LOGS)
        self._beats: Counter[int] = Counter()

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        with self._lock:
            if not self._closed:
                self.recorder.record(kind, **data)
                with self._noticing():
                    self._note(kind, data)

    def record(self, kind: str, /, **data: Any) -> None:
        """Record an event of the controller's own."""
        self.event(kind, data)

    def rows(self, table: str, columns: Mapping[str, NDArray[Any]]) -> None:
        with self._lock:
            if self._closed:
                return
            with self._noticing():
                if table not in self._tables:
                    dtypes = {name: column.dtype.str for name, column in columns.items()}
                    self._tables[table] = Table(self.folder / "columns" / table, dtypes)
                self._tables[table].append(columns)
            self._rows[table] += 1
            self._grown.notify_all()

    def last_log(self, where: str) -> str:
        """The last log line of `host`, `guest` or `qemu`, for messages; empty if there was none."""
        return self._last_logs.get(where, "")

    def exit_of(self, pid: int) -> Mapping[str, Any] | None:
        """How a process on the bench host ended, {status, signal}; None while it runs."""
        return self._exits.get(pid)

    def beats_in(self, epoch: int, count: int = 1) -> bool:
        """Whether the guest's heart has beaten so often since an epoch was opened."""
        return sum(beats for of, beats in list(self._beats.items()) if of >= epoch) >= count

    def require_whole(self) -> None:
        """Raises BenchError if something could not be written: what is not on record cannot be judged."""
        if (failure := self.recorder.failure) is not None:
            raise BenchError(
                f"the evidence of this case could not be written: {failure.strerror or failure}; "
                f"make room in {self.folder}, or name another place by --runs-dir"
            )

    def wait_for_flow(self, timeout_s: float) -> bool:
        """Wait until every stream of every load that runs was received once more; whether it was."""
        with self._grown:
            before = {table: self._rows[table] for tables in self._flowing.values() for table in tables}
            return self._grown.wait_for(
                lambda: all(self._rows[table] > number for table, number in before.items()), timeout_s
            )

    def at_end(self, witness: Callable[[], object]) -> None:
        """Call a witness for its last words when the case is concluded."""
        self._last_words.callback(witness)

    def conclude(self) -> None:
        """Hear the last words, then close for good; may be called again."""
        self._last_words.close()
        with self._lock:
            if not self._closed:
                self._closed = True
                with self._noticing():
                    for table in self._tables.values():
                        table.close()
                self.recorder.close()

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        """What cannot be written is told by `require_whole`: a link's thread would die of an exception."""
        try:
            yield
        except OSError as error:
            self.recorder.failure = self.recorder.failure or error

    def _note(self, kind: str, data: Mapping[str, Any]) -> None:
        if kind == "log":
            self._last_logs[data["where"]] = data["text"]
            with (self.folder / self._logs[data["where"]]).open("a", encoding="utf-8") as log:
                log.write(f"<{data['level']}> {data['text']}\n")
        elif kind == "load.start":
            self._flowing[data["load"]] = [f"{data['load']}.{stream}.received" for stream in data["streams"]]
        elif kind == "load.stop":
            self._flowing.pop(data["load"], None)
        elif kind == "guest.heartbeat":
            self._beats[int(data["epoch"])] += 1
        elif kind == "host.exit":
            self._exits[data["pid"]] = data
        elif kind == "host.booted":
            self._exits.clear()  # its processes begin to count anew
        elif kind == "trace.event" and data["name"] == "sched:sched_process_exec":
            self._logs["qemu"] = "qemu-new.log"
