"""Faults of the bench host and of its devices, from outside QEMU; each needs root there."""

from lab.faults.fault import ALL_DMA, Fault, Plant, Scene, checkers

_GIVEN_UP = "a device in use loses its state; what is not reset properly may hang until a power cycle"


def _shell(text: str) -> Plant:
    """Run a command there; $BDF is the first assigned function."""

    def plant(scene: Scene) -> None:
        scene.host.check(["env", f"BDF={scene.functions[0]}", "sh", "-c", text])

    return plant


FAULTS = {
    "host-warns": Fault(
        checkers("logs_clean"),
        after=_shell("echo '<4>WARNING: planted by cprlab' > /dev/kmsg"),
        everyday=True,
    ),
    # bit 2 of the command register, as a reset clears it
    "device-forbidden-dma": Fault(
        checkers("device_not_reset", *ALL_DMA),
        spares=False,
        after=_shell("setpci -s $BDF COMMAND=0:4"),
        risky=_GIVEN_UP,
        everyday=True,
    ),
    "device-reset": Fault(
        checkers("device_not_reset", *ALL_DMA),
        spares=False,
        after=_shell("echo 1 > /sys/bus/pci/devices/$BDF/reset"),
        risky=_GIVEN_UP,
    ),
    # it waits until QEMU has let the device go. QEMU asks the guest for that, and where the device is on the
    # root bus it can only say that it cannot: the DMA goes on, of a device that no driver has any more
    "device-unbound": Fault(
        checkers("device_not_reset", "logs_clean"),
        spares=False,
        after=_shell("(echo $BDF > /sys/bus/pci/drivers/vfio-pci/unbind) > /dev/null 2>&1 &"),
        risky=_GIVEN_UP,
    ),
}
