"""The block device of a function that the host's own driver has."""

from ..rpc import AgentError
from . import inuse
from .interlocks import STORAGE_CLASS, VFIO
from .sysfs import Sysfs
from .waiting import wait_until

APPEARS_S = 20.0


def disk_of(sysfs: Sysfs, bdf: str, appears_s: float = APPEARS_S) -> str:
    """The path of its disk, waited for; of several the first.

    Raises:
        AgentError: it holds no disk, its driver has not brought one up, or the host uses the disk.
    """
    sysfs.device(bdf)
    if not (found := sysfs.attribute(bdf, "class") or "").startswith(STORAGE_CLASS):
        raise AgentError(f"{bdf} holds no disk: its class is {found}")
    if (driver := sysfs.driver(bdf)) in (None, VFIO):
        raise AgentError(f"{bdf} is bound to {driver or 'no driver'}: give it back to its own driver first")

    def there() -> list[str]:
        return [name for name in inuse.disks(sysfs, bdf) if (sysfs.root / "dev" / name).exists()]

    wait_until(there, appears_s, lambda: f"{bdf} ({driver}) has brought up no disk")
    if bdf in inuse.disk_functions(sysfs):
        raise AgentError(f"{bdf} holds a disk that this host has mounted")
    return f"/dev/{there()[0]}"
