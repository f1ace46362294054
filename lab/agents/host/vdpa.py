"""A vDPA device, made by a management device of the kernel, for QEMU or as a disk of the host.

Source: vdpa(8), vdpa-dev(8); Linux drivers/vdpa/vdpa.c: driver_override decides which driver of the bus
has a device: vhost_vdpa gives it to a process, virtio_vdpa to the host itself.
"""

import json
import re
from pathlib import Path
from typing import Any

from ..rpc import AgentError
from . import vduse
from .holders import RELEASE_S, wait_released
from .journal import Entry, Journal
from .sysfs import Sysfs, link_name
from .waiting import wait_until

KIND = "vdpa.device"
VHOST, VIRTIO = "vhost_vdpa", "virtio_vdpa"
NODE_S = 10.0
UNANSWERED_S = 35.0
"""A process that dies with the device open first asks a VDUSE daemon that is gone: half a minute."""

_BUS = "sys/bus/vdpa"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def managements(text: str) -> list[str]:
    """Names of the management devices, as `vdpa -j mgmtdev show` tells."""
    return sorted(json.loads(text)["mgmtdev"])


def device_type(text: str, name: str) -> str:
    """What a device is, as `vdpa -j dev show` tells: "network", "block"; "" if it is not there."""
    return str(json.loads(text)["dev"].get(name, {}).get("type", ""))


def create(
    sysfs: Sysfs, journal: Journal, name: str, management: str, mac: str | None = None
) -> dict[str, Any]:
    """Make a device and give it to vhost_vdpa: {name, path, management, type, mac}; path: what QEMU opens.

    With management "vduse" a daemon must have made its half, of the same name; it is waited for.

    Raises:
        AgentError: no such management device, a device of that name, no daemon, or the kernel refuses.
    """
    _refuse_unless_possible(sysfs, name, management)
    wanted = {"management": management, "mac": mac}
    try:
        if management == vduse.MANAGEMENT:
            if not journal.changes(vduse.KIND, name):
                journal.begin(vduse.KIND, name, {}, wanted)
            vduse.wait_served(sysfs, name)  # without a daemon the next step would block for half a minute
        journal.begin(KIND, name, {}, wanted)
        address = ["mac", mac] if mac else []
        sysfs.run(["vdpa", "dev", "add", "name", name, "mgmtdev", management, *address])
        _move(sysfs, name, VHOST)
        path = _vhost_node(sysfs, name)
        shown = device_type(sysfs.run(["vdpa", "-j", "dev", "show"]), name)
    except (AgentError, OSError):
        remove(sysfs, journal, name)
        raise
    return {"name": name, "path": path, "type": shown} | wanted


def as_disk(sysfs: Sysfs, journal: Journal, name: str) -> str:
    """Give a device to the host itself; returns the path of the host's block device.

    Raises:
        AgentError: it was not made here, is no disk, someone has it open, or its daemon is gone.
    """
    if not (changes := journal.changes(KIND, name)):
        made = ", ".join(entry.what for entry in journal.all_changes(KIND)) or "none"
        raise AgentError(f"there is no vDPA device {name!r} of this agent; it made: {made}")
    if (shown := device_type(sysfs.run(["vdpa", "-j", "dev", "show"]), name)) != "block":
        raise AgentError(f"vDPA device {name} is no disk, but of type {shown or 'none'}")
    if changes[0].after["management"] == vduse.MANAGEMENT and not vduse.served(sysfs, name):
        raise AgentError(f"vDPA device {name} cannot be read: no daemon serves it any more")
    wait_released(sysfs, name, _nodes(sysfs, name), RELEASE_S)
    _move(sysfs, name, VIRTIO)
    wait_until(lambda: _disks(sysfs, name), NODE_S, lambda: f"vDPA device {name} has brought up no disk")
    return f"/dev/{_disks(sysfs, name)[0]}"


def remove(sysfs: Sysfs, journal: Journal, name: str) -> None:
    """Remove a device; one that was not made here is left alone.

    What the daemon of a VDUSE device has made goes when the daemon has gone too: see vduse.sweep.
    """
    for entry in journal.changes(KIND, name):
        journal.undo(entry)
    vduse.sweep(sysfs, journal)


def undo(sysfs: Sysfs, entry: Entry) -> None:
    """Remove the device that a journal entry names, whichever driver has it."""
    name = entry.what
    if not _device(sysfs, name).exists():
        return
    unanswered = entry.after["management"] == vduse.MANAGEMENT and not vduse.served(sysfs, name)
    if unanswered:
        vduse.expect_no_answers(sysfs, name)
    wait_released(sysfs, name, _nodes(sysfs, name), UNANSWERED_S if unanswered else RELEASE_S)
    sysfs.run(["vdpa", "dev", "del", name])


def _refuse_unless_possible(sysfs: Sysfs, name: str, management: str) -> None:
    offered = managements(sysfs.run(["vdpa", "-j", "mgmtdev", "show"]))
    if management not in offered:
        raise AgentError(
            f"there is no vDPA management device {management!r}; there are: {', '.join(offered) or 'none'}"
        )
    if not _NAME.fullmatch(name):
        raise AgentError(f"{name!r} is no name for a vDPA device")
    if _device(sysfs, name).exists():
        raise AgentError(f"there is a vDPA device {name} already, which someone may be using")
    if not (sysfs.root / _BUS / "drivers" / VHOST).is_dir():
        raise AgentError(f"this kernel has no {VHOST} driver: build it with CONFIG_VHOST_VDPA")


def _move(sysfs: Sysfs, name: str, driver: str) -> None:
    device = _device(sysfs, name)
    if (bound := link_name(device / "driver")) == driver:
        return
    sysfs.write(device / "driver_override", driver)
    if bound is not None:
        sysfs.write(device / "driver" / "unbind", name)
    sysfs.write(sysfs.root / _BUS / "drivers" / driver / "bind", name)
    if (bound := link_name(device / "driver")) != driver:
        raise AgentError(
            f"vDPA device {name} has {bound or 'no driver'} after asking for {driver}; see dmesg"
        )


def _device(sysfs: Sysfs, name: str) -> Path:
    return sysfs.root / _BUS / "devices" / name


def _nodes(sysfs: Sysfs, name: str) -> list[str]:
    return [f"/dev/{path.name}" for path in sorted(_device(sysfs, name).glob("vhost-vdpa-*"))]


def _vhost_node(sysfs: Sysfs, name: str) -> str:
    def there() -> bool:
        return any((sysfs.root / node.lstrip("/")).exists() for node in _nodes(sysfs, name))

    wait_until(there, NODE_S, lambda: f"vDPA device {name} has no /dev/vhost-vdpa-N")
    return _nodes(sysfs, name)[0]


def _disks(sysfs: Sysfs, name: str) -> list[str]:
    """The host's block devices on it whose device nodes are there."""
    found = [path.name for path in sorted(_device(sysfs, name).glob("virtio*/block/*"))]
    return [disk for disk in found if (sysfs.root / "dev" / disk).exists()]
