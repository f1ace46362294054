"""A device that is plugged into the guest right before an update, or during one.

Source: QEMU docs/devel/migration/CPR.rst: new QEMU is given what was plugged, too; system/qdev-monitor.c: no
device is added or removed while migrating. Linux drivers/pci/hotplug/pciehp_ctrl.c: a guest takes seconds to
take a device, and five to let it go.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lab.errors import SutError
from lab.failures import IN_PLACE, Failure, Scene
from lab.failures.exec import ordinary
from lab.failures.held import Held, refused
from lab.qemu.monitor import Monitor
from lab.timeline import Recorder
from lab.waiting import wait_until

SLOT = (
    # the slots of q35 are the firmware's unless told otherwise, and the guest's kernel has the native ones
    *("-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"),
    *("-device", "pcie-root-port,id=port0,chassis=1,addr=0x1c"),
)
DEVICE = {"driver": "virtio-rng-pci", "bus": "port0", "id": "late"}
PORT = {"driver": "virtserialport", "bus": "ports.0", "id": "late", "name": "late"}
_BUSY = "guest is busy"
UNSET = (-1, 0, 2**64 - 1)
"""The address of a BAR that nobody has set (hw/pci/pci.h, PCI_BAR_UNMAPPED)."""


class During(Held):
    """While the update is held; then the update goes on."""

    def then(self, recorder: Recorder, monitor: Monitor) -> None:
        refused(recorder, monitor, "device_add", dict(PORT))
        self.go_on(monitor)


@dataclass(frozen=True)
class Before:
    """The guest is still taking the device when it is updated; afterwards it must have it, and let it go."""

    scene: Scene
    mode = "cpr-exec"

    def apply(self, recorder: Recorder, update: int) -> None:
        """Do it once; recorded as any update."""
        monitor, good = self.scene.guest.monitor, ordinary(self.scene)
        words = ["-device", ",".join(f"{key}={value}" for key, value in DEVICE.items())]
        at = good.command.index("-incoming")
        command = [*good.command[:at], *words, *good.command[at:]]
        try:
            monitor.execute("device_add", dict(DEVICE))
            had = self._taken(monitor)
            replace(good, command=command).apply(recorder, update)
            self._wait(lambda: self._taken(monitor), "the guest that takes the device")
            self._wait(lambda: _asked_back(monitor), "the guest that has taken the device")
            self._wait(
                lambda: found(monitor.execute("query-pci")) is None, "the guest that lets the device go"
            )
        except SutError as trouble:
            recorder.record("failure.said", said=str(trouble))
        else:
            when = "before" if had else "after"
            recorder.record(
                "failure.said", said=f"the guest took the device {when} the update, and let it go"
            )

    def _wait(self, there: Callable[[], bool], what: str) -> None:
        wait_until(there, self.scene.timeout_s, what, error=SutError)

    def _taken(self, monitor: Monitor) -> bool:
        return taken(found(monitor.execute("query-pci")))


def _asked_back(monitor: Monitor) -> bool:
    """Whether the guest could be asked to let the device go; not while its slot's power indicator blinks."""
    try:
        monitor.execute("device_del", {"id": DEVICE["id"]})
    except SutError as refusal:
        if _BUSY in str(refusal):
            return False
        raise
    return True


def found(buses: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The device behind its slot, in what query-pci returns; None if it is not there."""
    bridges = (one.get("pci_bridge", {}) for bus in buses for one in bus["devices"])
    behind = (one for bridge in bridges for one in bridge.get("devices", []))
    return next((one for one in behind if one["qdev_id"] == DEVICE["id"]), None)


def taken(device: Mapping[str, Any] | None) -> bool:
    """Whether the guest has given it addresses."""
    regions = (device or {}).get("regions", [])
    return any(int(region["address"]) not in UNSET for region in regions)


DURING = Failure(
    "hot-plug-during",
    "a device is plugged while an update is under way",
    lambda scene: During(scene.guest, ordinary(scene).command, scene.timeout_s),
    r"device_add: .*(migrat|not allowed)",
    "system/qdev-monitor.c, qdev_device_add: refused while migrating",
    promised=IN_PLACE,
)
BEFORE = Failure(
    "hot-plug-before",
    "a guest that was still taking a device is updated (which new QEMU's argv has), and then lets it go",
    Before,
    r"the guest took the device after the update, and let it go",
    "docs/devel/migration/CPR.rst, cpr-exec: new QEMU's argv has what was plugged into old QEMU",
    promised=IN_PLACE,
    words=SLOT,
)
