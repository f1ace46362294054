"""When something was by the bench host's clock, told by clocks that are compared around each update."""

from lab.checkers.updates import Update
from lab.timeline import Event, Timeline


def wall_to_host(timeline: Timeline, update: Update) -> tuple[int, int] | None:
    """What to add to the host's wall clock, and the error; by the comparison nearest to the update."""
    compared = [s for s in timeline.of("clock.sync", source="host-wall") if "to_host_ns" in s.data]
    if not compared:
        return None
    nearest = min(compared, key=lambda s: abs(s.t_ns - update.invoke.t_ns))
    return int(nearest.data["to_host_ns"]), int(nearest.data["to_host_error_ns"])


def invoked(timeline: Timeline, update: Update) -> tuple[int, int] | None:
    """When the update was begun, by the bench host's clock, and the error."""
    host = _compared(timeline, update, "host", later=False)
    if host is None:
        return None
    return update.invoke.t_ns - int(host.data["offset_ns"]), int(host.data.get("error_ns", 0))


def woken(timeline: Timeline, update: Update) -> tuple[int, int] | None:
    """When the guest found itself awake again, by the bench host's clock, and the error."""
    said = [e for e in timeline.of("guest.resumed") if update.invoke.index < e.index < update.until]
    behind = _behind(timeline, update, later=True)
    if not said or said[0].data.get("error") or behind is None:
        return None
    return int(said[0].data["t_src_ns"]) + behind[0], behind[1]


def _compared(timeline: Timeline, update: Update, source: str, *, later: bool) -> Event | None:
    """The comparison of a clock with the controller's that is next to the update, before or after it."""
    syncs = timeline.of("clock.sync", source=source)
    if later:
        return next((s for s in syncs if update.done.index < s.index < update.until), None)
    return next((s for s in reversed(syncs) if s.index < update.invoke.index), None)


def standstill(timeline: Timeline, update: Update) -> tuple[float, float] | None:
    """For how long the guest's clock stood still at an update, and the error, both in seconds.

    By how much it fell behind the bench host's clock, both compared with the controller's right before and
    after: QEMU saves the guest's clock with its state and sets it when the guest runs again
    (hw/i386/kvm/clock.c).
    """
    before, after = (_behind(timeline, update, later=later) for later in (False, True))
    if before is None or after is None:
        return None
    return (after[0] - before[0]) / 1e9, (after[1] + before[1]) / 1e9


def _behind(timeline: Timeline, update: Update, *, later: bool) -> tuple[int, int] | None:
    """The host's clock minus the guest's, and the error; from the comparisons next to the update."""
    guest, host = (_compared(timeline, update, source, later=later) for source in ("guest", "host"))
    if guest is None or host is None:
        return None
    error_ns = int(guest.data.get("error_ns", 0)) + int(host.data.get("error_ns", 0))
    return int(guest.data["offset_ns"]) - int(host.data["offset_ns"]), error_ns
