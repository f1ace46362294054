"""The trace witness: IOMMU events, execs and the gaps of vCPUs, out of an ftrace instance of our own.

Source: Linux Documentation/trace/ftrace.rst (instances, trace_pipe, trace_marker), trace/events.rst.
"""

import os
import re
import select
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ..rpc import AgentError, Wire
from . import probes, vcpu_gaps
from .effort import Effort
from .journal import Entry, Journal
from .pace import Pace

_T = TypeVar("_T")

TRACEFS = Path("/sys/kernel/tracing")
KIND = "trace.instance"
EVENTS = ("iommu", "sched/sched_process_exec")
"""Folders below events/ that are switched on."""

EXTRAS = ("sched/sched_prepare_exec", probes.GROUP)
"""Those that a kernel may not have: the last moment of the old program (Linux 6.10), and our kprobes."""

FORWARDED = 200
"""Of each kind of event so many are sent one by one; all are counted."""

ORDINARY_S = 0.2
"""So long after an update the vCPUs' ordinary gaps are looked at: what the clock cannot resolve."""

_MARK = "tracing_mark_write"
_AWAKE_S = 5.0
_POLL_MS = 100
_LINE = re.compile(
    r"\s*(?P<task>.+)-(?P<pid>\d+)\s+\[(?P<cpu>\d+)\]\s+\S+\s+(?P<s>\d+)\.(?P<us>\d{6}):\s(?P<name>[^:]+):\s?(?P<text>.*)"
)


@dataclass(frozen=True)
class TraceLine:
    """One event. t_ns: CLOCK_MONOTONIC, in whole microseconds, for the trace clock is "mono"."""

    name: str
    t_ns: int
    task: str
    pid: int
    cpu: int
    text: str

    @property
    def fields(self) -> dict[str, str]:
        """The event's key=value pairs, who caused it, and its whole text."""
        return (
            {"pid": str(self.pid)}
            | dict(re.findall(r"(\w+)=(\S+)", self.text))
            | {"task": self.task, "text": self.text}
        )


def parsed(line: str) -> TraceLine | None:
    """A line of trace_pipe; None for one that is no event, like "CPU:0 [LOST 7 EVENTS]"."""
    if (m := _LINE.fullmatch(line)) is None:
        return None
    t_ns = int(m["s"]) * 1_000_000_000 + int(m["us"]) * 1000
    return TraceLine(m["name"], t_ns, m["task"], int(m["pid"]), int(m["cpu"]), m["text"])


def lost(stats: Iterable[str]) -> int:
    """Events that the ring buffers had no room for; `stats`: the texts of per_cpu/cpu*/stats."""
    found = (re.findall(r"^(?:overrun|commit overrun|dropped events): (\d+)", text, re.M) for text in stats)
    return sum(int(number) for numbers in found for number in numbers)


def remove(entry: Entry) -> None:
    """Undo KIND."""
    vcpu_gaps.switch_off(Path(entry.what))
    with suppress(FileNotFoundError):
        Path(entry.what).rmdir()


