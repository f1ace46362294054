"""The table of rows. A new device class is one line here, and what it says is in README.md."""

import re
from collections.abc import Iterator

from lab.errors import LabUsageError
from lab.rows import EXEC, REBOOT, TRANSFER, VDPA, VFIO, VHOST, Case, Fate, Row
from lab.rows.devices import (
    CudaGpu,
    Disk,
    Display,
    DmaEngine,
    Nic,
    SerialMdev,
    Tap,
    VdpaDisk,
    VdpaNic,
    VduseDisk,
    VirtualFunction,
    Vsock,
)

NIC2 = Nic("nic2", "far2")
TO_TAP = ("tap.to-guest",)
TAP_BUSY = "could not configure /dev/net/tun (cprtap0): Device or resource busy"
CID_BUSY = "vhost-vsock: unable to set guest cid: Address already in use"
MDEV_REFUSED = Fate(
    refused={"type1": "CPR does not support vfio mdev"}, forced={"type1": ("vfio-mdev-type1", "blocked")}
)
NOT_MIGRATABLE = {"vdpa": "State blocked by non-migratable device '.*vhost-vdpa-device'"}
# only one process may have a vDPA device (Linux vhost_vdpa_open), a tap of one queue, or a vsock's CID
ONE_OPENER = {"vdpa": ("vdpa-busy",)}
VDPA_BUSY = Fate(
    refused={"vdpa": "Could not open '/dev/vhost-vdpa-0': Device or resource busy"}, forced=ONE_OPENER
)
BLKIO_BUSY = Fate(
    refused={"vdpa": "blkio_connect failed: Failed to connect to vDPA device"}, forced=ONE_OPENER
)
# both processes hold the tap, and each reads from it what the other one should have
SHARED_TAP = Fate(drops=("tap.to-guest", "tap.from-guest"))


def _busy(text: str, finding: str) -> dict[str, Fate]:
    """cpr-exec loses the guest with it; cpr-transfer is refused: new QEMU ends, the old goes on."""
    forced = {"vhost": (finding,)}
    refused = Fate(refused={"vhost": re.escape(text)}, forced=forced)
    return {EXEC: Fate(lost=text, forced=forced), TRANSFER: refused}


def _both(fate: Fate) -> dict[str, Fate]:
    """The same by cpr-exec and by cpr-transfer."""
    return {EXEC: fate, TRANSFER: fate}


ROWS = (
    Row("nic", "NIC", (Nic(),)),
    Row("vf", "SR-IOV function of a NIC", (VirtualFunction(),)),
    Row("nvme", "NVMe", (Disk(),)),
    Row("gpu", "GPU", (Display(),)),
    Row("edu", "DMA engine", (DmaEngine(),)),
    Row("cuda", "NVIDIA GPU by CUDA (not verified on hardware)", (CudaGpu(),)),
    Row("two-nics", "two NICs in one container", (Nic(), NIC2)),
    Row("together", "NIC, NVMe and GPU in one guest", (Nic(), Disk(), Display())),
    # highres=off: to start and to stop, VFIO keeps the guest's processor busy for 0.1 s. On a busy controller
    # an exit of a guest nested under TCG costs 1.4 ms, a timer interrupt takes five, most of them to program
    # the next one, and the guest then did little but that: 5 to 31 s to start in place of 0.14, and more than
    # 60 in a CI. Without high resolution timers there are half as many, and it took 4 to 5 s. The load's own
    # timers are of 100 ms and more.
    Row(
        "msi",
        "DMA engine by MSI, behind the guest's own IOMMU",
        (DmaEngine(interrupts="msi"),),
        viommu=True,
        kernel_args="highres=off",
    ),
    # the others interrupt by MSI-X
    Row("intx", "NIC by INTx", (Nic(),), kernel_args="pci=nomsi"),
    Row("viommu", "NIC behind the guest's own IOMMU", (Nic(),), viommu=True),
    # mtty is the one device here whose kernel driver can migrate
    Row("mdev", "NIC and a migratable mdev", (Nic(), SerialMdev()), fates=_both(MDEV_REFUSED)),
    Row(
        "mdev-off",
        "NIC and an mdev, enable-migration=off",
        (Nic(), SerialMdev(("enable-migration=off",))),
        ("iommufd",),
    ),
    Row(
        "no-flr",
        "NIC without function level reset",
        (Nic("nic-no-flr"),),
        fates={
            EXEC: Fate(
                lost="error: kvm run failed Bad address",
                forced=dict.fromkeys(VFIO, ("vfio-no-flr",)),
            )
        },
    ),
    Row("vdpa-net", "vDPA NIC (simulator)", (VdpaNic(),), VDPA, fates={TRANSFER: VDPA_BUSY}),
    # libblkio leaves a ring and a buffer behind
    Row(
        "vdpa-blk",
        "vDPA disk (simulator)",
        (VdpaDisk(),),
        VDPA,
        fates={EXEC: Fate(leaks=2), TRANSFER: BLKIO_BUSY},
    ),
    Row(
        "vduse-blk",
        "vDPA disk (VDUSE)",
        (VduseDisk(),),
        VDPA,
        fates={EXEC: Fate(leaks=2), TRANSFER: BLKIO_BUSY},
    ),
    Row(
        "vdpa-blk-pci",
        "vDPA disk (simulator), passed on",
        (VdpaDisk(passed_on=True),),
        VDPA,
        fates={
            EXEC: Fate(refused=NOT_MIGRATABLE, forced={"vdpa": ("not-migratable", "blocked")}),
            TRANSFER: Fate(
                refused=NOT_MIGRATABLE, forced={"vdpa": ("not-migratable", "blocked", "vdpa-busy")}
            ),
        },
    ),
    Row(
        "tap",
        "virtio-net on an inherited tap",
        (Tap(vhost=False),),
        VHOST,
        fates={EXEC: Fate(drops=TO_TAP), TRANSFER: SHARED_TAP, REBOOT: Fate(drops=TO_TAP)},
    ),
    Row(
        "tap-vhost",
        "virtio-net on an inherited tap, by vhost-net",
        (Tap(vhost=True),),
        VHOST,
        fates={EXEC: Fate(leaks=1, drops=TO_TAP), TRANSFER: SHARED_TAP},
    ),
    Row(
        "tap-name",
        "virtio-net on a tap by name",
        (Tap(vhost=False, named=True),),
        VHOST,
        fates=_busy(TAP_BUSY, "tap-by-name"),
    ),
    Row(
        "tap-name-vhost",
        "virtio-net on a tap by name, by vhost-net",
        (Tap(vhost=True, named=True),),
        VHOST,
        fates=_busy(TAP_BUSY, "tap-by-name"),
    ),
    Row(
        "vsock",
        "vhost-vsock",
        (Vsock(),),
        VHOST,
        fates=_busy(CID_BUSY, "vhost-vsock"),
    ),
)


def row(name: str) -> Row:
    """A row by its name.

    Raises:
        LabUsageError: if there is none.
    """
    found = next((row for row in ROWS if row.name == name), None)
    if found is None:
        raise LabUsageError(f"there is no row {name!r}; there are {', '.join(row.name for row in ROWS)}")
    return found


def cases(mode: str = EXEC) -> Iterator[Case]:
    """Every row on each of its back-ends, by one mode of update."""
    return (Case(row, backend, mode) for row in ROWS for backend in row.backends)
