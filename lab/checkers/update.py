"""The update completed: new QEMU says so itself.

Source: QEMU qapi/migration.json, query-migrate; qapi/run-state.json, query-status. Old QEMU's
"completed" comes before the exec and may be followed by "failed" (11.1.3): no event of it counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lab.checkers.findings import Findings
from lab.checkers.updates import Update, exits, how_it_ended, updates
from lab.timeline import Event, Timeline
from lab.verdict import Verdict

_WANTED = {"query-status": "running", "query-migrate": "completed"}


@dataclass(frozen=True)
class UpdateCompleted:
    """Every update that was begun ended well, by the replies of new QEMU.

    Reads: cpr.*; qmp.reply {side, command, result}; host.exit.
    updates:  how many there must be; None: as many as were begun, at least one
    migrated: whether the guest came to new QEMU by a migration, of which that QEMU tells
    """

    updates: int | None = None
    migrated: bool = True

    @property
    def __name__(self) -> str:
        return "update_completed"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        begun = updates(timeline)
        if len(begun) < (self.updates or 1):
            found.gap(f"{len(begun)} of {self.updates or 1} updates were begun", *(u.invoke for u in begun))
        for update in begun:
            if update.outcome == "ok":
                wanted = _WANTED if self.migrated else {"query-status": _WANTED["query-status"]}
                _replies(found, timeline, update, wanted)
            elif update.outcome == "fail":
                found.defect(f"{update.name} was {how_it_ended(update)}", *update.events)
            elif gone := _gone(timeline, update):
                how = gone.data.get("signal") or f"status {gone.data.get('status')}"
                found.defect(f"QEMU ended with {how} in {update.name}", *update.events, gone)
            else:
                found.gap(f"{update.name}: {how_it_ended(update)}", *update.events)
        return found.verdict()


def _gone(timeline: Timeline, update: Update) -> Event | None:
    """QEMU's end while the update was under way; later it may have been asked to end."""
    end = update.end.index if update.end else update.invoke.index
    return next((e for e in exits(timeline) if update.invoke.index <= e.index < end), None)


def _replies(found: Findings, timeline: Timeline, update: Update, wanted_of: Mapping[str, str]) -> None:
    during = timeline.events[update.invoke.index : update.until]
    replies = [e for e in during if e.kind == "qmp.reply" and e.data.get("side") == "new"]
    last: list[Event] = []
    for command, wanted in wanted_of.items():
        said = [e for e in replies if e.data.get("command") == command]
        if not said:
            found.gap(f"new QEMU did not answer {command} in {update.name}", *update.events)
            continue
        status = _status(said[-1])
        if status is None:
            found.gap(f"new QEMU answered {command} without a status: {said[-1].data}", said[-1])
        elif status != wanted:
            found.defect(f"new QEMU's {command} says {status}, not {wanted}, in {update.name}", said[-1])
        last.append(said[-1])
    took_s = (update.done.t_ns - update.invoke.t_ns) / 1e9
    found.fact(f"{update.name} completed in {took_s:.2f} s, new QEMU is running", *update.events, *last)


def _status(reply: Event) -> str | None:
    result = reply.data.get("result")
    status = result.get("status") if isinstance(result, dict) else None
    return None if status is None else str(status)
