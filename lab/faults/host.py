"""Faults planted on the bench host from outside QEMU; each needs root there."""

from lab.drivers.ssh import HostConnection


def warn(host: HostConnection, bdf: str) -> None:
    """A warning in the kernel's log."""
    host.check(["sh", "-c", "echo '<4>WARNING: planted by cprlab' > /dev/kmsg"])


def reset(host: HostConnection, bdf: str) -> None:
    """Reset the function under QEMU's feet (Documentation/ABI/testing/sysfs-bus-pci)."""
    host.check(["sh", "-c", f"echo 1 > /sys/bus/pci/devices/{bdf}/reset"])


def mask_interrupts(host: HostConnection, bdf: str) -> None:
    """Set the Function Mask bit of its MSI-X capability (PCI local bus 3.0, 6.8.2.3)."""
    host.check(["setpci", "-s", bdf, "CAP_MSIX+2.W=4000:4000"])


def clear_bus_master(host: HostConnection, bdf: str) -> None:
    """Forbid it all DMA, as a reset does (command register, bit 2)."""
    host.check(["setpci", "-s", bdf, "COMMAND=0:4"])
