"""The faults a case can be given, and the claims each of them must refute.

A fault acts in three places: on the wire or the host while the load runs after the update
(`after`), or in what is started in place of new QEMU (`wrapper`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.drivers.ssh import HostConnection
from lab.faults import host
from lab.guest import Guest
from lab.loads import Agent

WRAPPER = Path(__file__).with_name("wrapper.py")
ALL_DMA = {"dma_intact(nic.to-guest)", "dma_intact(nic.from-guest)"}


@dataclass(frozen=True)
class Scene:
    """What a fault can reach."""

    host: HostConnection
    functions: Sequence[str]
    guest: Guest
    far: Mapping[str, Agent]


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    refutes: the checkers that must say FAIL
    spares:  whether all others must say PASS; a fault that kills the guest leaves them unknown
    wrapper: which fault of lab/faults/wrapper.py new QEMU is started through; "" for none
    after:   done when new QEMU runs the guest
    row, iommu: where it is planted
    """

    refutes: frozenset[str]
    spares: bool = True
    wrapper: str = ""
    after: Callable[[Scene], None] = field(default=lambda scene: None)
    row: str = "nic"
    iommu: str = "type1"

    def command(self, host: HostConnection) -> list[str]:
        """The command to start new QEMU through."""
        return ["/usr/bin/python3", host.put_blob(WRAPPER), self.wrapper] if self.wrapper else []


def _wire(kind: str, direction: str) -> Callable[[Scene], None]:
    def plant(scene: Scene) -> None:
        scene.far["far"].call("fault", kind=kind, direction=direction)

    return plant


def _host(plant: Callable[[HostConnection, str], None]) -> Callable[[Scene], None]:
    return lambda scene: plant(scene.host, scene.functions[0])


def _guest(load: str, kind: str) -> Callable[[Scene], None]:
    def plant(scene: Scene) -> None:
        scene.guest.link.call("load_fault", load=load, kind=kind)

    return plant


def _reboot(scene: Scene) -> None:
    scene.guest.monitor.execute("system_reset")


def _leave_cgroup(scene: Scene) -> None:
    scene.host.check(["sh", "-c", f"echo {scene.guest.pid} > /sys/fs/cgroup/cgroup.procs"])


def _refutes(*checkers: str) -> frozenset[str]:
    return frozenset(checkers)


CONTAINED = {
    "new-qemu-brings-company": Fault(_refutes("container_kept"), wrapper="company"),
    "qemu-leaves-its-cgroup": Fault(_refutes("container_kept"), after=_leave_cgroup),
}
"""Faults that only a guest whose QEMU is in a container can be given."""

FAULTS = {
    "wire-drops-a-frame": Fault(_refutes("dma_intact(nic.to-guest)"), after=_wire("drop", "to-guest")),
    "wire-flips-a-bit": Fault(_refutes("dma_intact(nic.from-guest)"), after=_wire("flip", "from-guest")),
    "new-qemu-late": Fault(_refutes("guest_pause_below"), wrapper="late"),
    "new-qemu-leaks-a-descriptor": Fault(_refutes("replaced_in_place"), wrapper="leak"),
    "new-qemu-swaps-a-chardev": Fault(
        _refutes("chardev_grade(stream-fd)", "replaced_in_place"), wrapper="swap-stream"
    ),
    "new-qemu-tears-down-mappings": Fault(
        _refutes("pages_stayed_pinned", "mappings_kept", *ALL_DMA),
        spares=False,
        wrapper="unmap",
        iommu="iommufd",
    ),
    "new-qemu-loses-pages": Fault(_refutes("pfns_unchanged"), spares=False, wrapper="lose-pages"),
    "new-qemu-without-its-device": Fault(_refutes("update_completed"), spares=False, wrapper="close-vfio"),
    "host-warns": Fault(_refutes("logs_clean"), after=_host(host.warn)),
    "device-forbidden-dma": Fault(
        _refutes("device_not_reset", *ALL_DMA), spares=False, after=_host(host.clear_bus_master)
    ),
    "interrupts-masked": Fault(
        _refutes("interrupts_flow", "device_not_reset", "dma_intact(nic.to-guest)"),
        spares=False,
        wrapper="mask-interrupts",
    ),
    "guest-reboots": Fault(_refutes("same_guest"), spares=False, after=_reboot),
    "disk-flips-a-bit": Fault(
        _refutes("dma_intact(nvme.read)", "medium_intact(nvme)"), after=_guest("nvme", "flip"), row="nvme"
    ),
    "disk-hides-what-it-did-not-write": Fault(
        _refutes("medium_intact(nvme)"), after=_guest("nvme", "hidden"), row="nvme", iommu="iommufd"
    ),
    "display-shows-an-old-picture": Fault(
        _refutes("frames_shown(gpu)"), after=_guest("gpu", "stale"), row="gpu"
    ),
    "engine-copies-an-old-block": Fault(
        _refutes("dma_intact(edu.copy)"), after=_guest("edu", "stale"), row="edu", iommu="iommufd"
    ),
    "vdpa-nic-doubles-a-frame": Fault(
        _refutes("dma_intact(vnet.loop)"), after=_guest("vnet", "duplicate"), row="vdpa-net", iommu="vdpa"
    ),
    "vdpa-disk-keeps-an-old-block": Fault(
        _refutes("dma_intact(vblk.read)", "medium_intact(vblk)"),
        after=_guest("vblk", "stale"),
        row="vdpa-blk",
        iommu="vdpa",
    ),
    "tap-flips-a-bit": Fault(
        _refutes("dma_intact(tap.from-guest)"), after=_wire("flip", "from-guest"), row="tap", iommu="vhost"
    ),
}
