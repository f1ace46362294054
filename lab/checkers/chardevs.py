"""A chardev's connection survives as well as this QEMU can keep it: no worse, and no better.

Source: QEMU docs/devel/migration/CPR.rst; the proposal "Live update: cpr-exec" (2024-06-30) on
chardev descriptors. What QEMU 11.1.3 keeps was measured: an inherited descriptor A, a
listening path C. A strict expectation turns red the day that changes, in either direction.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.checkers.findings import Findings
from lab.checkers.updates import Update, completed, fresh_epoch, seeing
from lab.timeline import Event, Timeline
from lab.verdict import Verdict

GRADES = {
    "A": "the same connection, nothing lost",
    "B": "reconnected, nothing lost",
    "C": "reconnected, with a loss",
    "lost": "no line after the update",
}
_WAYS = ("to_guest", "from_guest")


@dataclass(frozen=True)
class ChardevGrade:
    """The stream through a chardev gets exactly the expected grade.

    Reads: chardev.report, .eof, .reopen; guest.unreachable; epoch; cpr.*.
    expected: A, B, C or lost, see GRADES; wrong, repeated or reordered lines get no grade at all
    """

    chardev: str
    expected: str

    def __post_init__(self) -> None:
        if self.expected not in GRADES:
            raise ValueError(f"a grade is one of {', '.join(GRADES)}, not {self.expected!r}")

    @property
    def __name__(self) -> str:
        return f"chardev_grade({self.chardev})"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        done = completed(found, timeline)
        seeing(found, timeline, f"chardev {self.chardev}")
        reports = timeline.of("chardev.report", chardev=self.chardev)
        if not reports:
            found.gap(f"nothing was reported of {self.chardev}")
            return found.verdict()
        _content(found, reports[-1])
        if done:
            self._grade(found, timeline, done, reports)
        return found.verdict()

    def _grade(self, found: Findings, timeline: Timeline, done: list[Update], reports: list[Event]) -> None:
        last = reports[-1]
        epochs = [fresh_epoch(found, timeline, update) for update in done]
        for update in done:
            if not any(update.done.index < r.index < update.until for r in reports):
                found.gap(f"nothing was reported of {self.chardev} after {update.name}", update.done)
        if None in epochs or last.index < done[-1].done.index:
            return
        if not last.data.get("drained", True):
            found.gap(f"{self.chardev} was not drained: lines may still be under way", last)
        if idle := [way for way in _WAYS if not int(last.data[way]["sent"])]:
            found.gap(f"nothing was ever sent {idle[0].replace('_', ' ')} through {self.chardev}", last)
            return
        graded = self._judged(timeline, done, reports, [e for e in epochs if e is not None])
        self._compare(found, timeline, graded, last)

    def _judged(self, timeline: Timeline, done: list[Update], reports: list[Event], epochs: list[int]) -> str:
        last = reports[-1]
        if any(int(last.data[way]["last_epoch"]) < epochs[-1] for way in _WAYS):
            return "lost"
        cuts = timeline.of("chardev.eof", chardev=self.chardev)
        cuts += timeline.of("chardev.reopen", chardev=self.chardev)
        cut = [e for e in cuts if done[0].invoke.index < e.index < last.index]
        if not cut and int(last.data["eofs"]) == 0 and int(last.data["connections"]) <= 1:
            return "A" if not _lost(last.data) else "cut without an end"
        return "C" if _lost(last.data) else "B"

    def _compare(self, found: Findings, timeline: Timeline, graded: str, last: Event) -> None:
        told = " and ".join(f"{last.data[way]['lost']} lost {way.replace('_', ' ')}" for way in _WAYS)
        if graded == "cut without an end":
            found.defect(f"{self.chardev} lost lines on a connection that never ended: {told}", last)
        elif graded == "lost" and (gone := timeline.of("guest.unreachable")):
            found.gap("the guest could not be asked, so the stream's end is not known", gone[0], last)
        elif graded != self.expected:
            found.defect(
                f"the table says {self.expected} ({GRADES[self.expected]}), "
                f"{self.chardev} got {graded} ({GRADES[graded]}): {told}",
                last,
            )
        counts = ", ".join(f"{last.data[way]['received']} lines {way.replace('_', ' ')}" for way in _WAYS)
        found.fact(f"grade {graded} ({GRADES.get(graded, graded)}): {counts}, {told}", last)


def _lost(report: Mapping[str, Any]) -> int:
    return sum(int(report[way]["lost"]) for way in _WAYS)


def _content(found: Findings, last: Event) -> None:
    for way in _WAYS:
        for what in ("damaged", "repeated", "reordered"):
            if number := int(last.data[way].get(what, 0)):
                found.defect(f"{number} lines {way.replace('_', ' ')} were {what}", last)
