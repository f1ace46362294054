"""Faults of new QEMU, or of what happens between the two QEMUs: see lab/faults/wrapper.py."""

from lab.faults.fault import ALL_DMA, TO_GUEST, Fault, checkers

FD = "chardev_grade(stream-fd)"
_DMA_FAULTS = "DMA into the void, which firmware may take for a fatal hardware error"

FAULTS = {
    "new-qemu-late": Fault(checkers("guest_pause_below"), wrapper="late"),
    "new-qemu-leaks-a-descriptor": Fault(checkers("replaced_in_place"), wrapper="leak", everyday=True),
    "new-qemu-eats-a-byte": Fault(checkers(FD), wrapper="eat-byte"),
    "new-qemu-swaps-a-chardev": Fault(
        checkers(FD, "replaced_in_place"), serves=False, wrapper="swap-stream", everyday=True
    ),
    "new-qemu-closes-a-chardev": Fault(checkers(FD), serves=False, wrapper="close-stream"),
    "new-qemu-tears-down-mappings": Fault(
        checkers("pages_stayed_pinned", "mappings_kept", *ALL_DMA),
        spares=False,
        wrapper="unmap",
        iommu="iommufd",
        risky=_DMA_FAULTS,
        everyday=True,
    ),
    # afterwards all is as it was: only whoever watched meanwhile can tell
    "new-qemu-unpins-and-pins-again": Fault(
        checkers("pages_stayed_pinned", "mappings_kept"),
        spares=False,
        wrapper="repin",
        iommu="iommufd",
        risky=_DMA_FAULTS,
    ),
    "new-qemu-loses-pages": Fault(
        checkers("pfns_unchanged"), spares=False, wrapper="lose-pages", everyday=True
    ),
    "new-qemu-without-its-device": Fault(checkers("update_completed"), spares=False, wrapper="close-device"),
    "new-qemu-without-its-container": Fault(
        checkers("update_completed"), spares=False, wrapper="close-container"
    ),
    "new-qemu-without-its-iommufd": Fault(
        checkers("update_completed"), spares=False, wrapper="close-iommufd", iommu="iommufd"
    ),
    "interrupts-masked": Fault(
        checkers("interrupts_flow", "device_not_reset", TO_GUEST),
        spares=False,
        wrapper="mask-interrupts",
        risky="the function stays masked if its next driver does not reset it",
        everyday=True,
    ),
}
