"""What QEMU 11.1.3 and Linux 7.3.4 are known to get wrong: strict expectations, red when it is mended.

Seen on the virtual bench with QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1) and Linux 7.3.4; each
case's folder in the run record holds reproduce.sh, the exact commands and everything that was seen.
Minimal reproductions without the lab, and their output: testcases/reproductions/.
"""

import pytest

from lab.checkers import (
    accounting_kept,
    dma_intact,
    logs_clean,
    pages_as_asked,
    pages_stayed_pinned,
    replaced_in_place,
    same_guest,
    update_completed,
)
from lab.qemu.memory import Memory
from lab.rows.table import cases


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="Linux 7.3.4: with iommufd and CAP_IPC_LOCK VmPin is 0 after cpr-exec, the pages stay pinned",
)
@pytest.mark.parametrize("iommu", ["iommufd"], indirect=True)
def test_pinned_pages_stay_charged(load, update, verdict):
    """QEMU is charged for the guest's pinned pages after cpr-exec as before it (iommufd pages.c, VmPin)."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    verdict(update_completed(), pages_stayed_pinned(), accounting_kept)


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="QEMU 11.1.3: a failed exec with a VFIO device ends in SIGSEGV, and the guest is lost",
)
@pytest.mark.parametrize("iommu", ["type1", "iommufd"], indirect=True)
def test_a_failed_exec_leaves_the_guest_running(load, update, verdict):
    """When new QEMU cannot be executed, the guest runs on in old QEMU (as it does without a VFIO device)."""
    with load() as running:
        running.settle()
        with update("/nonexistent/qemu"):
            running.settle(timeout_s=15)

    verdict(same_guest())


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="QEMU 11.1.3 accepts this update and loses the guest; see the row's `lost` in lab/rows/table.py",
)
@pytest.mark.parametrize("row, iommu", [(c.name, c.backend) for c in cases() if c.fate.lost], indirect=True)
def test_an_accepted_update_keeps_the_guest(row, load, update, verdict, qemu_said):
    """A guest whose update QEMU accepts lives on; query-migrate has no blocked-reasons for these devices."""
    with load() as running:
        running.settle()
        with update():
            running.settle(timeout_s=15)

    qemu_said(row.fate.lost)
    # a QEMU that stays and has stopped the guest is only known by its complaint
    verdict(update_completed(), same_guest(), logs_clean())


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="QEMU 11.1.3: each update leaves descriptors behind, that of /dev/vhost-net, or libblkio's",
)
@pytest.mark.parametrize("row, iommu", [(c.name, c.backend) for c in cases() if c.fate.leaks], indirect=True)
def test_no_descriptor_is_left_behind(row, load, update, verdict):
    """QEMU holds as many descriptors after an update as before it."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    verdict(update_completed(), same_guest(), replaced_in_place(holds=row.row.holds))


@pytest.mark.nightly
@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="QEMU 11.1.3: each update leaves the old descriptor of a memory-backend-file behind",
)
@pytest.mark.parametrize("memory", [Memory("file")], indirect=True, ids=str)
def test_no_descriptor_of_a_memory_file_is_left_behind(load, update, verdict):
    """QEMU holds as many descriptors of the guest's memory after an update as before it."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    verdict(update_completed(), same_guest(), replaced_in_place())


@pytest.mark.nightly
@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="Linux 7.3.4, type1: with shmem_enabled=always a memfd is of small pages; cause not found",
)
@pytest.mark.parametrize("memory", [Memory("memfd", "thp")], indirect=True, ids=str)
def test_transparent_huge_pages_are_had_with_type1(load, update, verdict):
    """With shmem_enabled=always a memfd is made of pages of 2 MiB, as it is with iommufd."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    verdict(update_completed(), same_guest(), pages_as_asked("thp"))


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="QEMU 11.1.3: frames that wait in a tap are read by a QEMU that does not run the guest, and lost",
)
@pytest.mark.parametrize("row, iommu", [(c.name, c.backend) for c in cases() if c.fate.drops], indirect=True)
def test_no_frame_that_waits_is_lost(row, load, update, verdict):
    """What the host sends while the guest is paused waits for it, and arrives (as with a NIC's ring)."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    verdict(update_completed(), same_guest(), *(dma_intact(stream) for stream in row.fate.drops))
