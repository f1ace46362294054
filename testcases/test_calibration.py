"""Clean runs give no red and no unknown: the other side of test_checkers_go_red.py.

The claim under test is the lab's own: it does not cry wolf. `cprlab calibrate` counts these cases.
"""

import pytest

from lab.calibration.matrix import CLEAN
from lab.verdict import Outcome

BACKENDS = ("type1", "iommufd")


def pytest_generate_tests(metafunc):
    """As many as --clean-runs says, the back-ends in turns."""
    if "number" in metafunc.fixturenames:
        numbers = range(1, metafunc.config.getoption("clean_runs") + 1)
        turns = [(number, BACKENDS[number % len(BACKENDS)]) for number in numbers]
        metafunc.parametrize(("number", "iommu"), turns, indirect=["iommu"])


@pytest.mark.nightly
def test_clean_run(number, evidence, load, update, judged, claims):
    """An update without any fault is green, every claim of it."""
    evidence.record(CLEAN, number=number)
    with load() as running:
        running.settle()
        with update():
            running.settle()

    assert all(verdict.outcome is Outcome.PASS for verdict in judged(*claims()))
