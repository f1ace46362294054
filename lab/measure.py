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
from lab.checkers.pauses import pauses
from lab.checkers.tables import PINS, whole
from lab.checkers.updates import Update, updates
from lab.timeline import Timeline

_TABLES = {
    "nic.to-guest.sent": "far",
    "nic.to-guest.received": "guest",
    "nic.from-guest.sent": "guest",
    "nic.from-guest.received": "far",
}


@dataclass(frozen=True)
class Measurement:
    """One number.

    clock: by whose time it was taken: controller, host, guest, far, qemu
    """

    name: str
    value: float
    unit: str
    clock: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def measure(timeline: Timeline) -> list[Measurement]:
    """All pauses by clock, and what was counted, in a fixed order."""
    return [*_updates(timeline), *_blocks(timeline), *_pins(timeline), *_processes(timeline)]


def _updates(timeline: Timeline) -> Iterator[Measurement]:
    for update in updates(timeline):
        if update.end is None:
            continue
        took_s = (update.end.t_ns - update.invoke.t_ns) / 1e9
        yield Measurement(f"{update.name}: invoke to {update.outcome}", took_s, "s", "controller")
        for pause in pauses(timeline, update):
            yield Measurement(f"{update.name}: pause, {pause.name}", pause.seconds, "s", pause.clock)


def _blocks(timeline: Timeline) -> Iterator[Measurement]:
    for table, clock in _TABLES.items():
        columns = whole(Findings(""), timeline, table)
        if columns is None:
            continue
        blocks = len(columns["t_ns"])
        yield Measurement(f"{table}: blocks", blocks, "blocks", clock)
        seconds = int(columns["t_ns"][-1] - columns["t_ns"][0]) / 1e9
        if seconds > 0:
            yield Measurement(f"{table}: rate", (blocks - 1) / seconds, "blocks/s", clock)


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
