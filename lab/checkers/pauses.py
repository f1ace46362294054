"""How long the guest stood still, by each clock on its own: they measure different things.

The far end's clock never stops, and its gap is the pause as the guest's peers feel it. The
guest's clock may stand still with the guest, so a gap in guest time is only a lower bound.
"""

from dataclasses import dataclass

import numpy as np

from lab.checkers.clocks import span
from lab.checkers.phases import EXEC, vcpu_gap
from lab.checkers.tables import Column, Times, longest_gap_ns
from lab.checkers.updates import Update
from lab.streams import GUEST, stream, streams
from lab.timeline import Event, Timeline

BEFORE_NS = 100_000_000
SETTLE_NS = 1_000_000_000
ORDINARY_NS = 3_000_000_000
"""So long before an update a clock's ordinary gaps are looked at: they are what it cannot resolve."""
STAMP_S = 1e-6
"""QEMU's stamps are in whole microseconds."""
"""Frames wait in rings and sockets: the longest gap may begin before invoke and end after ok."""
LINES = "chardev.stream-fd"
"""What is watched where no far end is: the connection that QEMU 11.1.3 keeps over an update."""
_NS_PER_S = 1e9


@dataclass(frozen=True)
class Pause:
    """One pause.

    name:  what was watched
    clock: whose time it is
    resolution_s: the longest such gap that was seen without an update, or what a stamp is rounded to; None if
                  nobody knows
    """

    name: str
    seconds: float
    clock: str
    resolution_s: float | None = None


@dataclass(frozen=True)
class SignOfLife:
    """What shows from outside that the guest runs.

    one, name: a single sign, and all of them, in words
    table:     when they were seen, by `clock`
    control:   a table that the same observer fills whether the guest runs or not
    """

    one: str
    name: str
    table: str
    clock: str
    control: str


def sign_of_life(timeline: Timeline, watched: str) -> SignOfLife | None:
    """The signs of one stream, or of the lines of a chardev; None if nobody outside sees them."""
    if watched.startswith("chardev."):
        chardev = watched.removeprefix("chardev.")
        return SignOfLife("line", f"lines from the guest ({chardev})", f"{watched}.received", "host", "pins")
    facts = stream(timeline, watched)
    if facts is None or facts.sampled or facts.sender != GUEST or facts.receiver == GUEST:
        return None
    control = f"{facts.load}.to-guest.sent"
    return SignOfLife(
        "frame", f"frames from the guest ({facts.load})", facts.received, facts.receiver, control
    )


def _watchable(timeline: Timeline) -> list[str]:
    return [*(str(s) for s in streams(timeline)), LINES]


def pauses(timeline: Timeline, update: Update, times: Times | None = None) -> list[Pause]:
    """Every pause of one update that the timeline lets one tell.

    times: of the same timeline, where several updates are asked after: tables may be long
    """
    times = times or Times(timeline)
    signs = [sign for name in _watchable(timeline) if (sign := sign_of_life(timeline, name)) is not None]
    inside = [stream for stream in streams(timeline) if stream.receiver == GUEST]
    known = [
        *(table_pause(times, update, sign.clock, sign.table, sign.name) for sign in signs),
        *(table_pause(times, update, "guest", s.received, f"{s} received") for s in inside),
        _heartbeat(timeline, update),
        _vcpu(timeline, update),
        _told(timeline, update, "STOP", "RESUME"),
        _told(timeline, update, "SUSPEND", "WAKEUP"),
        _stop_to_running(timeline, update),
        _exec_to_greeting(timeline, update),
        _downtime(timeline, update),
    ]
    return [pause for pause in known if pause is not None]


def table_pause(times: Times, update: Update, source: str, table: str, name: str) -> Pause | None:
    """The longest gap between two rows of a table around an update."""
    t_ns = times.of(table)
    at = span(times.timeline, source, update.invoke.t_ns - BEFORE_NS, update.done.t_ns + SETTLE_NS)
    if t_ns is None or at is None:
        return None
    gap_ns = longest_gap_ns(t_ns, at.start_ns - at.error_ns, at.end_ns + at.error_ns)
    if gap_ns is None:
        return None
    return Pause(name, gap_ns / _NS_PER_S, source, _ordinary_s(times.timeline, update, source, t_ns))


