"""A mediated device, made by the kernel driver of its parent.

Source: Linux Documentation/driver-api/vfio-mediated-device.rst; samples/vfio-mdev/mtty.c.
"""

import uuid
from pathlib import Path
from typing import Any

from ..rpc import AgentError
from .holders import wait_released
from .journal import Entry, Journal
from .sysfs import Sysfs, link_name, vfio_cdev

KIND = "mdev.device"
_BUS = "sys/bus/mdev/devices"


def types(sysfs: Sysfs) -> dict[str, list[str]]:
    """The types of device that each parent on this host can make."""
    return {
        parent.name: sorted(path.name for path in (parent / "mdev_supported_types").glob("*"))
        for parent in sorted((sysfs.root / "sys/class/mdev_bus").glob("*"))
    }


def create(sysfs: Sysfs, journal: Journal, parent: str, type: str) -> dict[str, Any]:
    """{uuid, path, group, vfio_cdev}; path: what QEMU wants as sysfsdev.

    Raises:
        AgentError: there is no such parent or type, or the parent has no more of it.
    """
    offered = types(sysfs)
    if parent not in offered:
        raise AgentError(f"there is no mdev parent {parent!r}; parents: {', '.join(offered) or 'none'}")
    if type not in offered[parent]:
        raise AgentError(f"{parent} makes no mdev of type {type!r}; types: {', '.join(offered[parent])}")
    folder = sysfs.root / "sys/class/mdev_bus" / parent / "mdev_supported_types" / type
    if (folder / "available_instances").read_text().strip() == "0":
        raise AgentError(f"{parent} has no more devices of type {type} to give")
    number = str(uuid.uuid4())
    entry = journal.begin(KIND, number, {}, {"parent": parent, "type": type})
    try:
        sysfs.write(folder / "create", number)
        if (cdev := vfio_cdev(_device(sysfs, number))) is None:
            raise AgentError(f"the driver of mdev {number} ({parent} {type}) did not bind; see dmesg")
    except (AgentError, OSError):
        journal.undo(entry)
        raise
    return {
        "uuid": number,
        "path": f"/{_BUS}/{number}",
        "group": link_name(_device(sysfs, number) / "iommu_group"),
        "vfio_cdev": cdev,
    }


def remove(journal: Journal, number: str) -> None:
    """Remove a mediated device; one that was not made here is left alone."""
    for entry in journal.changes(KIND, number):
        journal.undo(entry)


def undo(sysfs: Sysfs, entry: Entry) -> None:
    """Remove the mediated device that a journal entry names."""
    device = _device(sysfs, entry.what)
    if device.is_dir():
        # removing it would block in the kernel for as long as a process holds it
        group = link_name(device / "iommu_group")
        wait_released(sysfs, f"mdev {entry.what}", [f"/dev/vfio/{group}", vfio_cdev(device)])
        sysfs.write(device / "remove", "1")


def _device(sysfs: Sysfs, number: str) -> Path:
    return sysfs.root / _BUS / number
