"""Findings: how a checker weighs what it read."""

from lab.timeline import Event
from lab.verdict import Outcome, Verdict

_SHOWN = 3


class Findings:
    """Collects what one checker found and turns it into its verdict.

    A defect makes FAIL, whatever else is missing; without one a gap in the evidence makes
    UNKNOWN; only facts, and at least one, make PASS. Texts are parts of one sentence.
    """

    def __init__(self, checker: str) -> None:
        self._checker = checker
        self._found: dict[Outcome, list[tuple[str, tuple[int, ...]]]] = {outcome: [] for outcome in Outcome}

    def defect(self, text: str, *events: Event) -> None:
        """The claim is contradicted."""
        self._add(Outcome.FAIL, text, events)

    def gap(self, text: str, *events: Event) -> None:
        """Something that had to be seen was not."""
        self._add(Outcome.UNKNOWN, text, events)

    def fact(self, text: str, *events: Event) -> None:
        """Something that had to be seen was seen."""
        self._add(Outcome.PASS, text, events)

    def _add(self, outcome: Outcome, text: str, events: tuple[Event, ...]) -> None:
        self._found[outcome].append((text, tuple(e.index for e in events)))

    def verdict(self) -> Verdict:
        for outcome in (Outcome.FAIL, Outcome.UNKNOWN, Outcome.PASS):
            if found := self._found[outcome]:
                texts = [text for text, _ in found]
                more = f"; and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
                indices = sorted({index for _, evidence in found for index in evidence})
                return Verdict(self._checker, outcome, "; ".join(texts[:_SHOWN]) + more, tuple(indices))
        return Verdict(self._checker, Outcome.UNKNOWN, "nothing was seen that bears on this claim")
