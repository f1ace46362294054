"""VDUSE: vDPA devices whose other half is a daemon, like qemu-storage-daemon.

The daemon makes /dev/vduse/NAME, and the kernel keeps it when the daemon ends, even in order (Linux 7.3.4,
QEMU 11.1.3). Whatever would talk to a daemon that is gone waits for half a minute.

Source: Linux Documentation/userspace-api/vduse.rst, Documentation/ABI/testing/sysfs-class-vduse.
"""

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress

from ..rpc import AgentError
from .holders import holders
from .journal import Entry, Journal
from .sysfs import Sysfs
from .waiting import wait_until

KIND = "vduse.device"
MANAGEMENT = "vduse"
START_S = 15.0
_NAME_BYTES = 256
# _IOW(0x81, 0x03, char[256])
_DESTROY = (1 << 30) | (_NAME_BYTES << 16) | (0x81 << 8) | 0x03


def destroy(name: str) -> None:
    """Have the kernel forget a device whose daemon is gone."""
    control = os.open("/dev/vduse/control", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(control, _DESTROY, name.encode().ljust(_NAME_BYTES, b"\0"))
    finally:
        os.close(control)


def served(sysfs: Sysfs, name: str) -> bool:
    """Whether a daemon has the device open."""
    return bool(holders(sysfs, [f"/dev/vduse/{name}"]))


def wait_served(sysfs: Sysfs, name: str) -> None:
    """Raises AgentError if no daemon offers the device in time."""
    wait_until(lambda: served(sysfs, name), START_S, lambda: f"no daemon serves /dev/vduse/{name}")


def expect_no_answers(sysfs: Sysfs, name: str) -> None:
    """Have the kernel wait a second at most for each answer of a daemon that is gone."""
    timeout = sysfs.root / "sys/class/vduse" / name / "msg_timeout"
    if timeout.exists() and not served(sysfs, name):
        sysfs.write(timeout, "1")


def sweep(sysfs: Sysfs, journal: Journal) -> None:
    """Destroy what ended daemons left behind; what cannot be yet stays in the journal."""
    for entry in journal.all_changes(KIND):
        in_use = (sysfs.root / "sys/bus/vdpa/devices" / entry.what).exists() or served(sysfs, entry.what)
        if not in_use:
            with suppress(AgentError, OSError):
                journal.undo(entry)


def undo(sysfs: Sysfs, entry: Entry, destroy: Callable[[str], None] = destroy) -> None:
    """Destroy the device that a journal entry names.

    destroy: something that acts like the kernel, in self-tests

    Raises:
        AgentError: its daemon still runs.
    """
    name = entry.what
    if not (sysfs.root / "sys/class/vduse" / name).exists():
        return
    if by := holders(sysfs, [f"/dev/vduse/{name}"]):
        raise AgentError(f"/dev/vduse/{name} is served by {', '.join(by)}: end it first")
    destroy(name)
