"""What the picture of a case shows: the timeline and its tables as seconds on one axis."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab import columns
from lab.report.clocks import HOST_WALL, Clocks
from lab.streams import GUEST, StreamFacts, streams
from lab.timeline import Event, Timeline

Seconds = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]
Gap = tuple[float, float]


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
    """A case on one time axis; 0 is the first `cpr.invoke`, or the first event without one.

    streams: what its loads declared, in order
    sources: whose clock stamps a table; what is not named is the bench host's
    """

    timeline: Timeline
    clocks: Clocks
    zero_ns: int
    streams: tuple[StreamFacts, ...]
    sources: Mapping[str, str]

    @classmethod
    def of(cls, timeline: Timeline) -> "Recording":
        start = timeline.of("cpr.invoke") or list(timeline.events[:1])
        found = tuple(streams(timeline))
        sources = {s.sent: s.sender for s in found} | {s.received: s.receiver for s in found}
        return cls(timeline, Clocks(timeline.events), start[0].t_ns if start else 0, found, sources)

    @property
    def loads(self) -> list[str]:
        """The names of the loads, in the order they were started."""
        return list(dict.fromkeys(str(e.data.get("load", "?")) for e in self.timeline.of("load.start")))

    def of_load(self, load: str) -> list[StreamFacts]:
        """The streams of one load."""
        return [stream for stream in self.streams if stream.load == load]

    def seconds(self, t_ns: int) -> float:
        """A controller time on the axis."""
        return (t_ns - self.zero_ns) / 1e9

    def when(self, event: Event, source: str) -> float:
        """An event of a source on the axis."""
        return self.seconds(self.clocks.event_ns(event, source))

    def standstills(self) -> list[Gap]:
        """When the guest's clock stood still."""
        return [(self.seconds(start), self.seconds(end)) for start, end in self.clocks.standstills]

    def pause_error_s(self) -> float:
        """By how much the moment may be wrong at which the guest's clock began to stand still."""
        syncs = [self.timeline.of("clock.sync", source=source) for source in (GUEST, HOST_WALL)]
        return sum(max((int(s.data.get("error_ns", 0)) for s in told), default=0) for told in syncs) / 1e9

    def table(self, name: str, window: tuple[float, float]) -> tuple[Seconds, Columns] | str:
        """Times on the axis, in order, with the columns, of about `window`; or why there is nothing.

        Rows are written as they are observed, so that the window is found by bisection and a table
        of 10^8 rows is not read as a whole.
        """
        rows = self._rows(name)
        if isinstance(rows, str):
            return rows
        source = self._source(name)
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
        at = [self._source_ns(self._source(name), float(edge)) for edge in edges]
        return np.asarray(np.maximum(np.diff(np.searchsorted(rows["t_ns"], at)), 0), np.int64)

    def gap(self, stream: StreamFacts, around: tuple[float, float]) -> Gap | None:
        """The longest gap in what a stream received, while its load ran; None if that cannot be told."""
        found = self.table(stream.received, around)
        if isinstance(found, str):
            return None
        return longest_gap(found[0], around[0], self.loaded_until(stream.load, around[1]))

    def _rows(self, name: str) -> Columns | str:
        try:
            rows = columns.read(self.timeline.tables, name)
        except (ValueError, OSError, EOFError) as damage:
            return f"{name} is damaged: {damage}"
        if rows is None or not len(rows.get("t_ns", ())):
            return f"no rows in {name}"
        if not self.clocks.knows(source := self._source(name)):
            return f"{name}: the clock of {source} was never synced"
        return rows

    def _source(self, table: str) -> str:
        return self.sources.get(table, "host")

    def _source_ns(self, source: str, t_s: float) -> int:
        return self.clocks.source_ns(source, self.zero_ns + int(t_s * 1e9))

    def extent(self) -> tuple[float, float]:
        """First and last event."""
        if not self.timeline.events:
            return 0.0, 1.0
        first, last = self.timeline.events[0], self.timeline.events[-1]
        return self.seconds(first.t_ns), max(self.seconds(last.t_ns), self.seconds(first.t_ns) + 0.1)

    def loaded_until(self, load: str | None, end_s: float) -> float:
        """`end_s`, or when a load (None: any) was stopped before: silence from there on means nothing."""
        stops = self.timeline.of("load.stop", **({} if load is None else {"load": load}))
        return min([end_s, *(self.seconds(stop.t_ns) for stop in stops)])

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
        at = recording.seconds(recording.clocks.qemu_ns(event))
        ticks.append(Tick(at, f"QMP {side}", text, text == "failed"))
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


def chardev_names(recording: Recording) -> list[str]:
    """The chardevs of which anything is known."""
    return sorted({str(event.data.get("chardev", "?")) for event in recording.timeline.starting("chardev.")})


def chardev_lines(recording: Recording, chardev: str, window: tuple[float, float]) -> Seconds:
    """When the host received lines from the guest; nothing where that was not recorded."""
    found = recording.table(f"chardev.{chardev}.received", window)
    return np.zeros(0) if isinstance(found, str) else found[0]


def load_ticks(recording: Recording, stream: StreamFacts) -> list[Tick]:
    """What a load told that is not as it should be."""
    ticks = []
    for event in recording.timeline.starting("load."):
        if event.kind not in ("load.anomaly", "load.stalled", "load.behind", "load.unreachable"):
            continue
        if event.data.get("load") != stream.load or event.data.get("stream", stream.name) != stream.name:
            continue
        what = str(event.data.get("what", event.kind.removeprefix("load.")))
        ticks.append(Tick(recording.when(event, stream.receiver), str(stream), what, bad=True))
    return ticks


def unseen(timeline: Timeline, witness: str, what: str) -> str:
    """Why a witness saw nothing of something; "" if it watched."""
    if blind := timeline.of("witness.blind", witness=witness):
        return f"the witness {witness} went blind: {blind[0].data.get('reason', 'no reason given')}"
    return (
        "" if timeline.of("witness.start", witness=witness) else f"no witness watched the {what} in this case"
    )


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
