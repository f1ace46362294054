"""The exit status of a run, from what was recorded. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from lab.verdict import Outcome, Verdict

PASS, FAIL, BROKEN, INTERRUPTED = 0, 1, 2, 130

_PYTEST_RAN = {0, 1}
"""pytest's exit status when it ran all it collected; others are interruption, crash, usage, nothing."""


@dataclass(frozen=True)
class Ended:
    """How a case ended.

    status:   the test runner's word: passed, failed, broken, skipped, xfailed
    verdicts: what was judged
    recorded: whether it recorded evidence; a case that does not is its own proof, by what it asserts
    """

    status: str
    verdicts: tuple[Outcome, ...]
    recorded: bool = True


def of_case(case: Ended) -> int:
    """The worse of what the runner and the verdicts say; what is neither proved nor expected is broken.

    A case marked as a known defect (strict xfail) failed as it must: it is neither red nor a proof.
    """
    if case.status == "xfailed":
        return PASS
    if case.status == "failed" or Outcome.FAIL in case.verdicts:
        return FAIL
    judged = set(case.verdicts) == {Outcome.PASS} if case.recorded else not case.verdicts
    return PASS if case.status == "passed" and judged else BROKEN


def of_run(cases: Iterable[Ended], pytest_status: int | None) -> int:
    """0 if every case passed and at least one did, 1 if any failed, otherwise 2.

    pytest_status: None if pytest did not live to record it
    """
    ended = list(cases)
    each = {of_case(case) for case in ended}
    if FAIL in each:
        return FAIL
    passed = any(case.status == "passed" for case in ended)
    return PASS if each == {PASS} and passed and pytest_status in _PYTEST_RAN else BROKEN


def of_verdicts(cases: Iterable[Iterable[Verdict]]) -> int:
    """Of verdicts alone, when no test runner took part: a case without any is broken."""
    ended = [Ended("passed", tuple(v.outcome for v in verdicts)) for verdicts in cases]
    return of_run(ended, 0)
