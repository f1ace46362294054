"""Every checker says FAIL on a real bench when what it watches goes wrong, and UNKNOWN when it is blind.

The claim under test is the lab's own: a verdict does not lie. Each case plants one fault and names
the checkers that must turn; a fault that leaves the guest alive must leave the others green.
"""

import pytest

from fixtures.kept import agent, attached, guest, keep  # noqa: F401
from fixtures.planting import planned
from lab.checkers import container_kept
from lab.faults.contained import CONTAINED
from lab.rows.container import Contained


def pytest_generate_tests(metafunc):
    """The faults that are asked for, each in its row."""
    contained = metafunc.function is test_fault_in_a_container_is_caught
    cases = [case for case in planned(metafunc.config) if (case.values[0] in CONTAINED) is contained]
    # a mark, for `iommu` has parameters of its own, which only marks replace
    mark = pytest.mark.parametrize(("fault", "row", "iommu"), cases, indirect=["row", "iommu"])
    metafunc.definition.add_marker(mark)


def test_fault_is_caught(planted):
    """A planted fault is caught by the checkers of what it breaks, and blamed by no other."""
    row = planted()
    assert row.caught, row.wrong


@pytest.mark.parametrize("container", [Contained()], ids=["contained"], indirect=True)
def test_fault_in_a_container_is_caught(planted, container):
    """What a container is not to see is caught by the checker of the container, and blamed by no other."""
    row = planted(container_kept())
    assert row.caught, row.wrong
