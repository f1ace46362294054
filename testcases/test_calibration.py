"""Clean runs give no red and no unknown: the other side of test_checkers_go_red.py.

The claim under test is the lab's own: it does not cry wolf. `cprlab calibrate` counts these cases.
"""

import pytest

from lab.calibration.matrix import CLEAN
from lab.verdict import Outcome

BACKENDS = ("type1", "iommufd")


def pytest_generate_tests(metafunc):
    """As many as --clean-runs says, or one more: the back-ends in turns."""
    if "number" in metafunc.fixturenames:
        turns = -(-metafunc.config.getoption("clean_runs") // len(BACKENDS))
        metafunc.parametrize("number", range(1, turns + 1))


@pytest.mark.parametrize("iommu", BACKENDS, indirect=True)
@pytest.mark.nightly
def test_clean_run(number, evidence, load, update, judged, claims):
    """An update without any fault is green, every claim of it."""
    evidence.record(CLEAN, number=number)
    with load() as running:
        running.settle()
        with update():
            running.settle()

    assert all(verdict.outcome is Outcome.PASS for verdict in judged(*claims()))
