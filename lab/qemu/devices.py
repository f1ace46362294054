"""What a guest is given, as data: each device knows its words of QEMU's command line.

`number` is the device's position in its guest; it makes the ids unique and the same in new QEMU.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

IommuBackend = Literal["type1", "iommufd"]

IOMMUFD = "iommufd0"
"""Id of the one iommufd object of a guest."""

FIRST_SLOT = 0x10
"""Where the guest finds its first device: far from what QEMU places by itself."""


def guest_bdf(number: int) -> str:
    """The address at which the guest finds the device at this position."""
    return f"0000:00:{FIRST_SLOT + number:02x}.0"


class Device(Protocol):
    """One device of a guest.

    by_vfio: whether it is assigned by VFIO, so that its DMA goes through the IOMMU back-end
    """

    by_vfio: ClassVar[bool]

    def argv(self, number: int, iommu: IommuBackend) -> list[str]:
        """Its words; `{fd:NAME}` stands for an inherited descriptor."""
        ...


@dataclass(frozen=True)
class VfioFunction:
    """A PCI function of the bench host, bound to vfio-pci.

    options: further properties, like "enable-migration=off"
    """

    bdf: str
    options: tuple[str, ...] = ()
    by_vfio: ClassVar[bool] = True

    def argv(self, number: int, iommu: IommuBackend) -> list[str]:
        return _vfio(number, f"host={self.bdf}", iommu, self.options)


@dataclass(frozen=True)
class VfioMdev:
    """A mediated device of the bench host.

    path: /sys/bus/mdev/devices/UUID
    """

    path: str
    options: tuple[str, ...] = ()
    by_vfio: ClassVar[bool] = True

    def argv(self, number: int, iommu: IommuBackend) -> list[str]:
        return _vfio(number, f"sysfsdev={self.path}", iommu, self.options)


@dataclass(frozen=True)
class VdpaNet:
    """A vDPA NIC, shown to the guest as a virtio-net of QEMU's.

    path: /dev/vhost-vdpa-N on the bench host
    """

    path: str
    mac: str
    by_vfio: ClassVar[bool] = False

    def argv(self, number: int, iommu: IommuBackend) -> list[str]:
        netdev = f"vhost-vdpa,id=net{number},vhostdev={self.path}"
        return _nic(number, f"vdpa{number}", netdev, self.mac)


@dataclass(frozen=True)
class VdpaDevice:
    """A vDPA device of any kind, its virtio shown to the guest as it is.

    path: /dev/vhost-vdpa-N on the bench host
    """

    path: str
    by_vfio: ClassVar[bool] = False

    def argv(self, number: int, iommu: IommuBackend) -> list[str]:
        return ["-device", f"vhost-vdpa-device-pci,id=vdpa{number},vhostdev={self.path},{_addr(number)}"]


@dataclass(frozen=True)
class VdpaBlockdev:
    """A vDPA disk, shown to the guest as a virtio-blk of QEMU's by libblkio; VdpaDevice cannot be migrated.

    path: /dev/vhost-vdpa-N on the bench host
    """

    path: str
    by_vfio: ClassVar[bool] = False

    def argv(self, number: int, iommu: IommuBackend) -> list[str]:
        # cache.direct: this driver has no other way
        driver = "driver=virtio-blk-vhost-vdpa,cache.direct=on"
        return [
            *("-blockdev", f"{driver},node-name=disk{number},path={self.path}"),
            *("-device", f"virtio-blk-pci,id=vdpa{number},drive=disk{number},{_addr(number)}"),
        ]


@dataclass(frozen=True)
class TapNet:
    """A virtio-net on a tap that QEMU inherits as the descriptor "tap:NAME", and so keeps over an exec.

    tap:   name of the tap on the bench host
    vhost: whether the host kernel moves the frames (vhost-net), or QEMU
    """

    tap: str
    mac: str
    vhost: bool
    by_vfio: ClassVar[bool] = False

    def argv(self, number: int, iommu: IommuBackend) -> list[str]:
        netdev = f"tap,id=net{number},fd={{fd:tap:{self.tap}}},vhost={_on(self.vhost)}"
        return _nic(number, f"tap{number}", netdev, self.mac)


@dataclass(frozen=True)
class TapByName:
    """A virtio-net on a tap that QEMU opens by its name.

    Known defect: cpr-exec loses the guest, for the tap's descriptor leaks into new QEMU, which then
    cannot open the tap ("Device or resource busy", 11.1.3). Use TapNet.
    """

    tap: str
    mac: str
    vhost: bool
    by_vfio: ClassVar[bool] = False

    def argv(self, number: int, iommu: IommuBackend) -> list[str]:
        scripts = "script=no,downscript=no"
        netdev = f"tap,id=net{number},ifname={self.tap},{scripts},vhost={_on(self.vhost)}"
        return _nic(number, f"tap{number}", netdev, self.mac)


@dataclass(frozen=True)
class VhostVsock:
    """A vsock by the host kernel; the bench host reaches the guest as address `cid`, 3 or more."""

    cid: int
    by_vfio: ClassVar[bool] = False

    def argv(self, number: int, iommu: IommuBackend) -> list[str]:
        return ["-device", f"vhost-vsock-pci,id=vsock{number},guest-cid={self.cid},{_addr(number)}"]


def _vfio(number: int, which: str, iommu: IommuBackend, options: tuple[str, ...]) -> list[str]:
    backend = [f"iommufd={IOMMUFD}"] if iommu == "iommufd" else []
    return ["-device", ",".join(["vfio-pci", f"id=vfio{number}", which, _addr(number), *backend, *options])]


def _nic(number: int, name: str, netdev: str, mac: str) -> list[str]:
    # romfile= : the guest boots its own kernel, and an option ROM is only more RAM to keep
    device = f"virtio-net-pci,id={name},netdev=net{number},mac={mac},{_addr(number)},romfile="
    return ["-netdev", netdev, "-device", device]


def _addr(number: int) -> str:
    return f"addr={FIRST_SLOT + number:#x}"


def _on(value: bool) -> str:
    return "on" if value else "off"
