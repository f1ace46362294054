"""In a container with a memory limit cpr-exec updates QEMU within it.

Claims under test: the cover letter of "Live update: cpr-exec" V3 (2025-08-14), why exec is there beside
transfer (read as an excerpt): container, PID namespace, cgroup and an agent's connection to the outside stay
as they are, and no second container is needed. That cpr-transfer needs room for two is not tested.
"""

import pytest

from lab.checkers import chardev_grade, container_kept, same_guest, update_completed
from lab.rows.container import Contained

ROOMY = Contained()
ONCE = Contained(memlock_mib=64)
"""May pin the guest's RAM once."""


@pytest.mark.parametrize("container", [ROOMY], ids=["contained"], indirect=True)
@pytest.mark.parametrize("iommu", ["type1", "iommufd"], indirect=True)
def test_container_stays(load, update, verdict, claims):
    """QEMU stays in its container, within the limit, and the agent beside it stays connected."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    verdict(*claims(), container_kept(), chardev_grade("container", "A"))


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="Linux 7.3.4, iommufd: new QEMU is charged before old QEMU is not; QEMU 11.1.3 loses the guest",
)
@pytest.mark.forced("memlock-low")
@pytest.mark.parametrize("container", [ONCE], ids=["may pin once"], indirect=True)
@pytest.mark.parametrize("iommu", ["iommufd"], indirect=True)
def test_what_was_enough_to_start_is_enough_to_update(load, update, verdict, qemu_said):
    """A limit of locked memory under which QEMU has pinned the guest's RAM is enough for its update."""
    with load() as running:
        running.settle()
        with update():
            running.settle(timeout_s=15)

    qemu_said("Unknown section or instance 'iommufd'")
    verdict(update_completed(), same_guest())
