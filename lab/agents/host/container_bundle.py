"""A container for the guest's QEMU as data: the config.json of an OCI bundle.

Source: Open Container Initiative, runtime-spec 1.0, config.md and config-linux.md.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LINKS = {name: f"usr/{name}" for name in ("bin", "sbin", "lib", "lib64")}
"""Debian's merged /usr: links in the root file system."""
FOLDERS = ("usr", "etc", "proc", "sys", "dev", "tmp", "run", "var")
_READ_ONLY, _PRIVATE = ["rbind", "ro"], ["nosuid", "noexec", "nodev"]


@dataclass(frozen=True)
class Limits:
    """What a container may use.

    memory_bytes:  of its cgroup; beyond that the kernel kills in it
    memlock_bytes: RLIMIT_MEMLOCK of each process: what VFIO may pin for it. No process has CAP_IPC_LOCK
    """

    memory_bytes: int
    memlock_bytes: int


def config(
    cgroup: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    limits: Limits,
    writable: Iterable[str],
    readable: Iterable[str],
    nodes: Iterable[Path],
) -> dict[str, Any]:
    """The config.json: own PID, mount, IPC, UTS and network namespaces, no capability, the given devices.

    cgroup:             its path under /sys/fs/cgroup
    writable, readable: folders of the host that it has under the same path
    nodes:              device nodes that its processes may open
    """
    folders = [*("/usr", "/etc", "/sys"), *readable]
    nothing: list[str] = []
    return {
        "ociVersion": "1.0.0",
        "root": {"path": "rootfs"},
        "hostname": "cprlab-guest",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": list(argv),
            "env": [f"{name}={value}" for name, value in env.items()],
            "cwd": "/",
            "noNewPrivileges": True,
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), nothing),
            "rlimits": [_rlimit("RLIMIT_MEMLOCK", limits.memlock_bytes), _rlimit("RLIMIT_NOFILE", 4096)],
        },
        "mounts": [
            _mount("proc", "/proc", _PRIVATE, "proc"),
            _mount("tmpfs", "/dev", ["nosuid", "mode=755"], "tmpfs"),
            _mount("tmpfs", "/tmp", _PRIVATE, "tmpfs"),
            *(_mount(folder, folder, _READ_ONLY, "none") for folder in folders),
            *(_mount(folder, folder, ["rbind", "rw"], "none") for folder in writable),
            *(_mount(str(top), str(top), ["rbind", "rw"], "none") for top in _tops(nodes)),
        ],
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")],
            "resources": {
                "memory": {"limit": limits.memory_bytes},
                "devices": [{"allow": False, "access": "rwm"}, *(_allowed(node) for node in nodes)],
            },
        },
    }


def device_nodes(dev: Path = Path("/dev")) -> list[Path]:
    """What QEMU opens for KVM and VFIO, of what there is now."""
    wanted = [dev / "kvm", dev / "iommu", *sorted((dev / "vfio").rglob("*"))]
    return [node for node in wanted if node.is_char_device()]


def _tops(nodes: Iterable[Path]) -> list[Path]:
    """What is bound into the container: a folder of nodes as a whole."""
    tops = {Path(*node.parts[:3]) for node in nodes}
    return sorted(tops)


def _allowed(node: Path) -> dict[str, Any]:
    number = node.stat().st_rdev
    kind = {"type": "c", "major": os.major(number), "minor": os.minor(number)}
    return {"allow": True, "access": "rw", **kind}


def _rlimit(kind: str, value: int) -> dict[str, Any]:
    return {"type": kind, "hard": value, "soft": value}


def _mount(source: str, destination: str, options: Sequence[str], kind: str) -> dict[str, Any]:
    return {"source": source, "destination": destination, "options": list(options), "type": kind}
