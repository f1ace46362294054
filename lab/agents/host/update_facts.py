"""What the kernel of this host can do for an update, and what it allows one QEMU.

Source: Linux include/uapi/linux/vfio.h, VFIO_CHECK_EXTENSION and VFIO_UNMAP_ALL;
include/uapi/linux/iommufd.h, IOMMU_IOAS_CHANGE_PROCESS; proc_pid_limits(5), capabilities(7).
"""

import errno
import fcntl
import os
import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..rpc import AgentError
from .sysfs import Sysfs

VFIO_CHECK_EXTENSION = 0x3B65
VFIO_UNMAP_ALL = 9
"""Came with VFIO_UPDATE_VADDR, which is only answered by a container with a device in it (Linux 5.12 to 7.3,
vfio_iommu_type1_check_extension)."""
TYPE1 = "sys/module/vfio_iommu_type1"
"""Not there where the kernel has iommufd's compatible container alone, which has no VFIO_UPDATE_VADDR."""
VFIO, IOMMUFD = "dev/vfio/vfio", "dev/iommu"
IOMMU_IOAS_CHANGE_PROCESS = 0x3B92
"""_IO(';', 0x92); VFIO_CHECK_EXTENSION is _IO(';', 101)."""
CAP_IPC_LOCK = 1 << 14
FIRST_USERS = "user:[4026531837]"
"""The first user namespace: PROC_USER_INIT_INO, include/linux/proc_ns.h."""
_MEMLOCK = re.compile(r"^Max locked memory +(\S+)", re.MULTILINE)
_EFFECTIVE = re.compile(r"^CapEff:\s*([0-9a-f]+)", re.MULTILINE)


def update_facts(
    sysfs: Sysfs, pid: int | None = None, functions: Sequence[str] = (), paths: Sequence[str] = ()
) -> dict[str, Any]:
    """{update_vaddr, change_process, resets, folders} and, of a process, {argv, memlock_bytes, ipc_lock}.

    update_vaddr, change_process: what the kernel answers; None if the device cannot be opened
    resets:        {BDF: how it can be reset}; those of `functions` that are there
    folders:       {path: whether it is a folder}; of `paths`, as the process sees them
    memlock_bytes: None means unlimited

    Raises:
        AgentError: there is no such process, or it is not ours to look at.
    """
    found = {
        "update_vaddr": _is_type1(sysfs) and _asked(sysfs.root / VFIO, _unmaps_all),
        "change_process": _asked(sysfs.root / IOMMUFD, _has_change_process),
        "resets": {
            bdf: (sysfs.attribute(bdf, "reset_method") or "").split()
            for bdf in functions
            if bdf in sysfs.bdfs()
        },
        "folders": {path: _inside(sysfs, pid, path).is_dir() for path in paths},
    }
    return found if pid is None else found | _allowed(sysfs, pid)


def memlock_bytes(limits: str) -> int | None:
    """The soft limit that /proc/PID/limits tells; None means unlimited."""
    match = _MEMLOCK.search(limits)
    return None if match is None or match[1] == "unlimited" else int(match[1])


def may_lock_all(status: str) -> bool:
    """Whether /proc/PID/status tells of CAP_IPC_LOCK."""
    match = _EFFECTIVE.search(status)
    return match is not None and bool(int(match[1], 16) & CAP_IPC_LOCK)


def _allowed(sysfs: Sysfs, pid: int) -> dict[str, Any]:
    folder = sysfs.root / "proc" / str(pid)
    try:
        # the kernel asks for the capability in the first user namespace
        ours = str((folder / "ns/user").readlink()) == FIRST_USERS
        return {
            "argv": (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1],
            "memlock_bytes": memlock_bytes((folder / "limits").read_text()),
            "ipc_lock": ours and may_lock_all((folder / "status").read_text()),
        }
    except (FileNotFoundError, ProcessLookupError):
        raise AgentError(f"there is no process {pid}") from None
    except PermissionError:
        raise AgentError(f"process {pid} is not ours to look at: run the host agent as root") from None


def _inside(sysfs: Sysfs, pid: int | None, path: str) -> Path:
    """A path as a process sees it, in a container perhaps."""
    if pid is None:
        return sysfs.root / path.lstrip("/")
    base = sysfs.root / "proc" / str(pid)
    return (base / "root" / path.lstrip("/")) if path.startswith("/") else base / "cwd" / path


def _asked(device: Path, ask: Callable[[int], bool]) -> bool | None:
    try:
        fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return None  # of a process that is not root
    try:
        return ask(fd)
    except OSError:
        return None
    finally:
        os.close(fd)


def _is_type1(sysfs: Sysfs) -> bool:
    """Whether /dev/vfio/vfio makes type1 containers: a link to /dev/iommu makes compatible ones.

    Source: Linux Documentation/userspace-api/iommufd.rst, "VFIO compat IOCTLs".
    """
    vfio, iommufd = sysfs.root / VFIO, sysfs.root / IOMMUFD
    linked = vfio.exists() and iommufd.exists() and vfio.samefile(iommufd)
    return (sysfs.root / TYPE1).exists() and not linked


def _unmaps_all(fd: int) -> bool:
    return fcntl.ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_UNMAP_ALL) > 0


def _has_change_process(fd: int) -> bool:
    """An iommufd without mappings has nothing to change; a kernel that does not know the call says ENOTTY."""
    try:
        fcntl.ioctl(fd, IOMMU_IOAS_CHANGE_PROCESS, struct.pack("<II", 8, 0))
    except OSError as error:
        return error.errno not in (errno.ENOTTY, errno.EOPNOTSUPP)
    return True
