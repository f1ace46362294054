"""The exit status of a run: 0 all PASS, 1 a FAIL, 2 anything that is not proved."""

import pytest

from lab.cli.exit_status import Ended, of_run, of_verdicts
from lab.verdict import Outcome, Verdict

P, F, U = Outcome.PASS, Outcome.FAIL, Outcome.UNKNOWN
GOOD = Ended("passed", (P, P))


@pytest.mark.parametrize(
    ("cases", "pytest_status", "status"),
    [
        pytest.param([GOOD], 0, 0, id="all pass"),
        pytest.param([GOOD, Ended("passed", (P,))], 0, 0, id="several pass"),
        pytest.param([], 0, 2, id="no case"),
        pytest.param([], 5, 2, id="nothing collected"),
        pytest.param([GOOD, Ended("failed", (P, F))], 1, 1, id="a FAIL"),
        pytest.param([Ended("failed", (P, F)), Ended("broken", (U,))], 1, 1, id="FAIL is worse than UNKNOWN"),
        pytest.param([GOOD, Ended("broken", (P, U))], 1, 2, id="an UNKNOWN"),
        pytest.param([Ended("broken", (F, U))], 1, 1, id="FAIL beside a broken tear-down"),
        pytest.param([GOOD, Ended("broken", ())], 1, 2, id="died before its verdict"),
        pytest.param([GOOD, Ended("broken", (P,))], 1, 2, id="PASS, then the tear-down broke"),
        pytest.param([Ended("passed", ())], 0, 2, id="passed unjudged"),
        pytest.param([Ended("passed", (), False)], 0, 0, id="passed by its own assertions"),
        pytest.param([Ended("broken", (), False)], 1, 2, id="died among its own assertions"),
        pytest.param([Ended("passed", (P, F))], 0, 1, id="passed with a FAIL in the record"),
        pytest.param([Ended("passed", (P, U))], 0, 2, id="passed with an UNKNOWN in the record"),
        pytest.param([Ended("failed", ())], 1, 1, id="failed by an assertion of its own"),
        pytest.param([Ended("failed", (P,))], 1, 1, id="strict xfail that passed"),
        pytest.param([GOOD, Ended("skipped", ())], 0, 2, id="skipped is not green"),
        pytest.param([GOOD, Ended("xfailed", (F,))], 0, 0, id="a known defect beside a pass"),
        pytest.param([Ended("xfailed", (F,))], 0, 2, id="known defects alone prove nothing"),
        pytest.param([GOOD], None, 2, id="pytest was killed"),
        pytest.param([GOOD], 2, 2, id="pytest was interrupted"),
        pytest.param([GOOD], 3, 2, id="pytest crashed"),
        pytest.param([GOOD], 4, 2, id="pytest was called wrongly"),
        pytest.param([Ended("failed", (F,))], None, 1, id="a FAIL, then pytest was killed"),
    ],
)
def test_of_run(cases: list[Ended], pytest_status: int | None, status: int) -> None:
    """The table."""
    assert of_run(cases, pytest_status) == status


@pytest.mark.parametrize(
    ("outcomes", "status"), [([[P], [P]], 0), ([[P], [F], []], 1), ([[P], [U]], 2), ([[P], []], 2), ([], 2)]
)
def test_of_verdicts(outcomes: list[list[Outcome]], status: int) -> None:
    """As `rejudge` has them, without a test runner."""
    assert of_verdicts([[Verdict("c", o, "s") for o in case] for case in outcomes]) == status
