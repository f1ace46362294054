"""A chardev's connection survives as well as this QEMU can keep it: no worse, and no better.

Source: QEMU docs/devel/migration/CPR.rst; the proposal "Live update: cpr-exec" (2024-06-30) on
chardev descriptors. What QEMU 11.1.3 keeps was measured: an inherited descriptor A, a
listening path C. A strict expectation turns red the day that changes, in either direction.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lab.checkers.findings import Findings
from lab.checkers.updates import Update, completed, exits, fresh_epoch, seeing, updates
from lab.timeline import Event, Timeline
from lab.verdict import Verdict

GRADES = {
    "A": "the same connection, nothing lost",
    "B": "reconnected, nothing lost",
    "cut": "the same connection, with a loss",
    "C": "reconnected, with a loss",
    "refused": "the update is refused, guest and connection go on",
    "lost": "no line after the update",
    "guest lost": "QEMU ended, and the guest with it",
}
"""The better one first."""
UNTOLD = {"A": "nothing lost", "C": "with a loss"}
"""Where the far end need not be told of an end."""
BOTH = ("to_guest", "from_guest")
LONGEST_IDLE_MS = 10_000
"""A stream that was connected and sent nothing for so long slept: it says nothing of that time. A guest under
emulation, translated anew by new QEMU on a controller under load, was seen to hold its lines for 4.3 s."""


@dataclass(frozen=True)
class Graded:
    """What became of a connection.

    grade: one of GRADES; "" if it cannot be known
    lost:  direction -> how many lines, or answers
    """

    grade: str
    lost: Mapping[str, int]
    last: Event | None = None


@dataclass(frozen=True)
class ChardevGrade:
    """The stream through a chardev gets exactly the expected grade.

    Reads: chardev.report, .eof, .reopen; guest.unreachable; host.exit, qemu.left; epoch; cpr.*.
    expected: one of GRADES; wrong, repeated or reordered lines get no grade at all
    ways:     the directions that its back-end has; "answers" where QEMU itself is asked
    told:     whether the far end is told when a connection ends; if not, a loss without an end is a C
    torn:     a part of a line can be lost (what is left of it is damaged, and counted as lost), or be out of
              order in a file that is written from its beginning again
    """

    chardev: str
    expected: str
    ways: tuple[str, ...] = BOTH
    told: bool = True
    torn: bool = False

    def __post_init__(self) -> None:
        if self.expected not in GRADES:
            raise ValueError(f"a grade is one of {', '.join(GRADES)}, not {self.expected!r}")

    @property
    def __name__(self) -> str:
        return f"chardev_grade({self.chardev})"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        if gone := _guest_lost(timeline):
            self._compare(found, timeline, Graded("guest lost", {}, gone))
            return found.verdict()
        done = self._ended(found, timeline)
        seeing(found, timeline, f"chardev {self.chardev}")
        reports = timeline.of("chardev.report", chardev=self.chardev)
        if not reports:
            found.gap(f"nothing was reported of {self.chardev}")
            return found.verdict()
        self._content(found, reports[-1])
        if done and self._known(found, timeline, done, reports):
            self._compare(found, timeline, self.graded(timeline))
        return found.verdict()

    def graded(self, timeline: Timeline) -> Graded:
        """The grade alone, of what was recorded; whether that can be believed the verdict says."""
        if gone := _guest_lost(timeline):
            return Graded("guest lost", {}, gone)
        done = [update for update in updates(timeline) if update.outcome in ("ok", "fail")]
        reports = timeline.of("chardev.report", chardev=self.chardev)
        epochs = [fresh_epoch(Findings(""), timeline, update) for update in done]
        if not reports or not epochs or (newest := epochs[-1]) is None:
            return Graded("", {})
        last = reports[-1]
        lost = {way: int(last.data[way]["lost"]) for way in self.ways}
        if any(int(last.data[way]["last_epoch"]) < newest for way in self.ways):
            return Graded("lost", lost, last)
        if not any(lost.values()) and all(update.outcome == "fail" for update in done):
            return Graded("refused", lost, last)
        cuts = timeline.of("chardev.eof", chardev=self.chardev)
        cuts += timeline.of("chardev.reopen", chardev=self.chardev)
        cut = [e for e in cuts if done[0].invoke.index < e.index < last.index]
        if not cut and int(last.data["eofs"]) == 0 and int(last.data["connections"]) <= 1:
            without_end = "cut" if self.told else "C"
            return Graded(without_end if any(lost.values()) else "A", lost, last)
        return Graded("C" if any(lost.values()) else "B", lost, last)

    def _ended(self, found: Findings, timeline: Timeline) -> list[Update]:
        """The updates to judge by; a refused one only where that is expected, or was and did not come."""
        if self.expected != "refused":
            return completed(found, timeline)
        known = [update for update in updates(timeline) if update.outcome in ("ok", "fail")]
        return known or completed(found, timeline, "fail")

    def _known(self, found: Findings, timeline: Timeline, done: list[Update], reports: list[Event]) -> bool:
        """Whether enough was seen to be graded."""
        last = reports[-1]
        epochs = [fresh_epoch(found, timeline, update) for update in done]
        for update in done:
            if not any(update.done.index < r.index < update.until for r in reports):
                found.gap(f"nothing was reported of {self.chardev} after {update.name}", update.done)
        if None in epochs or last.index < done[-1].done.index:
            return False
        if not last.data.get("drained", True):
            found.gap(f"{self.chardev} was not drained: lines may still be under way", last)
        before = _open_before(timeline, done[0])
        for way in self.ways:
            first = int(last.data[way]["first_epoch"])
            if first > before:
                found.gap(f"no line sent {_in_words(way)} before {done[0].name} came through", last)
            idle_ms = int(last.data[way].get("longest_idle_ms", 0))
            if idle_ms > LONGEST_IDLE_MS:
                found.gap(
                    f"nothing was sent {_in_words(way)} for {idle_ms / 1e3:.1f} s: the stream slept", last
                )
        if idle := [way for way in self.ways if not int(last.data[way]["sent"])]:
            found.gap(f"nothing was ever sent {_in_words(idle[0])} through {self.chardev}", last)
            return False
        return True

    def _compare(self, found: Findings, timeline: Timeline, graded: Graded) -> None:
        last = [graded.last] if graded.last else []
        if graded.grade == "cut" != self.expected:
            told = _losses(graded)
            found.defect(f"{self.chardev} lost lines on a connection that never ended: {told}", *last)
        elif graded.grade == "lost" and (gone := timeline.of("guest.unreachable")):
            found.gap("the guest could not be asked, so the stream's end is not known", gone[0], *last)
        elif graded.grade != self.expected:
            order = list(GRADES)
            better = order.index(graded.grade) < order.index(self.expected)
            advice = "better than the table: this QEMU keeps more, correct the table" if better else "worse"
            found.defect(
                f"the table says {self.expected} ({self._meaning(self.expected)}), {self.chardev} got "
                f"{graded.grade} ({self._meaning(graded.grade)}), {advice}: {_losses(graded)}",
                *last,
            )
        found.fact(f"grade {graded.grade} ({self._meaning(graded.grade)}): {self._counts(graded)}", *last)

    def _counts(self, graded: Graded) -> str:
        if graded.grade == "guest lost" or graded.last is None:
            return "as expected"
        data = graded.last.data
        counts = ", ".join(f"{data[way]['received']} lines {_in_words(way)}" for way in self.ways)
        return f"{counts}, {_losses(graded)}"

    def _content(self, found: Findings, last: Event) -> None:
        for way in self.ways:
            for what in ("damaged", "repeated", "reordered"):
                number = int(last.data[way].get(what, 0))
                if self.torn and what != "repeated":
                    number -= int(last.data[way]["lost"])
                if number > 0:
                    found.defect(f"{number} lines {_in_words(way)} were {what}", last)

    def _meaning(self, grade: str) -> str:
        return (GRADES if self.told else GRADES | UNTOLD).get(grade, grade)


def _guest_lost(timeline: Timeline) -> Event | None:
    """The end of a QEMU that ran the guest: in an update, or a bad one before its chardevs' last words."""
    begun, last_words = updates(timeline), timeline.of("chardev.report", drained=True)
    for gone in exits(timeline):
        if any(_within(update, gone) for update in begun):
            return gone
        bad = gone.data.get("signal") or gone.data.get("status")
        early = not last_words or gone.index < last_words[-1].index
        if bad and early and begun and begun[0].invoke.index < gone.index:
            return gone
    return None


def _open_before(timeline: Timeline, update: Update) -> int:
    """The epoch that was open when an update began."""
    opened = [e for e in timeline.of("epoch") if e.index < update.invoke.index]
    return int(opened[-1].data["number"]) if opened else 0


def _within(update: Update, gone: Event) -> bool:
    end = update.end.index if update.end else update.until
    return update.invoke.index < gone.index < end


def _losses(graded: Graded) -> str:
    return " and ".join(f"{count} lost {_in_words(way)}" for way, count in graded.lost.items()) or "all lost"


def _in_words(way: str) -> str:
    return way.replace("_", " ").replace("answers", "as answers")