class TraceWatch:
    """Traces from construction to `stop`: event "trace.event" each, "trace.close" with the counts at the end.

    Before that "trace.vcpu_gap" {vcpu, gap_ns, end_ns, entries, ordinary_ns}, the longest time that each vCPU
    did not run. What this kernel cannot trace is named in "trace.open" {missing: {what: reason}}.

    At last "agent.effort" {window_ns, threads: {name: ns}}: the CPU time that our threads took meanwhile.

    events: whether events are traced; without them nothing is but the gaps
    gaps:   whether the gaps of vCPUs are looked for

    That it was awake is proved: a marker written at the start and one at the end must come back.

    Raises:
        AgentError: no tracefs, not root, or the first marker does not come back.
    """

    def __init__(
        self,
        wire: Wire,
        journal: Journal,
        update: int,
        tracefs: Path = TRACEFS,
        *,
        events: bool = True,
        gaps: bool = True,
        pace: Pace | None = None,
    ) -> None:
        self._pace = pace or Pace()
        self._events, self._gaps = events, gaps
        self._wire, self._journal, self._update = wire, journal, update
        self._folder = tracefs / "instances" / "cprlab"
        self._counts: Counter[str] = Counter()
        self._marks: set[str] = set()
        self._marked = threading.Condition()
        self._stop = threading.Event()
        self._missing: dict[str, str] = {}
        self._probes = self._optional("kprobes", lambda: probes.define(journal, tracefs)) if events else None
        self._entry = journal.begin(KIND, str(self._folder), {}, {})
        try:
            self._systems = self._switch_on()
            self._pipe = os.open(self._folder / "trace_pipe", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self._undo()
            raise AgentError(
                f"cannot trace: {error}; is tracefs mounted on {tracefs}, are we root?"
            ) from None
        # before the thread runs: what is counted must lie between trace.open and trace.close
        wire.event("trace.open", update=update, missing=self._missing)
        self._thread = threading.Thread(target=self._run, name="trace", daemon=True)
        self._thread.start()
        self._prove_awake("open")
        self._effort = Effort()

    def stop(self) -> dict[str, Any]:
        """End; everything traced until now is sent when this returns {counts, lost}."""
        effort = self._effort.report()
        self._prove_awake("close")
        self.abandon()
        counts = {name: n for name, n in self._counts.items() if name != _MARK}
        stats = [path.read_text() for path in self._folder.glob("per_cpu/cpu*/stats")]
        report = {"counts": counts, "lost": lost(stats)}
        self._tell_gaps()  # not before: it empties the buffers
        self._journal.undo(self._entry)
        if self._probes is not None:
            self._journal.undo(self._probes)
        self._wire.event("trace.close", update=self._update, **report)
        self._wire.event("agent.effort", update=self._update, **effort)
        return report

    def abandon(self) -> None:
        """End without a word."""
        self._stop.set()
        self._thread.join(2.0)

    def _undo(self) -> None:
        for entry in (self._entry, self._probes):
            with suppress(AgentError, OSError):
                if entry is not None:
                    self._journal.undo(entry)

    def _optional(self, what: str, do: Callable[[], _T]) -> _T | None:
        try:
            return do()
        except OSError as error:
            self._missing[what] = str(error)
            return None

    def _tell_gaps(self) -> None:
        if not self._gaps or "vcpu_gaps" in self._missing:
            return
        longest = vcpu_gaps.read(self._folder)
        vcpu_gaps.clear(self._folder)
        time.sleep(ORDINARY_S)
        ordinary = {gap["vcpu"]: gap["gap_ns"] for gap in vcpu_gaps.read(self._folder)}
        for gap in longest:
            self._wire.event(
                "trace.vcpu_gap", update=self._update, ordinary_ns=ordinary.get(gap["vcpu"]), **gap
            )

    def _switch_on(self) -> Mapping[str, str]:
        """Make the instance, switch its events on, and return event name -> "system:name"."""
        with suppress(FileExistsError):
            self._folder.mkdir()
        (self._folder / "trace_clock").write_text("mono")
        systems: dict[str, str] = {}
        for event in EVENTS if self._events else ():
            systems |= self._enable(event)
        for event in EXTRAS if self._events else ():
            systems |= self._optional(event, partial(self._enable, event)) or {}
        if self._gaps:
            self._optional("vcpu_gaps", lambda: vcpu_gaps.switch_on(self._folder))
        return systems

    def _enable(self, event: str) -> dict[str, str]:
        enabled = self._folder / "events" / event
        (enabled / "enable").write_text("1")
        names = [enabled] if "/" in event else [path for path in enabled.iterdir() if path.is_dir()]
        return {path.name: f"{path.parent.name}:{path.name}" for path in names}

    def _prove_awake(self, when: str) -> None:
        mark = f"cprlab {when} {self._update}"
        (self._folder / "trace_marker").write_text(mark)
        with self._marked:
            if not self._marked.wait_for(lambda: mark in self._marks, _AWAKE_S):
                reason = f"the marker {mark!r} did not come back in {_AWAKE_S:g} s"
                self._wire.event("witness.blind", witness="trace", reason=reason)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        rest = b""
        try:
            while not self._stop.is_set():
                poll.poll(_POLL_MS)
                with suppress(BlockingIOError):
                    *lines, rest = (rest + os.read(self._pipe, 1 << 16)).split(b"\n")
                    for line in lines:
                        self._take(line.decode(errors="replace"))
                self._pace.rest()
        except OSError as error:
            self._wire.event("witness.blind", witness="trace", reason=f"{error}")
        finally:
            os.close(self._pipe)

    def _take(self, line: str) -> None:
        if (event := parsed(line)) is None:
            return
        name = self._systems.get(event.name, event.name)
        self._counts[name] += 1
        if name == _MARK:
            with self._marked:
                self._marks.add(event.text)
                self._marked.notify_all()
        elif self._counts[name] <= FORWARDED:
            self._wire.event("trace.event", name=name, t_src_ns=event.t_ns, fields=event.fields)
