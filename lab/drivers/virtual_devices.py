"""The devices the virtual bench can have: one row a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

WIRE_QEMU, WIRE_FAR = "qemu", "far"
"""The two ends of a wire: unix datagram sockets NAME.qemu and NAME.far in the run folder.

A full socket (net.unix.max_dgram_qlen, 10 by default) holds its sender back, so this wire loses nothing:
frames for a far end that does not read wait in the NIC's ring, while QEMU spins on half a CPU.  Nobody
bound at the far end loses them at once.  Measured with QEMU 11.1.3.
"""


@dataclass(frozen=True)
class Model:
    """How QEMU is asked for a device.

    device:      its -device name with fixed properties
    has_wire:    a network interface: one end of a wire that carries one Ethernet frame a datagram
    disk_bytes:  size of the backing disk, 0 for none
    """

    device: str
    has_wire: bool = False
    disk_bytes: int = 0


MODELS: Mapping[str, Model] = {
    # no option ROM: nothing boots from it, and reading it costs half a second under TCG
    "igb": Model("igb,romfile=", has_wire=True),
    "nvme": Model("nvme", disk_bytes=1 << 30),
    # iommu_platform: without it virtio bypasses the IOMMU and could not be assigned
    "virtio-gpu": Model("virtio-gpu-pci,iommu_platform=on,disable-legacy=on,romfile="),
    "edu": Model("edu"),
}


@dataclass(frozen=True)
class Device:
    """A device of the bench host, as the target file lists it.

    shares_group: in one IOMMU group with the device before it, as on a board without ACS
    """

    name: str
    model: str
    wire: bool = False
    shares_group: bool = False


def bdf(index: int) -> str:
    """Where the device with this place in the list is: each behind its own root port, buses from 1."""
    return f"0000:{index + 1:02x}:00.0"


def wire_path(run_dir: Path, name: str, end: str) -> Path:
    """The socket of one end of a NIC's wire."""
    return run_dir / f"{name}.{end}"


def disk_path(run_dir: Path, name: str) -> Path:
    """The backing file of a disk."""
    return run_dir / f"{name}.raw"


def device_argv(devices: tuple[Device, ...], run_dir: Path) -> list[str]:
    """QEMU arguments for all devices, each resettable, behind a root port of its own."""
    argv: list[str] = []
    for index, device in enumerate(devices):
        argv += ["-device", _port(devices, index), *_one(device, index, run_dir)]
    return argv


def _port(devices: tuple[Device, ...], index: int) -> str:
    """A root port: its ACS puts the device into a group of its own.

    Without ACS, root ports that are functions of one slot share a group with all that is behind them.
    """
    first = index
    while first > 0 and devices[first].shares_group:
        first -= 1
    shared = devices[index].shares_group or any(
        device.shares_group for device in devices[index + 1 : index + 2]
    )
    slot = f"{0x10 + first:#x}" + (f".{index - first}" if shared else "")
    port = f"pcie-root-port,id=port-{devices[index].name},bus=pcie.0,addr={slot},chassis={index + 1}"
    return port + (",multifunction=on,disable-acs=on" if shared else "")


def _one(device: Device, index: int, run_dir: Path) -> list[str]:
    model = MODELS[device.model]
    option = f"{model.device},id={device.name},bus=port-{device.name}"
    argv: list[str] = []
    if model.has_wire:
        option += f",mac=52:54:00:c9:00:{index + 1:02x}"
    if model.has_wire and device.wire:
        ends = [wire_path(run_dir, device.name, end) for end in (WIRE_QEMU, WIRE_FAR)]
        argv += [
            "-netdev",
            f"dgram,id=wire-{device.name},local.type=unix,local.path={ends[0]},remote.type=unix,remote.path={ends[1]}",
        ]
        option += f",netdev=wire-{device.name}"
    if model.disk_bytes:
        argv += ["-drive", f"if=none,id=disk-{device.name},format=raw,file={disk_path(run_dir, device.name)}"]
        option += f",drive=disk-{device.name},serial={device.name}"
    return [*argv, "-device", option]
