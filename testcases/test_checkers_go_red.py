"""Every checker says FAIL on a real bench when what it watches really goes wrong.

The claim under test is the lab's own: a verdict does not lie. Each case plants one fault and names
the checkers that must refute it; a fault that leaves the guest alive must leave the others green.
"""

import pytest

from lab.calibration.matrix import PLANTED, Row
from lab.checkers import container_kept
from lab.faults.planted import CONTAINED, FAULTS, Scene
from lab.rows import far_ends
from lab.rows.container import Contained

SHORT_S = 15.0
"""Long enough for a healthy load to settle; a load that a fault has stopped is not waited for longer."""
ALIKE = ("vdpa-net", "vdpa-blk", "tap")
"""Rows whose faults are those of other rows, caught by the same code: left to `cprlab calibrate`."""


@pytest.mark.parametrize(
    ("fault", "row", "iommu"),
    [
        pytest.param(name, f.row, f.iommu, marks=[pytest.mark.nightly] if f.row in ALIKE else [])
        for name, f in FAULTS.items()
    ],
    indirect=["row", "iommu"],
)
def test_fault_is_caught(fault, bench, evidence, functions, guest, attached, load, update, judged, claims):
    """A planted fault is caught by the checkers of what it breaks, and blamed by no other."""
    planted = FAULTS[fault]
    evidence.record(PLANTED, name=fault, refutes=sorted(planted.refutes), spares=planted.spares)
    with load() as running:
        running.settle()
        with update(*planted.command(bench.connection)):
            planted.after(Scene(bench.connection, functions, guest, far_ends(attached)))
            running.settle(timeout_s=SHORT_S)

    row = Row(fault, planted.refutes, frozenset(), planted.spares, judged(*claims()))
    assert row.caught, f"missed by {sorted(row.missed)}, wrongly blamed by {sorted(row.blamed)}"


@pytest.mark.nightly
@pytest.mark.parametrize("container", [Contained()], ids=["contained"], indirect=True)
@pytest.mark.parametrize("fault", CONTAINED)
def test_fault_in_a_container_is_caught(
    fault, bench, evidence, functions, guest, attached, load, update, judged, claims
):
    """What a container is not to see is caught by the checker of the container, and blamed by no other."""
    planted = CONTAINED[fault]
    evidence.record(PLANTED, name=fault, refutes=sorted(planted.refutes), spares=planted.spares)
    with load() as running:
        running.settle()
        with update(*planted.command(bench.connection)):
            planted.after(Scene(bench.connection, functions, guest, far_ends(attached)))
            running.settle(timeout_s=SHORT_S)

    row = Row(fault, planted.refutes, frozenset(), planted.spares, judged(*claims(), container_kept()))
    assert row.caught, f"missed by {sorted(row.missed)}, wrongly blamed by {sorted(row.blamed)}"
