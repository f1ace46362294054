"""cpr-exec can be done again and again, under load: nothing is lost, and nothing adds up.

Claim under test: an update replaces QEMU "in place" (QEMU docs/devel/migration/CPR.rst), so a hundredth one
finds what the first one found. What a single update may cost is claimed in test_cpr_exec_nic.py.
"""

import pytest

from lab.checkers import nothing_grows
from lab.faults.catalogue import FAULTS
from lab.verdict import Outcome

FEW, MANY = 8, 100
COUNTS = [FEW, pytest.param(MANY, marks=pytest.mark.nightly)]
NIGHTLY = [("nic", "iommufd"), ("vdpa-net", "vdpa"), ("tap", "vhost")]
ROWS = [("nic", "type1"), *(pytest.param(*pair, marks=pytest.mark.nightly) for pair in NIGHTLY)]


@pytest.mark.parametrize("row, iommu", ROWS, indirect=True)
@pytest.mark.parametrize("count", COUNTS)
def test_nothing_adds_up(load, update, verdict, claims, count):
    """After many updates in a row under load QEMU and the host's kernel hold what they held before."""
    with load() as running:
        running.settle()
        for _ in range(count):
            with update():
                running.settle()

    verdict(*claims(updates=count), nothing_grows())


def test_what_adds_up_is_caught(bench, load, update, judged):
    """A descriptor that new QEMU leaks at each update is seen, and how many there are."""
    wrapper = FAULTS["new-qemu-leaks-a-descriptor"].command(bench.connection, 0)
    with load() as running:
        running.settle()
        for _ in range(FEW):
            with update(*wrapper):
                running.settle()

    [said] = judged(nothing_grows())
    assert said.outcome is Outcome.FAIL
    assert said.summary.startswith("descriptors: ") and "1 more with each update" in said.summary
