"""Measurements: the numbers of a timeline, each with its unit and the clock it was taken by.

Pure, like a checker, but judges nothing: what is not recorded is left out. Accounting that QEMU
is known to get wrong (VmPin after an update with iommufd) is reported here and only here.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lab.checkers.clocks import to_source
from lab.checkers.findings import Findings
from lab.checkers.growth import QUANTITIES
from lab.checkers.pauses import pauses
from lab.checkers.phases import phases
from lab.checkers.tables import PINS, Times, whole
from lab.checkers.updates import Update, updates
from lab.stream_numbers import blocks_inside, in_flight_at_pause, share_with_dma, table
from lab.streams import StreamFacts, streams
from lab.timeline import Timeline


@dataclass(frozen=True)
class Measurement:
    """One number.

    clock:      by whose time it was taken: controller, host, guest, far, qemu
    resolution: what this clock cannot tell apart, in the same unit, measured; None if nobody knows
    """

    name: str
    value: float
    unit: str
    clock: str
    resolution: float | None = None

    def as_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}


def measure(timeline: Timeline) -> list[Measurement]:
    """All pauses by clock, and what was counted, in a fixed order."""
    loads = (number for stream in streams(timeline) for number in _stream(timeline, stream))
    others = (_pins, _processes, _held, _contained)
    return [*_updates(timeline), *loads, *(number for kind in others for number in kind(timeline))]


def _updates(timeline: Timeline) -> Iterator[Measurement]:
    times = Times(timeline)
    for update in updates(timeline):
        if update.end is None:
            continue
        took_s = (update.end.t_ns - update.invoke.t_ns) / 1e9
        yield Measurement(f"{update.name}: invoke to {update.outcome}", took_s, "s", "controller")
        for pause in pauses(timeline, update, times):
            name = f"{update.name}: pause, {pause.name}"
            yield Measurement(name, pause.seconds, "s", pause.clock, pause.resolution_s)
        for phase in phases(timeline, update):
            if phase.seconds is not None:
                name, error_s = f"{update.name}: phase, {phase.name}", 2 * phase.error_ns / 1e9
                yield Measurement(name, phase.seconds, "s", phase.clock, error_s)


def _stream(timeline: Timeline, stream: StreamFacts) -> Iterator[Measurement]:
    """One stream: over the whole case, and at each update. Its longest gaps are among the pauses."""
    sent, received = table(timeline, stream.sent), table(timeline, stream.received)
    if sent is not None:
        blocks, seconds = len(sent["t_ns"]), int(sent["t_ns"][-1] - sent["t_ns"][0]) / 1e9
        yield Measurement(f"{stream}: sent", blocks, "blocks", stream.sender)
        if seconds > 0:
            yield Measurement(f"{stream}: rate reached", (blocks - 1) / seconds, "blocks/s", stream.sender)
    if received is not None:
        blocks = len(received["t_ns"])
        what = "looked at" if stream.sampled else "received"
        yield Measurement(f"{stream}: {what}", blocks, "blocks", stream.receiver)
        if stream.block_bytes is not None and not stream.sampled:
            size = blocks * stream.block_bytes
            yield Measurement(f"{stream}: bytes received", size, "bytes", stream.receiver)
    for update in updates(timeline):
        if update.end is not None:
            yield from _stream_at(timeline, stream, update)


def _stream_at(timeline: Timeline, stream: StreamFacts, update: Update) -> Iterator[Measurement]:
    name = f"{update.name}: {stream}"
    if (inside := blocks_inside(timeline, stream, update)) is not None:
        what = "looked at" if stream.sampled else "received"
        yield Measurement(f"{name}, {what} inside the update", inside, "blocks", stream.receiver)
    if (share := share_with_dma(timeline, stream, update)) is not None and stream.outside:
        yield Measurement(f"{name}, share of the update with DMA", 100 * share, "%", stream.outside[1])
    if (flying := in_flight_at_pause(timeline, stream, update)) is not None:
        yield Measurement(f"{name}, in flight when the guest was paused", flying, "blocks", stream.receiver)


def _pins(timeline: Timeline) -> Iterator[Measurement]:
    columns = whole(Findings(""), timeline, "pins", PINS)
    if columns is None:
        return
    for update in updates(timeline):
        rows = _rows(timeline, columns["t_ns"], update)
        levels = np.asarray(columns["pinned"][rows]) if rows else ()
        if len(levels):
            yield Measurement(f"{update.name}: pinned pages, lowest", int(min(levels)), "pages", "host")
            yield Measurement(f"{update.name}: pinned pages, highest", int(max(levels)), "pages", "host")
            gap_ms = int(np.diff(columns["t_ns"][rows]).max()) / 1e6 if len(levels) > 1 else 0.0
            yield Measurement(f"{update.name}: pins, longest time without a sample", gap_ms, "ms", "host")


def _rows(timeline: Timeline, t: Any, update: Update) -> slice | None:
    if update.end is None:
        return None
    start = to_source(timeline, "host", update.invoke.t_ns)
    end = to_source(timeline, "host", update.end.t_ns, later=True)
    if start is None or end is None:
        return None
    return slice(int(np.searchsorted(t, start[0])), int(np.searchsorted(t, end[0], "right")))


def _processes(timeline: Timeline) -> Iterator[Measurement]:
    for event in timeline.of("host.process"):
        at = f"{event.data.get('when')} update {event.data.get('update')}"
        for field, name in (("vmlck_kb", "VmLck"), ("vmpin_kb", "VmPin"), ("vmrss_kb", "VmRSS")):
            if field in event.data:
                yield Measurement(f"{name} {at}", int(event.data[field]), "kB", "host")
        yield Measurement(f"descriptors {at}", len(event.data.get("fds", ())), "descriptors", "host")


def _held(timeline: Timeline) -> Iterator[Measurement]:
    """What must not add up, after each update; 0 before the first."""
    for event in timeline.of("host.footprint"):
        for one in QUANTITIES:
            value = one.of(event.data)
            yield Measurement(f"update {event.data['update']}: held, {one.name}", value, one.unit, "host")


def _contained(timeline: Timeline) -> Iterator[Measurement]:
    """What the container of QEMU used: before an update, and at most in it."""
    for event in timeline.of("host.container"):
        at, memory, most = (
            f"update {event.data['update']}: container",
            event.data["memory"],
            event.data["most"],
        )
        if event.data["when"] == "before":
            yield Measurement(f"{at}, memory before it", int(memory["current"]), "bytes", "host")
        else:
            yield Measurement(f"{at}, memory at most", int(memory["peak"]), "bytes", "host")
            yield Measurement(f"{at}, descriptors at most", int(most["descriptors"]), "descriptors", "host")
            yield Measurement(f"{at}, QEMUs at most", int(most["qemus"]), "processes", "host")
