"""cpr-exec by the human monitor, as in the example of the proposal.

Source: "[PATCH V2 00/11] Live update: cpr-exec" (2024-06-30), section "Examples":
(qemu) migrate_set_parameter mode cpr-exec; migrate_set_parameter cpr-exec-command ...; migrate -d file:...
"""

import pytest

from lab.cpr.modes import BY_HMP


@pytest.mark.parametrize("iommu", ["iommufd"], indirect=True)
def test_dma_survives_an_update_by_hmp(load, update, verdict, claims):
    """What a person types replaces QEMU as what a program says: nothing is lost."""
    with load() as running:
        running.settle()
        with update(by=BY_HMP):
            running.settle()

    verdict(*claims())
