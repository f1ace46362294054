"""Faults that only a guest whose QEMU is in a container can be given."""

from lab.faults.fault import Fault, Scene, checkers


def _leave_cgroup(scene: Scene) -> None:
    scene.host.check(["sh", "-c", f"echo {scene.guest.pid} > /sys/fs/cgroup/cgroup.procs"])


CONTAINED = {
    "new-qemu-brings-company": Fault(checkers("container_kept"), wrapper="company"),
    "qemu-leaves-its-cgroup": Fault(checkers("container_kept"), after=_leave_cgroup),
}
