"""The same guest lives on, with its memory.

Source: Linux Documentation/admin-guide/sysctl/kernel.rst, random/boot_id: another boot, another id.
"""

from itertools import pairwise

from lab.checkers.findings import Findings
from lab.checkers.updates import Update, completed, fresh_epoch, seeing
from lab.timeline import Event, Timeline
from lab.verdict import Verdict


def same_guest(timeline: Timeline) -> Verdict:
    """One boot_id throughout, beats that only go up, memory intact, and beats after each update.

    Reads: guest.booted, guest.heartbeat, guest.unreachable, host.exit; load.stop; epoch; cpr.*.
    """
    found = Findings("same_guest")
    done = completed(found, timeline)
    beats = timeline.of("guest.heartbeat")
    ended(found, timeline)
    seeing(found, timeline, "guest-agent")
    _one_boot(found, [*timeline.of("guest.booted"), *beats])
    _beats(found, beats)
    if torn := [e for e in beats if e.data.get("memory_intact") is False]:
        found.defect(f"the guest's memory pattern is damaged in {len(torn)} beats", *torn[:3])
    for update in done:
        _lives(found, timeline, update, beats)
    for lost in timeline.of("guest.unreachable")[:1]:
        found.gap(f"the guest could not be reached: {lost.data.get('reason', 'no reason given')}", lost)
    return found.verdict()


def ended(found: Findings, timeline: Timeline) -> None:
    """QEMU exited before the load was stopped, or was killed by a signal: the guest is lost."""
    stops = timeline.of("load.stop")
    for gone in timeline.of("host.exit"):
        early = bool(timeline.of("cpr.invoke")) and (not stops or gone.index < stops[-1].index)
        if early or gone.data.get("signal"):
            how = gone.data.get("signal") or f"status {gone.data.get('status')}"
            found.defect(f"QEMU ended with {how}: the guest is lost", gone)


def _one_boot(found: Findings, seen: list[Event]) -> None:
    for one, other in pairwise([e for e in seen if e.data.get("boot_id")]):
        if one.data["boot_id"] != other.data["boot_id"]:
            found.defect(f"another boot: {one.data['boot_id']}, then {other.data['boot_id']}", one, other)
            return


def _beats(found: Findings, beats: list[Event]) -> None:
    back = [(a, b) for a, b in pairwise(beats) if int(b.data["beat"]) <= int(a.data["beat"])]
    if back:
        one, other = back[0]
        found.defect(f"beat {other.data['beat']} came after beat {one.data['beat']}", one, other)


def _lives(found: Findings, timeline: Timeline, update: Update, beats: list[Event]) -> None:
    before = [e for e in beats if e.index < update.invoke.index]
    if not before:
        found.gap(f"no heartbeat was heard before {update.name}", update.invoke)
    epoch = fresh_epoch(found, timeline, update)
    if epoch is None:
        return
    after = [e for e in beats if e.data.get("epoch") == epoch and e.index > update.done.index]
    if not after:
        found.gap(f"no heartbeat of epoch {epoch} was heard after {update.name}", update.done)
        return
    if not any(e.data.get("memory_intact") is True for e in after):
        found.gap(f"the guest's memory was not checked after {update.name}", after[0])
    shown = [*before[-1:], after[0], after[-1]]
    found.fact(f"beat {after[0].data['beat']} to {after[-1].data['beat']} after {update.name}", *shown)
