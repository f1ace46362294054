"""cpr-exec keeps an assigned NIC working while it does DMA.

Claims under test, from the proposal "[PATCH V2 00/11] Live update: cpr-exec" (2024-06-30): "All
memory that is mapped by the guest is preserved in place. Indeed, it must be, because it may be the
target of DMA requests, which are not quiesced during cpr-exec"; "Pages that were locked in memory
for DMA in old QEMU remain locked in new QEMU"; "there is no loss of connectivity to the guest,
because chardev descriptors remain open and connected". Merged in QEMU 10.2
(docs/devel/migration/CPR.rst).
"""

import pytest

pytestmark = pytest.mark.parametrize("iommu", ["type1", "iommufd"], indirect=True)


def test_dma_survives(load, update, verdict, claims):
    """DMA in flight when QEMU is replaced is neither lost nor damaged."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    verdict(*claims())


def test_dma_survives_updates_in_a_row(load, update, verdict, claims, updates):
    """QEMU can be replaced again and again, and nothing adds up."""
    with load() as running:
        running.settle()
        for _ in range(updates):
            with update():
                running.settle()

    verdict(*claims(updates=updates))
