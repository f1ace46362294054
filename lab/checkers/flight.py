"""The blocks that were under way while the guest was paused."""

from collections.abc import Mapping

import numpy as np

from lab.checkers.clocks import Span, to_controller, to_source
from lab.checkers.findings import Findings
from lab.checkers.tables import Column
from lab.checkers.updates import Update
from lab.timeline import Timeline

Columns = Mapping[str, Column]


def in_flight(found: Findings, timeline: Timeline, update: Update, sent: Columns, received: Columns) -> str:
    """How many were, in words; a gap if none surely was, or nobody knows when the guest was paused.

    Both tables are of the guest's clock, which stands still from STOP to RESUME: a block that was sent
    before that moment and received after it was the device's while no QEMU ran the guest.
    """
    at = paused_at(timeline, update)
    if at is None:
        found.gap(f"nobody knows when the guest was paused in {update.name}", *update.events)
        return "an unknown number in flight"
    begun = sent["seq"][sent["t_ns"] < at.start_ns - at.error_ns]
    ended = received["seq"][received["t_ns"] > at.end_ns + at.error_ns]
    flying = int(np.count_nonzero(np.isin(ended, begun)))
    if not flying:
        found.gap(f"no block was surely in flight when the guest was paused in {update.name}", *update.events)
    return f"{flying} in flight through the pause"


def paused_at(timeline: Timeline, update: Update) -> Span | None:
    """The moment of the guest's life at which it was paused, on its own clock; None if nobody knows.

    By QEMU's own time of the event STOP, from the host's wall clock to the controller's to the guest's.
    """
    stops = [
        e
        for e in timeline.events[update.invoke.index : update.until]
        if e.kind == "qmp.event" and e.data.get("name") == "STOP" and "t_host_ns" in e.data
    ]
    if not stops:
        return None
    here = to_controller(timeline, "host-wall", int(stops[0].data["t_host_ns"]))
    if here is None:
        return None
    syncs = [s for s in timeline.of("clock.sync", source="guest") if s.index < update.invoke.index]
    guest = to_source(timeline, "guest", here[0])
    if not syncs or guest is None:
        return None
    return Span(guest[0], guest[0], here[1] + guest[1])
