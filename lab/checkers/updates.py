"""What every checker asks of a timeline: its updates, their epochs, and who was awake."""

from dataclasses import dataclass

from lab.checkers.findings import Findings
from lab.timeline import Event, Timeline


@dataclass(frozen=True)
class Update:
    """One update that was begun.

    outcome: ok, fail, info, or open when the recording ends before the update does
    until: index of the next update's invoke, or the number of events
    """

    number: int
    invoke: Event
    end: Event | None
    outcome: str
    until: int

    @property
    def name(self) -> str:
        return f"update {self.number}"

    @property
    def done(self) -> Event:
        """The event that ended it; only for updates that ended."""
        assert self.end is not None
        return self.end

    @property
    def events(self) -> tuple[Event, ...]:
        return (self.invoke,) if self.end is None else (self.invoke, self.end)


def updates(timeline: Timeline) -> list[Update]:
    """All updates in the order they were begun."""
    invokes = timeline.of("cpr.invoke")
    ends = [e for e in timeline.starting("cpr.") if e.kind in ("cpr.ok", "cpr.fail", "cpr.info")]
    found = []
    for position, invoke in enumerate(invokes):
        until = invokes[position + 1].index if position + 1 < len(invokes) else len(timeline.events)
        end = next((e for e in ends if invoke.index < e.index < until), None)
        outcome = end.kind.removeprefix("cpr.") if end else "open"
        found.append(Update(int(invoke.data.get("update", position + 1)), invoke, end, outcome, until))
    return found


def completed(found: Findings, timeline: Timeline, outcome: str = "ok") -> list[Update]:
    """The updates that completed; every other one is a gap, and so is having none.

    outcome: "fail" where a refusal is what is expected
    """
    begun = updates(timeline)
    if not begun:
        found.gap("no update was begun")
    wrong = "did not complete" if outcome == "ok" else "was not refused"
    for update in begun:
        if update.outcome != outcome:
            found.gap(f"{update.name} {wrong} ({how_it_ended(update)})", *update.events)
    return [update for update in begun if update.outcome == outcome]


def how_it_ended(update: Update) -> str:
    """In words: refused, unknown, or cut off, with the recorded reason."""
    words = {"ok": "completed", "fail": "refused", "info": "nobody knows", "open": "the recording ends in it"}
    reason = update.end.data.get("reason") if update.end else None
    return words[update.outcome] + (f": {reason}" if reason else "")


def fresh_epoch(found: Findings, timeline: Timeline, update: Update) -> int | None:
    """The epoch opened after the update and never used before; a gap if there is none."""
    opened = timeline.of("epoch")
    old = {e.data.get("number") for e in opened if e.index < update.done.index}
    fresh = [e for e in opened if update.done.index < e.index < update.until and e.data["number"] not in old]
    if not fresh:
        found.gap(f"no new epoch was opened after {update.name}", update.done)
        return None
    return int(fresh[0].data["number"])


def exits(timeline: Timeline) -> list[Event]:
    """Processes that ended, without those that did not run the guest any more, or did not yet.

    Reads: host.exit {pid}; qemu.left {pid}, which says so of a process before it is ended; qemu.start
        {pid, beside} of one that is started while another one runs the guest, and qemu.became {pid};
        host.booted, from where on a PID is another process.
    """
    return [e for e in timeline.of("host.exit") if not _idle(timeline, e)]


def _idle(timeline: Timeline, gone: Event) -> bool:
    pid = gone.data.get("pid")
    booted = max((e.index for e in timeline.of("host.booted") if e.index < gone.index), default=0)
    before = [e for e in timeline.events[booted : gone.index] if e.data.get("pid") == pid]
    left = any(e.kind == "qemu.left" for e in before)
    beside = any(e.kind == "qemu.start" and e.data.get("beside") for e in before)
    return left or (beside and not any(e.kind == "qemu.became" for e in before))


def alive_until(timeline: Timeline, update: Update) -> Event:
    """The last event before the next update at which the guest was surely still meant to run.

    The load is stopped before the guest is; what is seen later may be the end of the guest.
    """
    kinds = ("load.settled", "load.stop")
    later = [e for e in timeline.events[update.done.index : update.until] if e.kind in kinds]
    return later[-1] if later else update.done


def awake(found: Findings, timeline: Timeline, witness: str) -> bool:
    """Whether a witness was watching from before the first update until after the last one.

    If not, that is a gap: never started, blind, or stopped too early.
    """
    begun = updates(timeline)
    first = begun[0].invoke.index if begun else len(timeline.events)
    started = [e for e in timeline.of("witness.start", witness=witness) if e.index < first]
    if not started:
        found.gap(f"the witness {witness} was not watching when the update began")
        return False
    last = alive_until(timeline, begun[-1]).index if begun and begun[-1].end else len(timeline.events)
    stopped = [e for e in timeline.of("witness.stop", witness=witness) if started[0].index < e.index < last]
    if stopped:
        found.gap(f"the witness {witness} stopped before the end", stopped[0])
    return seeing(found, timeline, witness) and not stopped


def seeing(found: Findings, timeline: Timeline, witness: str) -> bool:
    """Whether a witness never went blind; if it did, that is a gap."""
    blind = timeline.of("witness.blind", witness=witness)
    if blind:
        found.gap(
            f"the witness {witness} went blind: {blind[0].data.get('reason', 'no reason given')}", blind[0]
        )
    return not blind
