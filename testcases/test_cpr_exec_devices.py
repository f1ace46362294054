"""cpr-exec keeps every kind of device working: VFIO by both back-ends, vDPA, vhost, and several at once.

Claims under test, from the proposal "[PATCH V2 00/11] Live update: cpr-exec" (2024-06-30): "This
approach is very general and can be used to support a wide variety of devices that do not have hardware
support for live migration, including but not limited to: vfio, chardev, vhost, vdpa, and iommufd"; and
QEMU docs/devel/migration/CPR.rst. The rows are in lab/rows/table.py; `cprlab doctor --bench TARGET` says
which of them a bench can run. The first NIC has cases of its own, test_cpr_exec_nic.py.
"""

import pytest

from lab.rows.table import cases

REFUSED = [(case.name, case.backend) for case in cases() if case.refused is not None]
LOST = [(case.name, case.backend) for case in cases() if case.fate.lost]  # test_known_defects.py
# On 11.1.3 an INTx is lost that comes when the processors' state was read and KVM is still there: one update
# in some dozens left the NIC's line asserted and masked for good (testcases/reproductions/intx-lost.sh)
UNSURE = ("intx",)
UPDATED = [
    pytest.param(*pair, marks=[pytest.mark.nightly] if case.name in UNSURE else [])
    for case in cases()
    if (pair := (case.name, case.backend)) not in [*REFUSED, *LOST] and case.name != "nic"
]


@pytest.mark.parametrize("row, iommu", UPDATED, indirect=True)
def test_dma_survives(load, update, verdict, claims):
    """What the device has in flight when QEMU is replaced is neither lost nor damaged."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    verdict(*claims())


@pytest.mark.parametrize("row, iommu", REFUSED, indirect=True)
def test_update_is_refused(load, update, verdict, claims):
    """What QEMU cannot update it refuses to, with a reason; guest and devices go on as before."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    verdict(*claims())
