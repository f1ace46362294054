"""A guest goes from one QEMU build to another: the same version, a newer one, an older one.

Claim under test: CPR is a live update of QEMU: new QEMU is another binary (docs/devel/migration/CPR.rst);
as in any migration the machine type must be the same on both sides (docs/devel/migration/compatibility.rst).
Builds are named by Debian suite, as its pool drops a version when the next comes: trixie has 10.0, the bench
host's is that of trixie-backports, forky and sid go on; so the pairs forky/bench and sid/bench are the same
version or a step up or down, as the day has it. `versions` of the run record says which they were.
"""

import pytest

from lab.checkers import logs_clean, refused, same_guest, update_completed
from lab.rows import RESTART, TRANSFER

BOTH = pytest.mark.parametrize("iommu", ["type1", "iommufd"], indirect=True)
BENCH = "host:/usr/bin/qemu-system-x86_64"
STREAMS = ("nic.to-guest", "nic.from-guest")


def pairs(*chosen, nightly=()):
    """Old and new QEMU, by suite; `nightly` ones are left out of `make test`, which so fetches sid alone."""
    named = {"bench": BENCH, "trixie": "deb:10.0", "forky": "deb:forky", "sid": "deb:sid"}
    params = [
        pytest.param(
            *(named[name] for name in pair),
            id="-to-".join(pair),
            marks=[pytest.mark.nightly] if pair in nightly else [],
        )
        for pair in (*chosen, *nightly)
    ]
    return pytest.mark.parametrize("qemu_old, qemu_new", params, indirect=True)


@BOTH
@pairs(("bench", "sid"), nightly=[("sid", "bench"), ("forky", "bench"), ("bench", "forky"), ("forky", "sid")])
def test_dma_survives(load, update, verdict, claims):
    """The NIC's DMA goes on from one build to the other, and the guest sees the machine that it booted on."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    verdict(*claims())


@BOTH
@pytest.mark.forced("mode-missing")
@pytest.mark.parametrize("needed_mode", [RESTART], ids=["any mode"])
@pairs(nightly=[("trixie", "bench")])
def test_a_mode_that_old_qemu_lacks_is_refused(load, update, verdict):
    """QEMU 10.0 has no cpr-exec: it says so, and the guest runs on with its DMA."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    verdict(*refused(STREAMS, "Parameter 'mode' does not accept value 'cpr-exec'"))


@pytest.mark.nightly
@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="QEMU 10.0.13 has queues of 1024 in every virtio device, 11.1.3 of 128 and does not load them",
)
@pytest.mark.parametrize("mode", [TRANSFER], indirect=True)
@pytest.mark.parametrize("row, iommu", [("tap", "vhost")], indirect=True)
@pairs(nightly=[("trixie", "bench")])
def test_transfer_from_10_0(load, update, verdict, qemu_said):
    """QEMU 10.0 hands a guest without an assigned device over to a newer one (it has virtio devices)."""
    with load() as running:
        running.settle()
        with update():
            running.settle(timeout_s=15)

    qemu_said("vring.num 1024 exceeds allocated max")
    verdict(update_completed(), same_guest(), logs_clean())


@pytest.mark.parametrize("mode", [TRANSFER], indirect=True)
@pytest.mark.parametrize("row, iommu", [("tap", "vhost")], indirect=True)
@pairs(nightly=[("bench", "trixie")])
def test_transfer_to_10_0_is_refused(load, update, verdict):
    """QEMU 10.0 does not know the CPR state of 10.1 and newer: it ends, and the guest runs on in old QEMU."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    verdict(*refused(["tap.from-guest"], "."))


@BOTH
@pytest.mark.nightly
@pytest.mark.forced("mode-missing")
@pytest.mark.parametrize("mode", [TRANSFER], indirect=True)
@pairs(nightly=[("trixie", "bench")])
def test_transfer_of_a_vfio_device_from_10_0_is_refused(load, update, verdict):
    """QEMU 10.0 knows cpr-transfer, but not with VFIO (since 10.1): new QEMU ends, the guest runs on."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    verdict(*refused(STREAMS, "."))


@pytest.mark.nightly
@pytest.mark.parametrize("iommu", ["iommufd"], indirect=True)
@pytest.mark.parametrize("qemu_new", ["own"], indirect=True)
def test_a_users_own_build(load, update, verdict, claims):
    """A build with libraries that the bench host does not have is brought there, and takes the guest over."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    verdict(*claims())
