"""cpr-reboot keeps the guest: suspended to RAM, saved, and resumed by a QEMU that is started anew.

Claims under test: QEMU docs/devel/migration/CPR.rst, cpr-reboot (since 8.2): with VFIO "the guest must be
suspended to RAM"; the proposal "[PATCH V2 00/11] Live update: cpr-exec" says of it that "suspending plus
resuming vfio devices adds multiple seconds to the guest pause time". It promises the guest, and neither
descriptors nor DMA.
"""

import pytest

pytestmark = [pytest.mark.nightly, pytest.mark.parametrize("mode", ["cpr-reboot"], indirect=True)]


@pytest.mark.parametrize("row, iommu", [("nic", "type1"), ("nic", "iommufd")], indirect=True)
def test_the_guest_survives(load, update, verdict, claims):
    """The guest sleeps, wakes up in new QEMU, and goes on; its DMA did not."""
    with load() as running:
        running.settle()
        with update():
            running.settle(timeout_s=15)

    verdict(*claims())
