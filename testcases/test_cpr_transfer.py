"""cpr-transfer keeps every kind of device working: another QEMU process takes the guest over.

Claims under test: QEMU docs/devel/migration/CPR.rst, cpr-transfer (since 10.0, with VFIO and iommufd
since 10.1); and what the reviewers of "[PATCH V2 00/11] Live update: cpr-exec" (2024-07) expected of it:
that it does as well as cpr-exec, by a second process. What it does not promise is in lab/cpr/promises.py.
"""

import pytest

from lab.rows import TRANSFER
from lab.rows.table import cases

pytestmark = pytest.mark.parametrize("mode", [TRANSFER], indirect=True)

IN_CI = {
    *(("nic", "type1"), ("nic", "iommufd"), ("nvme", "iommufd"), ("gpu", "type1"), ("edu", "iommufd")),
    *(("together", "iommufd"), ("mdev", "type1"), ("vdpa-net", "vdpa")),
}
"""One of each kind; the others are left to nightly runs."""


def params(chosen):
    marks = {True: (), False: pytest.mark.nightly}
    return [pytest.param(*pair, marks=marks[pair in IN_CI]) for pair in chosen]


REFUSED = [(case.name, case.backend) for case in cases(TRANSFER) if case.refused is not None]
LOST = [(case.name, case.backend) for case in cases(TRANSFER) if case.fate.lost]
UPDATED = [pair for case in cases(TRANSFER) if (pair := (case.name, case.backend)) not in [*REFUSED, *LOST]]


@pytest.mark.parametrize("row, iommu", params(UPDATED), indirect=True)
def test_dma_survives(load, update, verdict, claims):
    """What the device has in flight when another QEMU takes over is neither lost nor damaged."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    verdict(*claims())


@pytest.mark.parametrize("row, iommu", params(REFUSED), indirect=True)
def test_update_is_refused(load, update, verdict, claims):
    """What cannot be handed over is refused by old or new QEMU; the guest goes on in the old one."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    verdict(*claims())
