"""The blocks that were under way while the guest was paused."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from lab.checkers.clocks import Span, to_controller, to_source
from lab.checkers.tables import Column
from lab.checkers.updates import Update
from lab.timeline import Event, Timeline

Columns = Mapping[str, Column]


def in_flight(timeline: Timeline, update: Update, sent: Columns, received: Columns) -> int | None:
    """How many surely were; None if nobody knows when the guest was paused.

    Both tables are of the guest's clock, which stands still from STOP to RESUME: a block that was sent
    before that moment and received after it was the device's while no QEMU ran the guest.
    """
    at = paused_at(timeline, update)
    if at is None:
        return None
    begun = sent["seq"][sent["t_ns"] < at.start_ns - at.error_ns]
    ended = received["seq"][received["t_ns"] > at.end_ns + at.error_ns]
    return int(np.count_nonzero(np.isin(ended, begun)))


def paused_on_host(timeline: Timeline, update: Update) -> Span | None:
    """From STOP of old QEMU to RESUME of new QEMU, on the host's clock; None if nobody knows.

    QEMU stamps them by the host's wall clock, which the host itself compares with the other one: the
    controller's clock drifts by milliseconds against an emulated host's.
    """
    ends = [_qmp(timeline, update, name) for name in ("STOP", "RESUME")]
    compared = [s for s in timeline.of("clock.sync", source="host-wall") if "to_host_ns" in s.data]
    known = [e for e in ends if e is not None]
    if len(known) < 2 or not compared:
        return None
    times = [_on_host(e, min(compared, key=partial(_distance_ns, e))) for e in known]
    return Span(times[0][0], times[1][0], max(error_ns for _, error_ns in times))


def _distance_ns(one: Event, other: Event) -> int:
    return abs(one.t_ns - other.t_ns)


def _on_host(event: Event, compared: Event) -> tuple[int, int]:
    at_ns = int(event.data["t_host_ns"]) + int(compared.data["to_host_ns"])
    return at_ns, int(compared.data["to_host_error_ns"])


def _qmp(timeline: Timeline, update: Update, name: str) -> Event | None:
    """QEMU's event of this name in an update, if it says when."""
    during = timeline.events[update.invoke.index : update.until]
    said = (e for e in during if e.kind == "qmp.event" and e.data.get("name") == name)
    return next((e for e in said if "t_host_ns" in e.data), None)


def paused_at(timeline: Timeline, update: Update) -> Span | None:
    """The moment of the guest's life at which it was paused, on its own clock; None if nobody knows.

    By QEMU's own time of the event STOP, from the host's wall clock to the controller's to the guest's.
    """
    stop = _qmp(timeline, update, "STOP")
    here = to_controller(timeline, "host-wall", int(stop.data["t_host_ns"])) if stop else None
    if here is None:
        return None
    syncs = [s for s in timeline.of("clock.sync", source="guest") if s.index < update.invoke.index]
    guest = to_source(timeline, "guest", here[0])
    if not syncs or guest is None:
        return None
    return Span(guest[0], guest[0], here[1] + guest[1])
