"""What this host can do, asked of the kernel and not guessed."""

import os
import platform
import re
import resource
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..rpc import AgentError
from . import hostmem, mdev, vdpa
from .sysfs import Sysfs
from .trace import TRACEFS

CHANGE_PROCESS = (6, 13)
"""The release that got IOMMU_IOAS_CHANGE_PROCESS, without which cpr-exec cannot keep an iommufd."""

NOIOMMU = "sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
"""Not there in a kernel that was built without it."""


def capabilities(sysfs: Sysfs) -> dict[str, Any]:
    """Facts for preflight and doctor.

    memlock_bytes: None means unlimited
    sriov:         {BDF: how many virtual functions it could have}
    vdpa:          names of the management devices that the tool `vdpa` lists; none without that tool
    mdev:          {parent: types of mediated devices it makes}
    hugepages_kb:  sizes of the huge pages that can be reserved
    shmem_thp:     words for when shared memory may be made of transparent huge pages
    memory_files:  those of tmpfs and hugetlbfs that the kernel has
    """
    groups = sysfs.root / "sys/kernel/iommu_groups"
    count = sum(1 for _ in groups.iterdir()) if groups.is_dir() else 0
    memlock, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    release = platform.release()
    return {
        "kernel": release,
        "root": os.geteuid() == 0,
        "iommu": count > 0,
        "iommu_groups": count,
        "iommufd": (sysfs.root / "dev/iommu").exists(),
        "iommufd_change_process": version(release) >= CHANGE_PROCESS,
        "vfio_type1": (sysfs.root / "dev/vfio/vfio").exists(),
        "vfio_cdev": (sysfs.root / "sys/class/vfio-dev").exists(),
        "vfio_pci": (sysfs.pci / "drivers/vfio-pci").exists(),
        "kvm": os.access(sysfs.root / "dev/kvm", os.R_OK | os.W_OK),
        "memlock_bytes": None if memlock == resource.RLIM_INFINITY else memlock,
        "tracefs": (TRACEFS / "instances").is_dir(),
        "pin_counters": "nr_foll_pin_acquired" in _text(Path("/proc/vmstat")),
        "sriov": _sriov(sysfs),
        "vdpa": vdpa.managements(_said(sysfs, ["vdpa", "-j", "mgmtdev", "show"]) or '{"mgmtdev": {}}'),
        "vhost_vdpa": (sysfs.root / "sys/bus/vdpa/drivers/vhost_vdpa").exists(),
        "vhost_net": (sysfs.root / "dev/vhost-net").exists(),
        "vhost_vsock": (sysfs.root / "dev/vhost-vsock").exists(),
        "vduse": (sysfs.root / "dev/vduse/control").exists(),
        "mdev": mdev.types(sysfs),
        "tun": (sysfs.root / "dev/net/tun").exists(),
        "hugepages_kb": hostmem.page_sizes_kb(sysfs),
        "shmem_thp": hostmem.shmem_choices(sysfs),
        "memory_files": hostmem.file_systems(sysfs),
        "kpageflags": (sysfs.root / "proc/kpageflags").exists(),
        "vfio_noiommu_off": _text(sysfs.root / NOIOMMU).strip() in ("", "N"),
        **_storage_daemon(sysfs),
    }


def _sriov(sysfs: Sysfs) -> dict[str, int]:
    totals = {bdf: int(sysfs.attribute(bdf, "sriov_totalvfs") or 0) for bdf in sysfs.bdfs()}
    return {bdf: total for bdf, total in totals.items() if total}


def _storage_daemon(sysfs: Sysfs) -> dict[str, bool]:
    """Whether it is installed, and built to export a disk by VDUSE."""
    said = _said(sysfs, ["qemu-storage-daemon", "--help"])
    return {"qemu_storage_daemon": said is not None, "vduse_blk_export": "vduse-blk" in (said or "")}


def _said(sysfs: Sysfs, argv: Sequence[str]) -> str | None:
    """What a tool prints; None for one that is not installed, or fails."""
    try:
        return sysfs.run(argv)
    except AgentError:
        return None


def version(text: str) -> tuple[int, int]:
    """Major and minor out of a kernel release or a QEMU version; (0, 0) if there is none."""
    match = re.search(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def qemu_version(path: str, timeout_s: float = 30.0) -> str:
    """What `path --version` says in its first line, like "QEMU emulator version 11.1.3 (…)".

    The same file is asked once: it costs an emulated host some seconds, around every update.

    Raises:
        AgentError: if it is no QEMU; the text says what came instead.
    """
    file = _identity(path)
    if file not in _VERSIONS:
        _VERSIONS[file] = _version(path, timeout_s)
    return _VERSIONS[file]


_VERSIONS: dict[tuple[int, ...], str] = {}


def _identity(path: str) -> tuple[int, ...]:
    """Of the file itself, whatever name it goes by; another one has another."""
    try:
        found = os.stat(path)  # noqa: PTH116 (/proc/PID/exe may name a file that is deleted)
    except OSError as error:
        raise AgentError(f"{path} is not a QEMU that runs here: {error}") from None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _version(path: str, timeout_s: float) -> str:
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AgentError(f"{path} is not a QEMU that runs here: {error}") from None
    first = (done.stdout or done.stderr).strip().split("\n")[0]
    if done.returncode != 0 or "QEMU" not in first:
        raise AgentError(f"{path} is not a QEMU: --version ended with {done.returncode} and said {first!r}")
    return first


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
