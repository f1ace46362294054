"""Clean runs give no red and no unknown: the other side of test_checkers_go_red.py.

The claim under test is the lab's own: it does not cry wolf. `cprlab calibrate` counts these cases.
"""

import pytest

from lab.calibration.matrix import CLEAN
from lab.verdict import Outcome

BACKENDS = ("type1", "iommufd")
RUNS_A_GUEST = 5
"""Then another one is booted: what goes wrong with a guest from its boot on must have its chances, too."""

pytestmark = pytest.mark.keeps_guest("number")


def pytest_generate_tests(metafunc):
    """As many as --clean-runs says, or one more: half of them by each back-end."""
    if "number" in metafunc.fixturenames:
        turns = -(-metafunc.config.getoption("clean_runs") // len(BACKENDS))
        numbers = range(turns)
        cases = [(n // RUNS_A_GUEST, n + 1) for n in numbers]
        # a mark, so that it comes behind that of the back-end: a guest serves one back-end
        metafunc.definition.add_marker(pytest.mark.parametrize(("batch", "number"), cases))


@pytest.mark.parametrize("iommu", BACKENDS, indirect=True)
@pytest.mark.nightly
def test_clean_run(batch, number, evidence, load, update, judged, claims, keep):
    """An update without any fault is green, every claim of it."""
    evidence.record(CLEAN, number=number)
    with load() as running:
        running.settle()
        with update():
            running.settle()

    assert all(verdict.outcome is Outcome.PASS for verdict in judged(*claims()))
    keep()
