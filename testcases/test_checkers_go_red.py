"""Every checker says FAIL on a real bench when what it watches really goes wrong.

The claim under test is the lab's own: a verdict does not lie. Each case plants one fault and names
the checkers that must refute it; a fault that leaves the guest alive must leave the others green.
"""

import pytest

from lab.faults.planted import FAULTS, Scene
from lab.rows import far_ends
from lab.verdict import Outcome

SHORT_S = 15.0
"""Long enough for a healthy load to settle; a load that a fault has stopped is not waited for longer."""


@pytest.mark.parametrize(
    ("fault", "row", "iommu"),
    [(name, f.row, f.iommu) for name, f in FAULTS.items()],
    indirect=["row", "iommu"],
)
def test_fault_is_caught(fault, bench, functions, guest, attached, load, update, judged, claims):
    """A planted fault is caught by the checkers of what it breaks, and blamed by no other."""
    planted = FAULTS[fault]
    with load() as running:
        running.settle()
        with update(*planted.command(bench.connection)):
            planted.after(Scene(bench.connection, functions, guest, far_ends(attached)))
            running.settle(timeout_s=SHORT_S)

    verdicts = judged(*claims())
    said = {outcome: {name(v) for v in verdicts if v.outcome is outcome} for outcome in Outcome}

    assert planted.refutes <= said[Outcome.FAIL]
    assert not planted.spares or (said[Outcome.FAIL] == planted.refutes and not said[Outcome.UNKNOWN])


def name(verdict):
    """The checker without the bound that the bench's target file gave it."""
    return "guest_pause_below" if verdict.checker.startswith("guest_pause_below") else verdict.checker
