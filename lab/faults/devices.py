"""Blocks that are stale, torn, missing or damaged below a load in the guest, as a device would leave them."""

from lab.faults.fault import Fault, Plant, Scene, checkers

COPY = "dma_intact(edu.copy)"
READ, MEDIUM = "dma_intact(nvme.read)", "medium_intact(nvme)"


def _block(load: str, kind: str) -> Plant:
    def plant(scene: Scene) -> None:
        scene.guest.link.call("load_fault", load=load, kind=kind)

    return plant


FAULTS = {
    "engine-copies-an-old-block": Fault(
        checkers(COPY), after=_block("edu", "stale"), row="edu", iommu="iommufd", everyday=True
    ),
    "engine-tears-a-block": Fault(checkers(COPY), after=_block("edu", "torn"), row="edu", iommu="iommufd"),
    "engine-loses-a-block": Fault(checkers(COPY), after=_block("edu", "missing"), row="edu", iommu="iommufd"),
    "engine-flips-a-bit": Fault(checkers(COPY), after=_block("edu", "flip"), row="edu", iommu="iommufd"),
    # every block is right; the host's IOMMU alone knows of the write that went nowhere
    "engine-writes-where-it-may-not": Fault(
        checkers("mappings_kept", "logs_clean"),
        after=_block("edu", "wild"),
        row="edu",
        iommu="iommufd",
        risky="an IOMMU fault, which firmware may take for a fatal hardware error",
    ),
    "disk-flips-a-bit": Fault(checkers(READ, MEDIUM), after=_block("nvme", "flip"), row="nvme"),
    "disk-tears-a-block": Fault(checkers(READ, MEDIUM), after=_block("nvme", "torn"), row="nvme"),
    "disk-loses-a-request": Fault(
        checkers("dma_intact(nvme.write)"), spares=False, after=_block("nvme", "drop"), row="nvme"
    ),
    "disk-hides-what-it-did-not-write": Fault(
        checkers(MEDIUM), after=_block("nvme", "hidden"), row="nvme", iommu="iommufd", everyday=True
    ),
    "display-shows-an-old-picture": Fault(
        checkers("frames_shown(gpu)"), after=_block("gpu", "stale"), row="gpu", everyday=True
    ),
    "display-tears-a-picture": Fault(checkers("frames_shown(gpu)"), after=_block("gpu", "torn"), row="gpu"),
    "vdpa-nic-doubles-a-frame": Fault(
        checkers("dma_intact(vnet.loop)"), after=_block("vnet", "duplicate"), row="vdpa-net", iommu="vdpa"
    ),
    "vdpa-disk-keeps-an-old-block": Fault(
        checkers("dma_intact(vblk.read)", "medium_intact(vblk)"),
        after=_block("vblk", "stale"),
        row="vdpa-blk",
        iommu="vdpa",
    ),
}
