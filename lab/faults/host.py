"""Faults planted on the bench host from outside QEMU; each needs root there."""

from lab.drivers.ssh import HostConnection


def warn(host: HostConnection, bdf: str) -> None:
    """A warning in the kernel's log."""
    host.check(["sh", "-c", "echo '<4>WARNING: planted by cprlab' > /dev/kmsg"])


def clear_bus_master(host: HostConnection, bdf: str) -> None:
    """Forbid it all DMA, as a reset does (command register, bit 2)."""
    host.check(["setpci", "-s", bdf, "COMMAND=0:4"])
