"""In a container cpr-transfer needs room for two QEMUs, where cpr-exec needs it for one.

Claim under test: the cover letter of "Live update: cpr-exec" V3 (2025-08-14), why exec is there beside
transfer (read as an excerpt): transfer wants a second set of resources. Here both QEMUs are in one container.
"""

import pytest

from lab.checkers import chardev_grade, container_kept, same_guest, unpromised, update_completed
from lab.rows import EXEC, TRANSFER
from lab.rows.container import Contained

pytestmark = pytest.mark.nightly

ROOMY = Contained()
FOR_ONE = Contained(headroom_mib=64)
"""Room for one QEMU beside the guest's RAM: cpr-exec was seen to need 55 to 62 MiB, cpr-transfer 70 to 76."""


@pytest.mark.parametrize("mode", [TRANSFER], indirect=True)
@pytest.mark.parametrize("container", [ROOMY], ids=["contained"], indirect=True)
@pytest.mark.parametrize("iommu", ["type1", "iommufd"], indirect=True)
def test_two_are_in_the_container(load, update, verdict, claims):
    """Old and new QEMU are in it at once, within its limit, and the agent beside them stays connected."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    verdict(*claims(), container_kept(qemus=2), chardev_grade("container", "A"))


@pytest.mark.parametrize("mode", [EXEC], indirect=True)
@pytest.mark.parametrize("container", [FOR_ONE], ids=["room for one"], indirect=True)
@pytest.mark.parametrize("iommu", ["type1", "iommufd"], indirect=True)
def test_room_for_one_is_enough_for_exec(load, update, verdict, claims):
    """Where there is room for one QEMU and not for two, cpr-exec updates it, and nothing is killed."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    verdict(*claims(), container_kept(tight=True), chardev_grade("container", "A"))


@pytest.mark.parametrize("mode", [TRANSFER], indirect=True)
@pytest.mark.parametrize("container", [FOR_ONE], ids=["room for one"], indirect=True)
@pytest.mark.parametrize("iommu", ["type1", "iommufd"], indirect=True)
def test_room_for_one_loses_the_guest_by_transfer(load, update, verdict, host_said):
    """Where there is room for one QEMU and not for two the kernel kills in it, and the guest is lost."""
    with load() as running:
        running.settle()
        with update():
            running.settle(timeout_s=15)

    host_said("Memory cgroup out of memory: Killed process")
    verdict(unpromised(update_completed()), unpromised(same_guest()))
