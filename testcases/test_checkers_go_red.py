"""Every checker says FAIL on a real bench when what it watches goes wrong, and UNKNOWN when it is blind.

The claim under test is the lab's own: a verdict does not lie. Each case plants one fault of lab/faults/ and
names the checkers that must turn; a fault that leaves the guest alive must leave the others green.
"""

import pytest

from lab.calibration.matrix import of_run

# a fault that leaves the guest as it was leaves it to the next fault of its row
pytestmark = pytest.mark.keeps_guest("fault")


def test_fault_is_caught(planted):
    """A planted fault is caught by the checkers of what it breaks, and blamed by no other."""
    row = planted()
    assert row.caught, row.wrong


def test_the_record_of_a_run_holds_its_matrix(record, passed_faults):
    """Who caught what is read from the record alone, and is what the cases said."""
    found = of_run(record.folder)
    assert {row.name: row.caught for row in found.rows} == passed_faults
