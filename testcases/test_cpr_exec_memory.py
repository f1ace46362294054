"""cpr-exec keeps the guest's memory where it is, whatever it is made of, and keeps its devices working.

Claims under test, from QEMU docs/devel/migration/CPR.rst, cpr-exec: "guest RAM ... must be backed by a
memory-backend object with share=on", "the guest pause time increases for large guest RAM backed by small
pages"; the kinds and sizes of pages are QEMU qapi/qom.json, MemoryBackendProperties. What a bench host lacks,
huge pages for example, `cprlab doctor --bench TARGET` says; a case that wants it is then broken, not skipped.
"""

import pytest

from lab.checkers import pages_as_asked, stays_given_back
from lab.qemu.memory import Memory

# a new KVM faults small pages in again one by one: an emulated bench host needs seconds for 65,536 of them
DAILY = [
    ("type1", Memory("memfd", "2m")),
    ("iommufd", Memory("file", "thp")),
    ("iommufd", Memory("ram", "thp")),
]
MORE = [
    ("iommufd", Memory("memfd", "2m")),
    ("type1", Memory("file", "4k")),
    ("type1", Memory("ram", "4k")),
    *((iommu, Memory("memfd", "4k")) for iommu in ("type1", "iommufd")),
    ("iommufd", Memory("memfd", "thp")),  # with type1: test_known_defects.py
    *((iommu, Memory("file", "2m")) for iommu in ("type1", "iommufd")),
    ("type1", Memory("memfd", "4k", prealloc_old=True)),
    ("type1", Memory("memfd", "4k", prealloc_new=True)),
    ("type1", Memory("memfd", "4k", prealloc_old=True, prealloc_new=True)),
    ("type1", Memory("memfd", "2m", prealloc_old=True, prealloc_new=True)),
]
PLUGGED = Memory("memfd", "thp", dimms_mib=(128,))
PLUGGED_SMALL = Memory("memfd", "4k", dimms_mib=(128,))
PLUGGED_HUGE = Memory("memfd", "2m", dimms_mib=(128,))
# all of it is touched first, so that there is something to give back
BALLOON = Memory("memfd", "4k", prealloc_old=True, balloon=True)


@pytest.mark.parametrize(
    "iommu, memory",
    [*DAILY, *(pytest.param(*pair, marks=pytest.mark.nightly) for pair in MORE)],
    indirect=True,
    ids=str,
)
def test_dma_survives(memory, load, update, verdict, claims):
    """DMA into memory of every kind is neither lost nor damaged, and its pages stay those asked for."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    verdict(*claims(), pages_as_asked(memory.page))


@pytest.mark.parametrize(
    "iommu, memory",
    [
        ("iommufd", PLUGGED),
        pytest.param("type1", PLUGGED_SMALL, marks=pytest.mark.nightly),
        pytest.param("type1", PLUGGED_HUGE, marks=pytest.mark.nightly),
    ],
    indirect=True,
    ids=str,
)
def test_memory_plugged_before_the_update_is_kept(memory, load, update, verdict, claims):
    """A module that was plugged into the running guest is there, with its content, in new QEMU."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    verdict(*claims(), pages_as_asked(memory.page))


# vhost-vdpa maps the guest's memory for its device, and so inhibits a balloon as VFIO does
@pytest.mark.parametrize("row, iommu, memory", [("tap", "vhost", BALLOON)], indirect=True, ids=str)
def test_a_balloon_stays_inflated(load, update, verdict, claims, inflate):
    """What the balloon gave back to the host stays given back, and the guest goes on with the rest."""
    with load() as running:
        running.settle()
        inflate(192)
        with update():
            running.settle()

    verdict(*claims(), stays_given_back())


@pytest.mark.nightly
@pytest.mark.parametrize("iommu, memory", [("type1", BALLOON), ("iommufd", BALLOON)], indirect=True, ids=str)
def test_a_balloon_beside_vfio_gives_nothing_back(load, update, verdict, claims, inflate):
    """Beside VFIO the guest gives memory up and the host gets none, before an update and after it."""
    with load() as running:
        running.settle()
        inflate(192)
        with update():
            running.settle()

    verdict(*claims(), stays_given_back(inhibited=True))
