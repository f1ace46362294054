"""Every checker says FAIL on a real bench when what it watches goes wrong, and UNKNOWN when it is blind.

The claim under test is the lab's own: a verdict does not lie. Each case plants one fault and names
the checkers that must turn; a fault that leaves the guest alive must leave the others green.
"""

import pytest

from lab.checkers import container_kept
from lab.faults.catalogue import FAULTS
from lab.faults.contained import CONTAINED
from lab.rows.container import Contained

# each fault that leaves a guest as it was leaves it to the next fault of its row
pytestmark = pytest.mark.keeps_guest("fault")


@pytest.mark.faults(FAULTS)
def test_fault_is_caught(planted):
    """A planted fault is caught by the checkers of what it breaks, and blamed by no other."""
    row = planted()
    assert row.caught, row.wrong


@pytest.mark.faults(CONTAINED)
@pytest.mark.parametrize("container", [Contained()], ids=["contained"], indirect=True)
def test_fault_in_a_container_is_caught(planted, container):
    """What a container is not to see is caught by the checker of the container, and blamed by no other."""
    row = planted(container_kept())
    assert row.caught, row.wrong
