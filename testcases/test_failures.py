"""When an update does not go well: each failure under DMA load and chardev streams, then an ordinary update.

What QEMU promises is asserted; what it is known to get wrong is asserted as such, strictly: lab/failures/ is
the table, and an answer that is better than the table's is red, too. Failures that a guest must survive share
one boot.

Source: QEMU docs/devel/migration/CPR.rst and main.rst; for each failure its own in lab/failures/.
"""

import pytest

from lab.failures.table import BY_IOMMUFD, SHORT, boots

pytestmark = pytest.mark.forced  # preflight would refuse some of them


@pytest.fixture
def stream_hz():
    """Enough to see a chardev held or lost: what a busy guest is behind with delays every answer."""
    return 10.0


def cases(boots):
    """Parameters of a case for each boot: its failures, and what QEMU is started with for them."""
    return [
        pytest.param(tuple(boot), tuple(word for one in boot for word in one.words), id=name)
        for name, boot in boots.items()
    ]


@pytest.mark.parametrize("boot, qemu_words", cases({"short": SHORT}), indirect=["qemu_words"])
def test_one_of_each_kind(boot, fail_all, old_version, verdict):
    """A failed update does to the guest what QEMU promises: one failure of each kind, of every run."""
    fail_all(boot)

    verdict(*(answer for failure in boot for answer in failure.answers(old_version)))


@pytest.mark.nightly
@pytest.mark.parametrize("boot, qemu_words", cases(boots()), indirect=["qemu_words"])
def test_failure(boot, fail_all, old_version, verdict):
    """A failed update does to the guest what QEMU promises, and nothing that is not known of this QEMU."""
    fail_all(boot)

    verdict(*(answer for failure in boot for answer in failure.answers(old_version)))


@pytest.mark.nightly
@pytest.mark.parametrize("iommu", ["iommufd"], indirect=True)
@pytest.mark.parametrize("boot, qemu_words", cases(BY_IOMMUFD), indirect=["qemu_words"])
def test_failure_by_iommufd(boot, fail_all, old_version, verdict):
    """The same by the other back-end, whose mappings are handed over in another way."""
    fail_all(boot)

    verdict(*(answer for failure in boot for answer in failure.answers(old_version)))
