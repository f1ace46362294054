"""In a container with a memory limit cpr-exec updates QEMU within it; cpr-transfer needs room for two.

Claims under test: "[PATCH V2 00/11] Live update: cpr-exec" (2024-07), why exec is there beside transfer:
the container, its PID namespace and cgroup and an agent's connection to the outside stay as they are, and no
second set of resources is needed. QEMU docs/devel/migration/CPR.rst, cpr-exec: "... in a container".
"""

import pytest

from lab.checkers import chardev_grade, container_kept
from lab.rows.container import Contained

ROOMY = Contained()


@pytest.mark.parametrize("container", [ROOMY], ids=["contained"], indirect=True)
@pytest.mark.parametrize("iommu", ["type1", "iommufd"], indirect=True)
def test_container_stays(load, update, verdict, claims):
    """QEMU stays in its container, within the limit, and the agent beside it stays connected."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    verdict(*claims(), container_kept(), chardev_grade("container", "A"))
