"""Who holds a device: the kernel blocks whoever takes it away meanwhile, so it is looked at before."""

from collections.abc import Iterable

from .sysfs import Sysfs
from .waiting import wait_until

RELEASE_S = 10.0


def vfio_nodes(sysfs: Sysfs, bdf: str) -> list[str | None]:
    """What a process opens that has a function by VFIO: its group or its own device node."""
    return [f"/dev/vfio/{sysfs.group(bdf)}", sysfs.vfio_cdev(bdf)]


def holders(sysfs: Sysfs, paths: Iterable[str | None]) -> list[str]:
    """The processes that have one of these device nodes open, as "name (pid)"."""
    wanted, found = set(paths) - {None}, []
    for process in (sysfs.root / "proc").glob("[0-9]*"):
        try:
            if any(str(fd.readlink()) in wanted for fd in (process / "fd").iterdir()):
                found.append(f"{(process / 'comm').read_text().strip()} ({process.name})")
        except OSError:
            continue  # it ended meanwhile, or is not ours to look at
    return found


def wait_released(sysfs: Sysfs, what: str, paths: Iterable[str | None], timeout_s: float = RELEASE_S) -> None:
    """Wait until nobody has one of these device nodes open.

    Raises:
        AgentError: if someone still has; the text says who.
    """
    nodes = list(paths)
    wait_until(
        lambda: not holders(sysfs, nodes),
        timeout_s,
        lambda: f"{what} is held by {', '.join(holders(sysfs, nodes))}",
    )