def _ordinary_s(timeline: Timeline, update: Update, source: str, t_ns: Column) -> float | None:
    """The longest gap in a table in the seconds before an update, while its load had settled."""
    at = span(timeline, source, update.invoke.t_ns - ORDINARY_NS, update.invoke.t_ns - BEFORE_NS)
    if at is None:
        return None
    first, last = np.searchsorted(t_ns, [at.start_ns, at.end_ns])
    return float(np.diff(t_ns[first:last]).max()) / _NS_PER_S if last - first > 1 else None


def _vcpu(timeline: Timeline, update: Update) -> Pause | None:
    gap = vcpu_gap(timeline, update)
    if gap is None:
        return None
    ordinary_s = None if gap.ordinary_ns is None else gap.ordinary_ns / _NS_PER_S
    return Pause(f"KVM exit to entry of vCPU {gap.vcpu}", gap.seconds, "host", ordinary_s)


def _heartbeat(timeline: Timeline, update: Update) -> Pause | None:
    at = span(timeline, "guest", update.invoke.t_ns - BEFORE_NS, update.done.t_ns + SETTLE_NS)
    if at is None:
        return None
    beats = timeline.of("guest.heartbeat")
    since = [e for e in beats if at.start_ns <= int(e.data["t_src_ns"])]
    inside = sum(int(e.data["t_src_ns"]) <= at.end_ns for e in since)
    during = since[: inside + 1]  # each beat tells of the time before it: a busy guest's heart may be late
    gaps = [int(e.data["longest_gap_ns"]) for e in during]
    if not gaps or any(e.data.get("holes") for e in during):  # ticks that were not written down make no gap
        return None
    before = [e for e in beats if at.start_ns - ORDINARY_NS <= int(e.data["t_src_ns"]) < at.start_ns]
    ordinary = [int(e.data["longest_gap_ns"]) / _NS_PER_S for e in before]
    return Pause("guest heartbeat", max(gaps) / _NS_PER_S, "guest", max(ordinary, default=None))


def _told(timeline: Timeline, update: Update, begun: str, ended: str) -> Pause | None:
    """From one of QEMU's events to another, by its own stamps."""
    first, last = _qmp(timeline, update, begun), _qmp(timeline, update, ended)
    if first is None or last is None or "t_host_ns" not in first.data or "t_host_ns" not in last.data:
        return None
    gap_ns = int(last.data["t_host_ns"]) - int(first.data["t_host_ns"])
    return Pause(f"QMP {begun} to {ended}", gap_ns / _NS_PER_S, "host", STAMP_S)


def _stop_to_running(timeline: Timeline, update: Update) -> Pause | None:
    stop = _qmp(timeline, update, "STOP")
    running = [
        e
        for e in timeline.events[update.invoke.index : update.until]
        if e.kind == "qmp.reply" and e.data.get("command") == "query-status" and e.data.get("side") == "new"
    ]
    if stop is None or not running:
        return None
    return Pause("QMP STOP to query-status running", (running[-1].t_ns - stop.t_ns) / _NS_PER_S, "controller")


def _exec_to_greeting(timeline: Timeline, update: Update) -> Pause | None:
    during = timeline.events[update.invoke.index : update.until]
    execs = [e for e in during if e.kind == "trace.event" and e.data.get("name") == EXEC]
    greeted = [e for e in during if e.kind == "qmp.connected" and e.data.get("side") == "new"]
    if not execs or not greeted:
        return None
    return Pause("exec traced to QMP greeting", (greeted[-1].t_ns - execs[0].t_ns) / _NS_PER_S, "controller")


def _downtime(timeline: Timeline, update: Update) -> Pause | None:
    for event in timeline.events[update.invoke.index : update.until]:
        result = event.data.get("result")
        if event.kind == "qmp.reply" and isinstance(result, dict) and "downtime" in result:
            return Pause("QMP downtime", int(result["downtime"]) / 1000, "qemu")
    return None


def _qmp(timeline: Timeline, update: Update, name: str) -> Event | None:
    during = timeline.events[update.invoke.index : update.until]
    return next((e for e in during if e.kind == "qmp.event" and e.data.get("name") == name), None)
