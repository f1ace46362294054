"""Verdicts: what a checker concludes from a timeline, and how several become one.

Standard library only. A checker is any callable `Timeline -> Verdict`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from lab.errors import Inconclusive
from lab.timeline import Timeline


class Outcome(StrEnum):
    """PASS < UNKNOWN < FAIL: the worst wins, and only PASS is green."""

    PASS = "PASS"
    UNKNOWN = "UNKNOWN"
    FAIL = "FAIL"

    @property
    def badness(self) -> int:
        return list(Outcome).index(self)


@dataclass(frozen=True)
class Verdict:
    """One claim, judged.

    evidence: indices of the timeline events it rests on
    """

    checker: str
    outcome: Outcome
    summary: str
    evidence: tuple[int, ...] = ()

    def __str__(self) -> str:
        events = f" [events {', '.join(map(str, self.evidence))}]" if self.evidence else ""
        return f"{self.outcome} {self.checker}: {self.summary}{events}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"evidence": list(self.evidence)}


Checker = Callable[[Timeline], Verdict]


def checker_name(checker: Checker) -> str:
    """The name of a checker: that of its function, or of the object that configures it."""
    return str(getattr(checker, "__name__", type(checker).__name__))


def judge(timeline: Timeline, checkers: Sequence[Checker]) -> list[Verdict]:
    """Run every checker; one that crashes gives UNKNOWN, never a pass."""
    return [_judge_one(timeline, checker) for checker in checkers]


def _judge_one(timeline: Timeline, checker: Checker) -> Verdict:
    try:
        return checker(timeline)
    except Exception as crash:  # a broken checker must not hide what the others found
        return Verdict(
            checker_name(checker), Outcome.UNKNOWN, f"the checker crashed: {type(crash).__name__}: {crash}"
        )


def worst(verdicts: Iterable[Verdict]) -> Outcome:
    """The worst outcome; UNKNOWN when there is none."""
    return max((verdict.outcome for verdict in verdicts), key=lambda o: o.badness, default=Outcome.UNKNOWN)


def raise_for(verdicts: Sequence[Verdict]) -> None:
    """Turn verdicts into a test outcome.

    Raises:
        AssertionError: if any is FAIL.
        Inconclusive: if none is FAIL and not all are PASS, or there is none.
    """
    outcome = worst(verdicts)
    if outcome is Outcome.PASS:
        return
    text = "\n".join(str(v) for v in verdicts if v.outcome is not Outcome.PASS) or "nothing was judged"
    if outcome is Outcome.FAIL:
        raise AssertionError(text)
    raise Inconclusive(text)
