"""The devices the virtual bench can have: one row a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

WIRE_QEMU, WIRE_FAR = "qemu", "far"
"""The two ends of a wire: unix datagram sockets NAME.qemu and NAME.far in the run folder.

A full socket (net.unix.max_dgram_qlen, 10 by default) holds its sender back, so this wire loses nothing:
frames for a far end that does not read wait in the NIC's ring, while QEMU spins on half a CPU.  Nobody
bound at the far end loses them at once.  Measured with QEMU 11.1.3.
"""


class Size(NamedTuple):
    """Of a picture, in pixels."""

    width: int
    height: int


SCREEN = Size(320, 200)


@dataclass(frozen=True)
class Model:
    """How QEMU is asked for a device.

    device:      its -device name with fixed properties
    has_wire:    a network interface: one end of a wire that carries one Ethernet frame a datagram
    disk_bytes:  size of the backing disk, 0 for none
    has_screen:  a display, whose picture the monitor gives
    """

    device: str
    has_wire: bool = False
    disk_bytes: int = 0
    has_screen: bool = False


MODELS: Mapping[str, Model] = {
    # no option ROM: nothing boots from it, and reading it costs half a second under TCG
    "igb": Model("igb,romfile=", has_wire=True),
    "e1000e": Model("e1000e,romfile=", has_wire=True),
    "nvme": Model("nvme", disk_bytes=1 << 30),
    # iommu_platform: without it virtio bypasses the IOMMU and could not be assigned; a small screen,
    # as one slow emulated processor draws every picture of it
    "virtio-gpu": Model(
        "virtio-gpu-pci,iommu_platform=on,disable-legacy=on,romfile=,"
        f"xres={SCREEN.width},yres={SCREEN.height}",
        has_screen=True,
    ),
    # dma_mask: by default it reaches the first 256 MiB only, and a guest's memory has any address
    "edu": Model("edu,dma_mask=0xffffffffffffffff"),
}


@dataclass(frozen=True)
class Device:
    """A device of the bench host, as the target file lists it.

    shares_group: another function in the slot of the device before it, and in one IOMMU group with it,
                  as neither has ACS (not igb: Linux knows its functions to be isolated)
    iops:         of a disk, the requests it completes per second. An emulated disk answers at once; one
                  that is held back keeps requests in flight for a good part of a second, so that the
                  device really does DMA while no QEMU runs the guest
    cable:        of a NIC that is the far end of another one's wire: that wire's path, without end
    """

    name: str
    model: str
    wire: bool = False
    shares_group: bool = False
    iops: int | None = None
    cable: Path | None = None


def place(devices: tuple[Device, ...], index: int) -> tuple[int, int]:
    """The device whose root port it is behind, by index, and its function number there."""
    leader = index
    while leader > 0 and devices[leader].shares_group:
        leader -= 1
    return leader, index - leader


def bdf(devices: tuple[Device, ...], index: int) -> str:
    """Where it is: each root port has a bus of its own, from 1."""
    leader, function = place(devices, index)
    bus = 1 + sum(not device.shares_group for device in devices[1 : leader + 1])
    return f"0000:{bus:02x}:00.{function}"


def wire_path(run_dir: Path, name: str, end: str) -> Path:
    """The socket of one end of a NIC's wire."""
    return run_dir / f"{name}.{end}"


def disk_path(run_dir: Path, name: str) -> Path:
    """The backing file of a disk."""
    return run_dir / f"{name}.raw"


def device_argv(devices: tuple[Device, ...], run_dir: Path) -> list[str]:
    """QEMU arguments for all devices, each resettable, and in its own IOMMU group unless it shares one."""
    argv: list[str] = []
    for index, device in enumerate(devices):
        leader, function = place(devices, index)
        if function == 0:
            port = (
                f"pcie-root-port,id=port-{device.name},bus=pcie.0,addr={0x10 + index:#x},chassis={index + 1}"
            )
            argv += ["-device", port]
        where = f"bus=port-{devices[leader].name},addr=0.{function}"
        several = devices[index + 1].shares_group if index + 1 < len(devices) else False
        argv += _one(device, index, run_dir, where + (",multifunction=on" if function or several else ""))
    return argv


def _one(device: Device, index: int, run_dir: Path, where: str) -> list[str]:
    model = MODELS[device.model]
    option = f"{model.device},id={device.name},{where}"
    argv: list[str] = []
    if model.has_wire:
        option += f",mac=52:54:00:c9:00:{index + 1:02x}"
    if model.has_wire and (device.wire or device.cable):
        ends = [wire_path(run_dir, device.name, end) for end in (WIRE_QEMU, WIRE_FAR)]
        if device.cable:
            ends = [device.cable.with_suffix(f".{end}") for end in (WIRE_FAR, WIRE_QEMU)]
        argv += [
            "-netdev",
            f"dgram,id=wire-{device.name},local.type=unix,local.path={ends[0]},remote.type=unix,remote.path={ends[1]}",
        ]
        option += f",netdev=wire-{device.name}"
    if model.disk_bytes:
        drive = f"if=none,id=disk-{device.name},format=raw,file={disk_path(run_dir, device.name)}"
        argv += ["-drive", drive + (f",throttling.iops-total={device.iops}" if device.iops else "")]
        option += f",drive=disk-{device.name},serial={device.name}"
    return [*argv, "-device", option]
