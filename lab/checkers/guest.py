"""The same guest lives on, with its memory.

Source: Linux Documentation/admin-guide/sysctl/kernel.rst, random/boot_id: another boot, another id.
"""

from dataclasses import dataclass
from itertools import pairwise

from lab.checkers.findings import Findings
from lab.checkers.updates import Update, alive_until, completed, exits, fresh_epoch, seeing
from lab.timeline import Event, Timeline
from lab.verdict import Verdict

RESTARTS = ("RESET", "SHUTDOWN", "GUEST_PANICKED")
"""QMP events that end a guest's life (QEMU qapi/run-state.json)."""

SILENCE_S = 10.0
"""Beats come every 0.2 s; a guest whose emulated processor is starved may hold some back for seconds."""


@dataclass(frozen=True)
class SameGuest:
    """One boot_id throughout, beats that only go up, memory intact, and beats after each update.

    Reads: guest.booted, guest.heartbeat, guest.unreachable, host.exit, qemu.left, qmp.event;
        load.settled, .stop; epoch; cpr.*.
    outcome: how updates must have ended: "ok", or "fail" where a refusal is what is expected
    """

    outcome: str = "ok"

    @property
    def __name__(self) -> str:
        return "same_guest"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        done = completed(found, timeline, self.outcome)
        beats = timeline.of("guest.heartbeat")
        ended(found, timeline)
        _restarted(found, timeline)
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
    for gone in exits(timeline):
        early = bool(timeline.of("cpr.invoke")) and (not stops or gone.index < stops[-1].index)
        if early or gone.data.get("signal"):
            how = gone.data.get("signal") or f"status {gone.data.get('status')}"
            found.defect(f"QEMU ended with {how}: the guest is lost", gone)


def _restarted(found: Findings, timeline: Timeline) -> None:
    """QEMU says that the guest was reset, or went down, while the load ran."""
    stops, begun = timeline.of("load.stop"), timeline.of("cpr.invoke")
    for event in timeline.of("qmp.event"):
        if _of_one_that_left(timeline, event):
            continue
        if event.data.get("name") in RESTARTS and not (stops and event.index > stops[-1].index):
            if begun and event.index > begun[0].index:
                found.defect(f"QEMU said {event.data['name']} after the update began", event)
            else:
                found.gap(f"QEMU said {event.data['name']} before the first update: the bench failed", event)


def _of_one_that_left(timeline: Timeline, event: Event) -> bool:
    """Whether it is of a QEMU that did not run the guest any more."""
    left = timeline.of("qemu.left", update=event.data.get("update"))
    return event.data.get("side") == "old" and any(e.index < event.index for e in left)


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


def silent_s(timeline: Timeline, update: Update, last: Event) -> float:
    """How long before the end of what is judged of an update its last beat was heard."""
    return (alive_until(timeline, update).t_ns - last.t_ns) / 1e9


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
    silence_s = silent_s(timeline, update, after[-1])
    if silence_s > SILENCE_S:
        found.gap(f"no heartbeat in the last {silence_s:.1f} s after {update.name}", after[-1])
    if not any(e.data.get("memory_intact") is True for e in after):
        found.gap(f"the guest's memory was not checked after {update.name}", after[0])
    shown = [*before[-1:], after[0], after[-1]]
    found.fact(f"beat {after[0].data['beat']} to {after[-1].data['beat']} after {update.name}", *shown)
