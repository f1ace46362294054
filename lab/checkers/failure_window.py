"""The part of a recording that belongs to one failure, and to the ordinary update after it."""

from dataclasses import dataclass

from lab.checkers.findings import Findings
from lab.checkers.updates import Update, exits, updates
from lab.timeline import Event, Timeline


@dataclass(frozen=True)
class Window:
    """From just before an update that is made to fail until after the ordinary one that follows it.

    update: the one that is made to fail
    after:  the ordinary one; None if none was begun
    until:  index of the event behind it
    """

    timeline: Timeline
    begin: Event
    update: Update
    after: Update | None
    until: int

    @property
    def meant(self) -> int:
        """Index at which the ordinary update begins: what is before it is of the failure alone."""
        return self.after.invoke.index if self.after else self.until

    def of(self, kind: str, start: int | None = None, end: int | None = None) -> list[Event]:
        """Events of a kind since the failure ended and before the ordinary update, unless told otherwise."""
        first = self.update.done.index if start is None else start
        last = self.meant if end is None else end
        return [e for e in self.timeline.of(kind) if first < e.index < last]

    def epoch(self, of: Update) -> int | None:
        """The epoch that was opened after an update; None if none was."""
        opened = [e for e in self.timeline.of("epoch") if of.done.index < e.index < self.until]
        return int(opened[0].data["number"]) if opened else None

    def end_of_qemu(self, last: int | None = None) -> Event | None:
        """QEMU's end since the failure began; a later one than `last` does not count."""
        until = self.until if last is None else last
        return next((e for e in exits(self.timeline) if self.begin.index < e.index < until), None)


def window_of(found: Findings, timeline: Timeline, failure: str) -> Window | None:
    """The window of a failure; None, and a gap that says why, if it was not tried."""
    begun = timeline.of("failure.begin", failure=failure)
    if not begun:
        found.gap(f"{failure} was not tried")
        return None
    begin = begun[-1]
    ends = [e for e in timeline.of("failure.end", failure=failure) if e.index > begin.index]
    until = ends[0].index if ends else len(timeline.events)
    if not ends:
        found.gap(f"the recording ends in {failure}", begin)
    inside = [u for u in updates(timeline) if begin.index < u.invoke.index < until]
    if not inside or inside[0].end is None:
        found.gap(f"no update was brought to an end in {failure}", begin)
        return None
    after = inside[1] if len(inside) > 1 and inside[1].end is not None else None
    return Window(timeline, begin, inside[0], after, until)
