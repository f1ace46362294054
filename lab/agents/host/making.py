"""The calls that make devices on the host and set memory aside, and how every change is undone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import (
    binding,
    container,
    disk,
    hostmem,
    liveupdate,
    mdev,
    probes,
    provisioned,
    sriov,
    tap,
    trace,
    vdpa,
    vduse,
)
from .interlocks import AllowList
from .journal import Journal, Undo
from .sysfs import Sysfs


def undo_table(sysfs: Sysfs) -> dict[str, Undo]:
    """What undoes each kind of change, for the journal."""
    return {
        binding.KIND: lambda entry: binding.undo(sysfs, entry),
        binding.MODULE: lambda entry: binding.undo_module(sysfs, entry),
        hostmem.MOUNT: lambda entry: hostmem.undo_mount(sysfs, entry),
        hostmem.SETTING: lambda entry: hostmem.undo_setting(sysfs, entry),
        container.KIND: lambda entry: container.undo(sysfs, entry),
        liveupdate.LINK: liveupdate.undo_link,
        liveupdate.KEXEC: liveupdate.undo_load,
        mdev.KIND: lambda entry: mdev.undo(sysfs, entry),
        probes.KIND: probes.remove,
        sriov.KIND: lambda entry: sriov.undo(sysfs, entry),
        tap.KIND: lambda entry: tap.undo(sysfs, entry),
        trace.KIND: trace.remove,
        vdpa.KIND: lambda entry: vdpa.undo(sysfs, entry),
        vduse.KIND: lambda entry: vduse.undo(sysfs, entry),
    }


def making(
    sysfs: Sysfs, journal: Journal, taps: tap.Taps, allowed: AllowList
) -> dict[str, Callable[..., Any]]:
    """The calls by the name on the wire; each module says what its own return and refuse."""

    def vf_create(bdf: str, mac: str) -> dict[str, Any]:
        allowed.of(bdf)
        return sriov.create(sysfs, journal, bdf, mac)

    def vdpa_create(name: str, management: str, mac: str | None = None) -> dict[str, Any]:
        allowed.parent(sysfs, management.removeprefix("pci/"))
        return vdpa.create(sysfs, journal, name, management, mac)

    def mdev_create(parent: str, type: str) -> dict[str, Any]:
        allowed.parent(sysfs, parent)
        return mdev.create(sysfs, journal, parent, type)

    return {
        "vf_create": vf_create,
        "vf_remove": lambda bdf: sriov.remove(sysfs, journal, bdf),
        "vdpa_create": vdpa_create,
        "vdpa_as_disk": lambda name: vdpa.as_disk(sysfs, journal, name),
        "vdpa_remove": lambda name: vdpa.remove(sysfs, journal, name),
        "mdev_create": mdev_create,
        "mdev_remove": lambda uuid: mdev.remove(journal, uuid),
        "tap_create": taps.create,
        "tap_persistent": taps.persistent,
        "tap_remove": taps.remove,
        "disk_of": lambda bdf: disk.disk_of(sysfs, bdf),
        "kexec_load": lambda kernel, command_line: liveupdate.kexec_load(journal, kernel, command_line),
        "kexec": liveupdate.kexec,
        "provision_load": lambda folder, kernel, root, more: provisioned.load(
            journal, Path(folder), kernel, root, more
        ),
        "provisioned": provisioned.compared,
        **hostmem.calls(sysfs, journal),
    }
