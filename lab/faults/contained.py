"""Faults of what QEMU's container holds."""

from lab.faults.fault import Fault, Scene, checkers


def _leave_cgroup(scene: Scene) -> None:
    scene.host.check(["sh", "-c", f"echo {scene.guest.pid} > /sys/fs/cgroup/cgroup.procs"])


_KEPT = checkers("container_kept")
FAULTS = {
    "new-qemu-brings-company": Fault(_KEPT, contained=True, serves=False, wrapper="company"),
    "qemu-leaves-its-cgroup": Fault(_KEPT, contained=True, serves=False, after=_leave_cgroup),
}
