"""Binding PCI functions to vfio-pci, and giving them back.

Source: Linux Documentation/ABI/testing/sysfs-bus-pci: driver_override, drivers_probe, unbind.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from ..rpc import AgentError
from .holders import vfio_nodes, wait_released
from .interlocks import VFIO, Allowed, Uses, mismatches, objections, refuse
from .journal import Entry, Journal
from .sysfs import Sysfs

KIND, MODULE = "pci.driver", "kernel.module"
"""Kinds of change: the driver of a function, and a module of the kernel that was not loaded."""


def bind(sysfs: Sysfs, journal: Journal, told: Allowed, together: Sequence[str] = ()) -> dict[str, Any]:
    """Bind a function to vfio-pci; one that is bound already is left as it is.

    told:     what the target file says of it
    together: other members of its IOMMU group that the caller is going to bind as well

    Raises:
        AgentError: the host could not spare it, it is not as in the target file, or the kernel refuses.
    """
    bdf = told.bdf
    refuse_unless_assignable(sysfs, told, together)
    if not journal.changes(KIND, bdf):  # what was bound here was compared then, and shows no disk any more
        refuse(bdf, mismatches(sysfs, told))
    before = {"driver": sysfs.driver(bdf), "driver_override": _override(sysfs, bdf)}
    if before["driver"] != VFIO:
        _load_driver(sysfs, journal)
        entry = journal.begin(KIND, bdf, before, {"driver": VFIO, "driver_override": VFIO})
        try:
            _rebind(sysfs, bdf, VFIO)
            if (bound := sysfs.driver(bdf)) != VFIO:
                raise AgentError(
                    f"{bdf} is bound to {bound or 'no driver'} after asking for {VFIO}; see dmesg"
                )
        except (AgentError, OSError):
            journal.undo(entry)
            raise
    changes = journal.changes(KIND, bdf)
    driver_before = changes[-1].before["driver"] if changes else VFIO
    return {"driver_before": driver_before, "vfio_cdev": sysfs.vfio_cdev(bdf), "group": sysfs.group(bdf)}


def give_back(journal: Journal, bdf: str) -> None:
    """Give a function back to the driver it came from; one that was never bound is left alone."""
    for entry in journal.changes(KIND, bdf):
        journal.undo(entry)


def undo(sysfs: Sysfs, entry: Entry) -> None:
    """Bring back the driver and the override that a journal entry names."""
    bdf, driver = entry.what, entry.before["driver"]
    if not (sysfs.pci / "devices" / bdf).is_dir():
        return  # unplugged, or an SR-IOV function that is gone: there is nothing to give back
    bound, override = sysfs.driver(bdf), _override(sysfs, bdf)
    if (bound, override) == (driver, entry.before["driver_override"]):
        return
    if bound not in (VFIO, driver, None) and override != VFIO:
        return  # somebody has given it to another driver since: it is theirs
    if bound == VFIO:
        wait_released(sysfs, bdf, vfio_nodes(sysfs, bdf))
    _rebind(sysfs, bdf, driver, entry.before["driver_override"])
    if (bound := sysfs.driver(bdf)) != driver:
        raise AgentError(
            f"{bdf} is bound to {bound or 'no driver'} after giving it back to {driver}; see dmesg"
        )


def refuse_unless_assignable(sysfs: Sysfs, told: Allowed, together: Sequence[str] = ()) -> None:
    """Raises AgentError, with the reason, if a guest must not get this function."""
    sysfs.device(told.bdf)
    refuse(told.bdf, objections(sysfs, told.bdf, Uses.of(sysfs), told, together))


def _override(sysfs: Sysfs, bdf: str) -> str | None:
    text = sysfs.attribute(bdf, "driver_override")
    return None if text in (None, "", "(null)") else text


def _rebind(sysfs: Sysfs, bdf: str, driver: str | None, override: str | None = VFIO) -> None:
    """Take a function from its driver and let the kernel probe for `driver`; None leaves it without."""
    device = sysfs.device(bdf)
    # order: no other driver may take it between unbind and probe. "\n" clears an override
    sysfs.write(device / "driver_override", (override or "") + "\n")
    if sysfs.driver(bdf) not in (None, driver):
        sysfs.write(device / "driver" / "unbind", bdf)
    if driver is not None and sysfs.driver(bdf) is None:
        sysfs.write(sysfs.pci / "drivers_probe", bdf)


def undo_module(sysfs: Sysfs, entry: Entry) -> None:
    """Unload the module that a journal entry names, unless somebody has come to use it."""
    users = sysfs.root / "sys/module" / entry.what.replace("-", "_") / "refcnt"
    if users.exists() and users.read_text().strip() == "0":
        sysfs.run(["modprobe", "-r", entry.what])


def _load_driver(sysfs: Sysfs, journal: Journal) -> None:
    if (sysfs.pci / "drivers" / VFIO).is_dir():
        return
    entry = journal.begin(MODULE, VFIO, {"loaded": False}, {"loaded": True})
    with suppress(AgentError):
        sysfs.run(["modprobe", VFIO])
    if not (sysfs.pci / "drivers" / VFIO).is_dir():
        journal.undo(entry)
        raise AgentError(f"this kernel has no {VFIO} driver: build it with CONFIG_VFIO_PCI")
