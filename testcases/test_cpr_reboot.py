"""cpr-reboot keeps the guest: suspended to RAM, saved, and resumed by a QEMU that is started anew.

Claims under test: QEMU docs/devel/migration/CPR.rst, cpr-reboot (since 8.2): it "supports VFIO devices
provided the user first puts the guest in the suspended runstate"; RAM "can be saved in place if backed by
shared memory, or can be copied to a file"; the proposal "[PATCH V2 00/11] Live update: cpr-exec" says of it
that "suspending plus resuming vfio devices adds multiple seconds to the guest pause time". It promises the
guest, and neither descriptors nor DMA. With a kexec of the host in between: test_cpr_reboot_kexec.py.
"""

import pytest

from lab.checkers import dma_intact, ram_not_saved, unpromised
from lab.cpr.modes import AWAKE
from lab.qemu.memory import Memory

pytestmark = [pytest.mark.nightly, pytest.mark.parametrize("mode", ["cpr-reboot"], indirect=True)]

WAKES_S = 15.0
"""The guest knows of no load's device until it has woken up."""
NO_SUSPEND = "VFIO device only supports cpr-reboot for runstate suspended"


@pytest.mark.parametrize(
    "row, iommu", [("nic", "type1"), ("nic", "iommufd"), ("nvme", "iommufd")], indirect=True
)
def test_the_guest_survives(load, update, verdict, claims):
    """The guest sleeps, wakes up in new QEMU, and goes on; its DMA did not. Its RAM went by the file."""
    with load() as running:
        running.settle()
        with update():
            running.settle(timeout_s=WAKES_S)

    verdict(*claims(), unpromised(ram_not_saved()))


@pytest.mark.parametrize("row, iommu", [("tap", "vhost")], indirect=True)
def test_the_guest_survives_without_vfio(load, update, verdict, claims):
    """Without VFIO it need not sleep: it is stopped, saved, and goes on in new QEMU.

    Two frames to it are lost, as by cpr-exec (test_known_defects.py): those next in line when it was stopped.
    """
    with load() as running:
        running.settle()
        with update():
            running.settle(timeout_s=WAKES_S)

    verdict(*claims(), unpromised(dma_intact("tap.to-guest")), unpromised(ram_not_saved()))


@pytest.mark.parametrize("iommu, memory", [("iommufd", Memory("file"))], indirect=True, ids=str)
def test_ram_in_a_file_is_not_saved(load, update, verdict, claims):
    """RAM in a named file stays where it is while there is no QEMU (x-ignore-shared): it is not saved."""
    with load() as running:
        running.settle()
        with update():
            running.settle(timeout_s=WAKES_S)

    verdict(*claims(), ram_not_saved())


@pytest.mark.parametrize("iommu", ["type1", "iommufd"], indirect=True)
def test_an_awake_guest_is_refused(load, update, verdict, refusal):
    """With VFIO a guest that was not suspended is refused, with a reason, and goes on as before."""
    with load() as running:
        running.settle()
        with update(by=AWAKE):
            running.settle()

    verdict(*refusal(NO_SUSPEND))
