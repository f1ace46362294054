"""In a container cpr-transfer needs room for two QEMUs, where cpr-exec needs it for one.

Claim under test: the cover letter of "Live update: cpr-exec" V3 (2025-08-14), why exec is there beside
transfer (read as an excerpt): transfer wants a second set of resources. Here both QEMUs are in one container.
"""

import pytest

from lab.checkers import chardev_grade, container_kept
from lab.rows import TRANSFER
from lab.rows.container import Contained

pytestmark = pytest.mark.nightly

ROOMY = Contained()


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
