"""The table of rows. A new device class is one line here, and what it says is in README.md."""

from collections.abc import Iterator

from lab.errors import LabUsageError
from lab.rows import VDPA, VHOST, Case, Row
from lab.rows.devices import (
    Disk,
    Display,
    DmaEngine,
    Nic,
    SerialMdev,
    Tap,
    VdpaDisk,
    VdpaNic,
    VirtualFunction,
    Vsock,
)

NIC2 = Nic("nic2", "far2")
MDEV_REFUSED = "CPR does not support vfio mdev"

ROWS = (
    Row("nic", "NIC", (Nic(),)),
    Row("vf", "SR-IOV function of a NIC", (VirtualFunction(),)),
    Row("nvme", "NVMe", (Disk(),)),
    Row("gpu", "GPU", (Display(),)),
    Row("edu", "DMA engine", (DmaEngine(),)),
    Row("two-nics", "two NICs in one container", (Nic(), NIC2)),
    Row("together", "NIC, NVMe and GPU in one guest", (Nic(), Disk(), Display())),
    # one device, its driver told which interrupts to use; edu and the first NIC have INTx and MSI-X only
    Row("msix", "NIC by MSI-X", (NIC2,), kernel_args="e1000e.IntMode=2"),
    Row("msi", "NIC by MSI", (NIC2,), kernel_args="e1000e.IntMode=1"),
    Row("intx", "NIC by INTx", (NIC2,), kernel_args="e1000e.IntMode=0"),
    Row("viommu", "NIC behind the guest's own IOMMU", (Nic(),), viommu=True),
    Row("no-migration", "NIC, enable-migration=off", (Nic(options=("enable-migration=off",)),)),
    Row(
        "mdev",
        "mediated device whose driver can migrate, beside a NIC",
        (Nic(), SerialMdev()),
        refused={"type1": MDEV_REFUSED},
    ),
    Row("vdpa-net", "vDPA NIC (simulator)", (VdpaNic(),), VDPA),
    Row("vdpa-blk", "vDPA disk (simulator)", (VdpaDisk(),), VDPA),
    Row("tap", "virtio-net on an inherited tap", (Tap(vhost=False),), VHOST),
    Row("tap-vhost", "the same with vhost-net", (Tap(vhost=True),), VHOST),
    Row("vsock", "vhost-vsock", (Vsock(),), VHOST),
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


def cases(*, refused: bool | None = None) -> Iterator[Case]:
    """Every row on each of its back-ends.

    refused: only those that QEMU refuses to update, or only the others
    """
    for row in ROWS:
        for backend in row.backends:
            case = Case(row, backend)
            if refused is None or refused == (case.refused is not None):
                yield case
