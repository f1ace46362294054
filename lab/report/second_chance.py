"""Runs a case once more whose bench failed before anything was tested.

How often in all is in the target file, options.limits.bench_attempts, or said by --bench-attempts; whether
is decided by the evidence, see `nothing_tested`. pytest-rerunfailures 16.7 could ask it, too, by its
`condition`, but writes the failed attempt into junit.xml as a test case that passed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

from lab.errors import BenchError, OutcomeUnknown
from lab.record.case import VERDICTS
from lab.timeline import Timeline

UPDATE_BEGUN = "cpr.invoke"


@dataclass(frozen=True)
class Ended:
    """How one attempt at a case ended.

    errors:   of its phases, in order; none if it passed
    timeline: what it recorded; None if it died before it recorded anything
    judged:   whether it came to verdicts
    """

    errors: tuple[BaseException, ...]
    timeline: Timeline | None
    judged: bool


def nothing_tested(ended: Ended) -> bool:
    """Whether a case may run again: its bench failed, no update had begun, and nothing was judged.

    What the first error is decides: a guest that does not boot or does not answer is a bench that failed,
    for the system under test is what an update makes of a guest. Everything after `cpr.invoke` is evidence,
    and is never taken twice.
    """
    first = ended.errors[0] if ended.errors else None
    if not isinstance(first, (BenchError, OutcomeUnknown)) or ended.judged:
        return False
    return ended.timeline is None or not ended.timeline.of(UPDATE_BEGUN)


def ended(folder: Path | None, errors: tuple[BaseException, ...]) -> Ended | None:
    """How an attempt ended, by what is in its folder; None if that cannot be told."""
    if folder is None:
        return Ended(errors, None, judged=False)
    path = folder / "timeline.jsonl"
    try:
        timeline = Timeline.load(path) if path.exists() else None
    except (OSError, ValueError):
        return None  # damaged: an update may have begun
    return Ended(errors, timeline, judged=(folder / VERDICTS).exists())


def attempts_of(config: pytest.Config) -> int:
    """How often a case is tried at most: --bench-attempts, which lab/drivers/labgrid_pytest.py fills in."""
    return int(config.getoption("bench_attempts") or 1)


class SecondChance:
    """Takes the place of pytest's own protocol for a case.

    folder_of: a case's folder, by its node id
    set_aside: told of an attempt that will be repeated: node id, number from 1
    """

    def __init__(
        self, folder_of: Callable[[str], Path | None], set_aside: Callable[[str, int], None]
    ) -> None:
        self._folder_of, self._set_aside = folder_of, set_aside
        self._errors: list[BaseException] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        attempts = attempts_of(item.config)
        place = {"nodeid": item.nodeid, "location": item.location}
        for number in range(1, attempts + 1):
            self._errors = []
            item.ihook.pytest_runtest_logstart(**place)
            reports = runtestprotocol(item, log=False, nextitem=nextitem)
            again = number < attempts and self._again(item, reports)
            if again:
                self._set_aside(item.nodeid, number)
            else:
                for report in reports:
                    item.ihook.pytest_runtest_logreport(report=report)
            item.ihook.pytest_runtest_logfinish(**place)
            if not again:
                break
        return True

    def pytest_runtest_makereport(self, call: "pytest.CallInfo[None]") -> None:
        if call.excinfo is not None:
            self._errors.append(call.excinfo.value)

    def _again(self, item: pytest.Item, reports: list[pytest.TestReport]) -> bool:
        """Not if the session is about to end, nor for a case that is expected to fail."""
        if item.session.shouldstop or item.session.shouldfail:
            return False
        if not any(report.failed for report in reports):
            return False
        how = ended(self._folder_of(item.nodeid), tuple(self._errors))
        return how is not None and nothing_tested(how)
