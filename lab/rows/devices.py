"""The device classes that rows are made of: how each comes to the guest, and what load drives it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from lab.checkers.display import FramesShown
from lab.checkers.medium import MediumIntact
from lab.drivers.agent import HostAgent
from lab.drivers.wire import HostWire
from lab.errors import BenchError
from lab.loads.block import BlockLoad
from lab.loads.cuda import CudaLoad
from lab.loads.dma_engine import DmaEngineLoad
from lab.loads.gpu import GpuLoad
from lab.loads.nic import LoopLoad, NicLoad
from lab.qemu.devices import (
    Device,
    TapByName,
    TapNet,
    VdpaBlockdev,
    VdpaDevice,
    VdpaNet,
    VfioFunction,
    VfioMdev,
    VhostVsock,
)
from lab.rows import Attached, Site

GUEST_MAC = "02:63:70:72:00:02"
"""Of a NIC that the lab makes: locally administered, "cpr" in ASCII."""
TAP = "cprtap0"
VDPA_DISK = "cprblk"
VSOCK_CID, VSOCK_PORT = 63, 6370
HOST_CID = 2


@dataclass(frozen=True)
class Nic:
    """A NIC with a wire, assigned by VFIO.

    function: its name in the target file
    clock:    the name of its far end's clock
    options:  of QEMU's vfio-pci, like "enable-migration=off"
    """

    function: str = "nic"
    clock: str = "far"
    options: tuple[str, ...] = ()
    holds: ClassVar[str] = "/dev/vfio"

    @property
    def needs(self) -> tuple[str, ...]:
        return (f"function:{self.function}", f"wire:{self.function}", f"reset:{self.function}")

    def attach(self, site: Site) -> Attached:
        bdf = _assigned(site, self.function)
        return self._on(site, bdf)

    def _on(self, site: Site, bdf: str) -> Attached:
        far = site.undo.enter_context(site.bench.wire(self.function).far_end(site.evidence))

        def load(at: str) -> NicLoad:
            return NicLoad(far, self.function, self.clock, seed=site.seed, bdf=at)

        return Attached(VfioFunction(bdf, self.options), load, bdf, {self.clock: far})


@dataclass(frozen=True)
class VirtualFunction(Nic):
    """An SR-IOV function of a NIC, made for the case and removed after it; its wire is the NIC's."""

    @property
    def needs(self) -> tuple[str, ...]:
        return (f"sriov:{self.function}", f"wire:{self.function}")

    def attach(self, site: Site) -> Attached:
        bdf = str(site.agent.vf_create(site.bench.function(self.function).bdf, GUEST_MAC)["bdf"])
        site.agent.bind(bdf)
        return self._on(site, bdf)


@dataclass(frozen=True)
class Resettable:
    """A function that is assigned by VFIO, and must have a reset that works."""

    function: str
    holds: ClassVar[str] = "/dev/vfio"

    @property
    def needs(self) -> tuple[str, ...]:
        return (f"function:{self.function}", f"reset:{self.function}")


@dataclass(frozen=True)
class Disk(Resettable):
    """An NVMe controller with a namespace that the guest may overwrite, assigned by VFIO."""

    function: str = "nvme"

    def attach(self, site: Site) -> Attached:
        bdf = _assigned(site, self.function)

        def path(agent: HostAgent) -> str:
            agent.give_back(bdf)
            return agent.disk_of(bdf)

        load = BlockLoad(self.function, seed=site.seed)
        return _disk(site, VfioFunction(bdf), load, path, bdf)


@dataclass(frozen=True)
class Display:
    """A GPU whose display can be seen from outside, assigned by VFIO."""

    function: str = "gpu"
    holds: ClassVar[str] = "/dev/vfio"

    @property
    def needs(self) -> tuple[str, ...]:
        return (f"function:{self.function}", f"screen:{self.function}", f"reset:{self.function}")

    def attach(self, site: Site) -> Attached:
        bdf = _assigned(site, self.function)
        screen = site.bench.screen(self.function)

        def load(at: str) -> GpuLoad:
            return GpuLoad(screen, self.function, seed=site.seed, bdf=at)

        return Attached(VfioFunction(bdf), load, bdf, claims=(FramesShown(self.function),))


@dataclass(frozen=True)
class DmaEngine(Resettable):
    """QEMU's edu device: memory to device to memory, assigned by VFIO.

    interrupts: "msi" for a guest with an IOMMU of its own, as it drives the device by VFIO in its turn
    """

    function: str = "edu"
    interrupts: Literal["intx", "msi"] = "intx"

    def attach(self, site: Site) -> Attached:
        bdf = _assigned(site, self.function)

        def load(at: str) -> DmaEngineLoad:
            return DmaEngineLoad(self.function, seed=site.seed, bdf=at, interrupts=self.interrupts)

        return Attached(VfioFunction(bdf), load, bdf)


@dataclass(frozen=True)
class CudaGpu(Resettable):
    """An NVIDIA GPU that computes, assigned by VFIO; the guest needs its driver. Not verified on hardware."""

    function: str = "cuda"

    def attach(self, site: Site) -> Attached:
        bdf = _assigned(site, self.function)
        return Attached(VfioFunction(bdf), lambda at: CudaLoad(self.function, seed=site.seed, bdf=at), bdf)


@dataclass(frozen=True)
class SerialMdev:
    """mtty, the kernel's sample of a mediated device whose driver can migrate; it does no DMA."""

    options: tuple[str, ...] = ()
    needs: ClassVar[tuple[str, ...]] = ("mdev:mtty",)
    holds: ClassVar[str] = "/dev/vfio"

    def attach(self, site: Site) -> Attached:
        made = site.agent.mdev_create("mtty", "mtty-1")
        return Attached(VfioMdev(str(made["path"]), self.options))


