"""cpr-transfer keeps every kind of device working: another QEMU process takes the guest over.

Claims under test: QEMU docs/devel/migration/CPR.rst, cpr-transfer (since 10.0, with VFIO and iommufd
since 10.1); and what the reviewers of "[PATCH V2 00/11] Live update: cpr-exec" (2024-07) expected
of it: that it does as well as cpr-exec, with a second process.
"""

import pytest

pytestmark = pytest.mark.parametrize("mode", ["cpr-transfer"], indirect=True)

UPDATED = [("nic", "type1"), ("nic", "iommufd")]


@pytest.mark.parametrize("row, iommu", UPDATED, indirect=True)
def test_dma_survives(load, update, verdict, claims):
    """What the device has in flight when another QEMU takes over is neither lost nor damaged."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    verdict(*claims())
