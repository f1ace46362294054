"""The journal: every change to the host is written down before it is made, so that it can be undone.

One JSON object a line: {"entry": 3, "kind": "pci.driver", "what": "0000:02:00.0", "before": {...},
"after": {...}}, and {"undone": 3} once it is undone. It outlives the agent: the next agent undoes
what a killed one left. Nothing that is journalled outlives the kernel it was done to: an entry of an earlier
boot is only struck out, for what is there now was made by somebody else.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..rpc import AgentError

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
LOCK_WAIT_S = 10.0
"""How long the agent of an earlier, killed controller may take to undo its changes."""


@dataclass(frozen=True)
class Entry:
    """One change: of what kind, to what, what was there before, what it is changed to, in which boot."""

    entry: int
    kind: str
    what: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    boot: str = ""


Undo = Callable[[Entry], None]


class Journal:
    """The changes of this host that are not undone yet; one agent at a time may hold it.

    undo: by kind of change, what brings back `before`. Each must be idempotent, and work when the
          change itself was never made, because the agent died between writing it down and making it
    boot: what tells this boot of the host from others; by default the kernel's boot id
    """

    def __init__(
        self,
        path: Path,
        undo: Mapping[str, Undo],
        lock_wait_s: float = LOCK_WAIT_S,
        boot: str | None = None,
    ) -> None:
        self.path, self._undo, self._lock_wait_s = path, undo, lock_wait_s
        self._boot = BOOT_ID.read_text().strip() if boot is None else boot
        self._fd: int | None = None
        self._open: dict[int, Entry] = {}
        self._next = 1

    def begin(self, kind: str, what: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Entry:
        """Write a change down, on disk when this returns; make it afterwards.

        Raises:
            AgentError: if the journal cannot be written, or another agent holds it.
        """
        if kind not in self._undo:
            raise AgentError(f"nothing can undo a change of kind {kind!r}")
        self.load()
        entry = Entry(self._next, kind, what, before, after, self._boot)
        self._append(asdict(entry))
        self._next += 1
        self._open[entry.entry] = entry
        return entry

    def changes(self, kind: str, what: str) -> list[Entry]:
        """The changes of one thing that are not undone, newest first."""
        return [e for e in self.all_changes(kind) if e.what == what]

    def all_changes(self, kind: str) -> list[Entry]:
        """The changes of one kind that are not undone, newest first."""
        return [e for e in reversed(self._open.values()) if e.kind == kind]

    def undo(self, entry: Entry) -> None:
        """Undo one change, and write that down.

        Raises:
            AgentError, OSError: if it cannot be undone; it stays in the journal.
        """
        if entry.boot in ("", self._boot):
            self._undo[entry.kind](entry)
        self._append({"undone": entry.entry})
        del self._open[entry.entry]
        if not self._open and self._fd is not None:
            os.ftruncate(self._fd, 0)

    def undo_all(self) -> list[dict[str, Any]]:
        """Undo everything, newest first; what fails is reported and does not hold up the rest."""
        undone = []
        for entry in list(reversed(self._open.values())):
            result: dict[str, Any] = {"kind": entry.kind, "what": entry.what, "before": dict(entry.before)}
            try:
                self.undo(entry)
            except (AgentError, OSError) as error:
                result["error"] = str(error)
            undone.append(result)
        return undone

    def load(self) -> None:
        """Take hold of the journal and read what an earlier agent left in it; once."""
        if self._fd is not None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise AgentError(
                f"cannot keep the journal of changes: {error}; run the host agent as root"
            ) from None
        try:
            self._lock(fd)
        except AgentError:
            os.close(fd)
            raise
        self._fd = fd
        for record in self._records():
            self._take(record)

    def close(self) -> None:
        """Let go of the journal, for the next agent; what is not undone stays in it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _lock(self, fd: int) -> None:
        deadline = time.monotonic() + self._lock_wait_s
        while True:
            try:
                return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise AgentError(f"another host agent holds {self.path}: one lab run at a time") from None
                time.sleep(0.05)

    def _records(self) -> Iterator[dict[str, Any]]:
        for line in self.path.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):  # the last line was cut by a crash: its change was never made
                yield json.loads(line)

    def _take(self, record: dict[str, Any]) -> None:
        if "undone" in record:
            self._open.pop(record["undone"], None)
        else:
            entry = Entry(**record)
            self._open[entry.entry] = entry
            self._next = entry.entry + 1

    def _append(self, record: Mapping[str, Any]) -> None:
        assert self._fd is not None
        try:
            # a newline first: a line cut by a crash must not swallow this one
            os.write(self._fd, b"\n" + json.dumps(record).encode() + b"\n")
            os.fsync(self._fd)
        except OSError as error:
            raise AgentError(f"cannot write the journal {self.path}: {error}") from None
