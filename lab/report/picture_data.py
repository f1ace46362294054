"""What the picture of a case shows: the timeline and its tables as seconds on one axis."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab import columns
from lab.report.clocks import Clocks
from lab.timeline import Event, Timeline

Seconds = NDArray[np.float64]

TABLE_CLOCKS = {
    "nic.to-guest.sent": "far",
    "nic.to-guest.received": "guest",
    "nic.from-guest.sent": "guest",
    "nic.from-guest.received": "far",
    "pins": "host",
}


@dataclass(frozen=True)
class Tick:
    """One thing that happened: when, in which lane, what it is called."""

    t_s: float
    lane: str
    text: str
    bad: bool = False


@dataclass(frozen=True)
class Update:
    """One update: from its invoke to its end, or to the last event when it never ended."""

    number: int
    mode: str
    start_s: float
    end_s: float
    outcome: str
    exec_s: float | None = None


@dataclass(frozen=True)
class Recording:
    """A case on one time axis; 0 is the first `cpr.invoke`, or the first event without one."""

    timeline: Timeline
    clocks: Clocks
    zero_ns: int

    @classmethod
    def of(cls, timeline: Timeline) -> "Recording":
        start = timeline.of("cpr.invoke") or list(timeline.events[:1])
        return cls(timeline, Clocks(timeline.events), start[0].t_ns if start else 0)

    def seconds(self, t_ns: int) -> float:
        """A controller time on the axis."""
        return (t_ns - self.zero_ns) / 1e9

    def when(self, event: Event, source: str) -> float:
        """An event of a source on the axis."""
        return self.seconds(self.clocks.event_ns(event, source))

    def table(self, name: str, window: tuple[float, float]) -> tuple[Seconds, dict[str, NDArray[Any]]] | str:
        """Times on the axis, in order, with the columns, of about `window`; or why there is nothing.

        Rows are written as they are observed, so that the window is found by bisection and a table
        of 10^8 rows is not read as a whole.
        """
        rows = self._rows(name)
        if isinstance(rows, str):
            return rows
        source = TABLE_CLOCKS[name]
        raw = rows["t_ns"]
        edges = [self._source_ns(source, window[0] - 1), self._source_ns(source, window[1] + 1)]
        first, last = (int(n) for n in np.searchsorted(raw, edges))
        first, last = max(first - 1, 0), last + 1  # the rows at the ends of a gap across the edge
        times = (self.clocks.controller_ns(source, raw[first:last]) - self.zero_ns) / 1e9
        order = np.argsort(times, kind="stable")
        return times[order], {column: values[first:last][order] for column, values in rows.items()}

    def counts(self, name: str, edges: Seconds) -> NDArray[np.int64] | None:
        """Rows between each two edges; None if there is nothing to count."""
        rows = self._rows(name)
        if isinstance(rows, str):
            return None
        at = [self._source_ns(TABLE_CLOCKS[name], float(edge)) for edge in edges]
        return np.asarray(np.maximum(np.diff(np.searchsorted(rows["t_ns"], at)), 0), np.int64)

    def _rows(self, name: str) -> dict[str, NDArray[Any]] | str:
        rows = columns.read(self.timeline.tables, name)
        if rows is None or not len(rows["t_ns"]):
            return f"no rows in {name}"
        if not self.clocks.knows(source := TABLE_CLOCKS[name]):
            return f"{name}: the clock of {source} was never synced"
        return rows

    def _source_ns(self, source: str, t_s: float) -> int:
        return self.clocks.source_ns(source, self.zero_ns + int(t_s * 1e9))

    def extent(self) -> tuple[float, float]:
        """First and last event."""
        if not self.timeline.events:
            return 0.0, 1.0
        first, last = self.timeline.events[0], self.timeline.events[-1]
        return self.seconds(first.t_ns), max(self.seconds(last.t_ns), self.seconds(first.t_ns) + 0.1)

    def loaded_until(self, end_s: float) -> float:
        """`end_s`, or when the load was stopped before: its silence from there on means nothing."""
        return min([end_s, *(self.seconds(stop.t_ns) for stop in self.timeline.of("load.stop"))])

    def updates(self) -> list[Update]:
        """The updates in order."""
        invokes = self.timeline.of("cpr.invoke")
        ends = [*(invoke.t_ns for invoke in invokes[1:]), None]
        return [self._update(invoke, limit) for invoke, limit in zip(invokes, ends, strict=False)]

    def _update(self, invoke: Event, limit_ns: int | None) -> Update:
        number = int(invoke.data.get("update", 1))
        later = [e for e in self.timeline.events[invoke.index + 1 :] if limit_ns is None or e.t_ns < limit_ns]
        end = next((e for e in later if e.kind in ("cpr.ok", "cpr.fail", "cpr.info")), None)
        execs = [
            e for e in later if e.kind == "trace.event" and "sched_process_exec" in e.data.get("name", "")
        ]
        return Update(
            number,
            str(invoke.data.get("mode", "cpr")),
            self.seconds(invoke.t_ns),
            self.seconds((end or (later or [invoke])[-1]).t_ns),
            end.kind.removeprefix("cpr.") if end else "never ended",
            self.when(execs[0], "host") if execs else None,
        )


def heartbeats(recording: Recording) -> Seconds:
    """The guest's heartbeats."""
    beats = recording.timeline.of("guest.heartbeat")
    return np.sort(np.array([recording.when(e, "guest") for e in beats], float))


def qmp_ticks(recording: Recording) -> list[Tick]:
    """QMP events and connections of both sides; a MIGRATION event with its status."""
    ticks = []
    for event in recording.timeline.starting("qmp."):
        side = str(event.data.get("side", "?"))
        if event.kind == "qmp.event":
            payload = event.data.get("data") or {}
            name = str(event.data.get("name"))
            text = str(payload.get("status", name)) if name == "MIGRATION" else name
        elif event.kind in ("qmp.connected", "qmp.lost"):
            text = event.kind.removeprefix("qmp.")
        else:
            continue
        ticks.append(Tick(recording.seconds(event.t_ns), f"QMP {side}", text, text == "failed"))
    return ticks


def chardev_ticks(recording: Recording) -> list[Tick]:
    """Chardev connections opening, ending and coming back."""
    return [
        Tick(
            recording.when(event, "host"),
            str(event.data.get("chardev", "?")),
            event.kind.removeprefix("chardev."),
            event.kind == "chardev.eof",
        )
        for event in recording.timeline.starting("chardev.")
        if event.kind != "chardev.report"
    ]


def trace_ticks(recording: Recording) -> list[Tick]:
    """What the host kernel traced, one lane an event name."""
    return [
        Tick(recording.when(e, "host"), name.split(":")[-1], "", "fault" in name)
        for e in recording.timeline.of("trace.event")
        if (name := str(e.data.get("name", "?")))
    ]


def longest_gap(times: Seconds, start_s: float, end_s: float) -> tuple[float, float] | None:
    """The gap that leaves most of `start_s` to `end_s` empty, as a whole: it may begin or end outside.

    What never came again by `end_s`, or at all, has a gap that ends at infinity.
    """
    closed = np.append(times, np.inf)
    shares = np.diff(np.clip(closed, start_s, end_s))
    if not shares.any():
        return None
    at = int(np.argmax(shares))
    return float(closed[at]), float(closed[at + 1])
