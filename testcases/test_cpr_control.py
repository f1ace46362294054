"""The control: without any of the modes, what live update keeps is lost.

A user who has no live update stops the guest, quits QEMU and starts the new one. The same witnesses
and checkers watch it: what they call kept over cpr-exec they must call lost here.
"""

import pytest

from lab.checkers import (
    device_not_reset,
    mappings_kept,
    pages_stayed_pinned,
    pfns_unchanged,
    same_guest,
    unpromised,
    update_completed,
)

SHORT_S = 10.0
"""The guest that boots knows of no load: nothing settles."""


@pytest.mark.parametrize("mode", ["restart"], indirect=True)
@pytest.mark.parametrize("iommu", ["type1", "iommufd"], indirect=True)
def test_a_restart_loses_what_an_update_keeps(load, update, verdict):
    """Another guest boots: its memory, its mappings and its device are not those of before."""
    with load() as running:
        running.settle()
        with update():
            running.settle(timeout_s=SHORT_S)

    lost = (same_guest(), pages_stayed_pinned(), mappings_kept(), pfns_unchanged, device_not_reset)
    verdict(update_completed(migrated=False), *(unpromised(claim) for claim in lost))
