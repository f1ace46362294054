"""What this host can do, asked of the kernel and not guessed."""

import os
import platform
import re
import resource
import subprocess
from pathlib import Path
from typing import Any

from ..rpc import AgentError
from .sysfs import Sysfs
from .trace import TRACEFS

CHANGE_PROCESS = (6, 13)
"""The release that got IOMMU_IOAS_CHANGE_PROCESS, without which cpr-exec cannot keep an iommufd."""


def capabilities(sysfs: Sysfs) -> dict[str, Any]:
    """Facts for preflight and doctor; memlock_bytes None means unlimited."""
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
    }


def version(text: str) -> tuple[int, int]:
    """Major and minor out of a kernel release or a QEMU version; (0, 0) if there is none."""
    match = re.search(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def qemu_version(path: str, timeout_s: float = 30.0) -> str:
    """What `path --version` says in its first line, like "QEMU emulator version 11.1.3 (…)".

    Raises:
        AgentError: if it is no QEMU; the text says what came instead.
    """
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