@dataclass(frozen=True)
class VdpaNic:
    """A NIC of the kernel's vDPA simulator, which gives back every frame it is sent."""

    needs: ClassVar[tuple[str, ...]] = ("vdpa:vdpasim_net", "vhost-vdpa", "qemu-netdev:vhost-vdpa")
    holds: ClassVar[str] = "/dev/vhost-vdpa"

    def attach(self, site: Site) -> Attached:
        made = site.agent.vdpa_create("cprnet", "vdpasim_net", GUEST_MAC)
        return Attached(
            VdpaNet(str(made["path"]), GUEST_MAC), lambda at: LoopLoad("vnet", seed=site.seed, bdf=at)
        )


@dataclass(frozen=True)
class VdpaDisk:
    """A disk of the kernel's vDPA simulator.

    passed_on: its virtio is shown to the guest as it is (vhost-vdpa-device-pci), and not by libblkio
    """

    passed_on: bool = False
    management: ClassVar[str] = "vdpasim_blk"
    holds: ClassVar[str] = "/dev/vhost-vdpa"

    @property
    def needs(self) -> tuple[str, ...]:
        by = "qemu-device:vhost-vdpa-device-pci" if self.passed_on else "qemu-blockdev:virtio-blk-vhost-vdpa"
        return (f"vdpa:{self.management}", "vhost-vdpa", by)

    def attach(self, site: Site) -> Attached:
        path = str(site.agent.vdpa_create(VDPA_DISK, self.management)["path"])
        # it answers at once: nothing is in flight but by chance
        load = BlockLoad("vblk", driver="virtio-blk", in_flight=False, seed=site.seed)
        device = VdpaDevice(path) if self.passed_on else VdpaBlockdev(path)
        return _disk(site, device, load, lambda agent: agent.vdpa_as_disk(VDPA_DISK))


@dataclass(frozen=True)
class VduseDisk(VdpaDisk):
    """A vDPA disk that a program in user space offers, qemu-storage-daemon, from a file on the bench host."""

    management: ClassVar[str] = "vduse"

    @property
    def needs(self) -> tuple[str, ...]:
        return ("vduse", "qemu-storage-daemon", *super().needs[1:])

    def attach(self, site: Site) -> Attached:
        image = f"/tmp/{VDPA_DISK}.raw"
        site.bench.connection.check(["truncate", "-s", "64M", image])
        site.undo.callback(site.bench.connection.run, ["rm", "-f", image])
        export = f"type=vduse-blk,id=disk,name={VDPA_DISK},node-name=file,writable=on"
        site.agent.spawn(
            "qemu-storage-daemon",
            [
                "qemu-storage-daemon",
                *("--blockdev", f"driver=file,node-name=file,filename={image}"),
                *("--export", export),
            ],
        )
        return super().attach(site)


@dataclass(frozen=True)
class Tap:
    """A virtio-net on a tap whose descriptor QEMU inherits; the far end is the tap's other side.

    vhost: whether vhost-net moves the frames, or QEMU
    named: QEMU opens it by its name instead
    """

    vhost: bool
    named: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        return ("tun", *(["vhost-net"] if self.vhost else []))

    @property
    def holds(self) -> str:
        return "/dev/vhost-net" if self.vhost else "/dev/net/tun"

    def attach(self, site: Site) -> Attached:
        (site.agent.tap_persistent if self.named else site.agent.tap_create)(TAP)
        wire = HostWire(site.bench.connection, f"packet:{TAP}")
        far = site.undo.enter_context(wire.far_end(site.evidence))

        def load(at: str) -> NicLoad:
            return NicLoad(far, "tap", seed=site.seed, bdf=at)

        device = TapByName if self.named else TapNet
        return Attached(device(TAP, GUEST_MAC, self.vhost), load, far={"far": far})


@dataclass(frozen=True)
class Vsock:
    """A socket between guest and bench host, by vhost-vsock."""

    needs: ClassVar[tuple[str, ...]] = ("vhost-vsock", "qemu-device:vhost-vsock-pci")
    holds: ClassVar[str] = "/dev/vhost-vsock"

    def attach(self, site: Site) -> Attached:
        wire = HostWire(site.bench.connection, f"vsock-listen:{VSOCK_PORT}")
        far = site.undo.enter_context(wire.far_end(site.evidence))

        def load(at: str) -> NicLoad:
            return NicLoad(far, "vsock", seed=site.seed, wire=f"vsock:{HOST_CID}:{VSOCK_PORT}")

        return Attached(VhostVsock(VSOCK_CID), load, far={"far": far})


def _assigned(site: Site, function: str) -> str:
    """The address of a function of the target file, bound to vfio-pci."""
    bdf = site.bench.function(function).bdf
    site.agent.bind(bdf)
    return bdf


def _disk(
    site: Site,
    device: Device,
    load: BlockLoad,
    path: Callable[[HostAgent], str],
    function: str | None = None,
) -> Attached:
    """A disk that the bench host reads again when the guest is gone.

    path: brings it back to the host, and says where it is
    """

    def reread() -> None:
        try:
            disk = path(site.agent)
            site.agent.medium_read(load.name, disk, load.slots, load.block_bytes, load.seed)
        except BenchError as error:  # the claim stays unknown, and says why
            site.evidence.record("witness.blind", witness=f"medium-{load.name}", reason=str(error))

    return Attached(
        device,
        lambda at: replace(load, bdf=at),
        function,
        reread=reread,
        claims=(MediumIntact(load.name),),
    )
