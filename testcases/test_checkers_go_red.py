"""Every checker says FAIL on a real bench when what it watches really goes wrong.

The claim under test is the lab's own: a verdict does not lie. Each case plants one fault and names
the checkers that must refute it; a fault that leaves the guest alive must leave the others green.
"""

import pytest

from lab.checkers import standard
from lab.faults.planted import FAULTS, Scene
from lab.verdict import Outcome

SHORT_S = 15.0
"""Long enough for a healthy load to settle; a load that a fault has stopped is not waited for longer."""


@pytest.mark.parametrize(
    ("fault", "iommu"), [(name, f.iommu) for name, f in FAULTS.items()], indirect=["iommu"]
)
def test_fault_is_caught(fault, bench, nic, guest, far, nic_load, update, judged, pause_limit_s):
    """A planted fault is caught by the checkers of what it breaks, and blamed by no other."""
    planted = FAULTS[fault]
    with nic_load() as load:
        load.settle()
        with update(*planted.command(bench.connection)):
            planted.after(Scene(bench.connection, nic, guest, far))
            load.settle(timeout_s=SHORT_S)

    verdicts = judged(*standard(pause_limit_s=pause_limit_s))
    said = {outcome: {name(v) for v in verdicts if v.outcome is outcome} for outcome in Outcome}

    assert planted.refutes <= said[Outcome.FAIL]
    assert not planted.spares or (said[Outcome.FAIL] == planted.refutes and not said[Outcome.UNKNOWN])


def name(verdict):
    """The checker without the bound that the bench's target file gave it."""
    return "guest_pause_below" if verdict.checker.startswith("guest_pause_below") else verdict.checker
