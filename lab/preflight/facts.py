"""What preflight looks at: command lines, and what is known of QEMU and its host. None: nobody asked."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.preflight.command import Command

UNLIMITED = math.inf


@dataclass(frozen=True)
class Plugged:
    """One device or memory backend of a running QEMU, as QOM has it.

    id: "" for one without
    """

    kind: str
    id: str


@dataclass(frozen=True)
class State:
    """What a running QEMU says of itself.

    modes:   of migration that it knows (qapi/migration.json, MigMode)
    blocked: why it would refuse the mode (MigrationInfo, blocked-reasons)
    devices: below /machine/peripheral and /machine/peripheral-anon: those of -device and those plugged
    objects: memory backends below /objects
    """

    modes: frozenset[str] | None = None
    blocked: tuple[str, ...] | None = None
    devices: tuple[Plugged, ...] | None = None
    objects: tuple[Plugged, ...] | None = None


@dataclass(frozen=True)
class Host:
    """What the kernel of QEMU's host can do, and what it allows this QEMU.

    update_vaddr:   type1 has VFIO_UPDATE_VADDR (Linux 5.12)
    change_process: iommufd has IOMMU_IOAS_CHANGE_PROCESS (Linux 6.13)
    memlock_bytes:  RLIMIT_MEMLOCK of QEMU; UNLIMITED if there is none
    ipc_lock:       QEMU has CAP_IPC_LOCK, for which the limit does not count
    is_folder:      path in the command line -> whether it is a folder
    resets:         BDF -> how the kernel can reset it, best first (sysfs, reset_method)
    """

    update_vaddr: bool | None = None
    change_process: bool | None = None
    memlock_bytes: float | None = None
    ipc_lock: bool | None = None
    is_folder: Mapping[str, bool] = field(default_factory=dict)
    resets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """All of it.

    old:         the running QEMU
    new:         the QEMU to come; None: the same with -incoming
    mode:        "cpr-exec" or "cpr-transfer"
    version:     of old QEMU, like "11.1.3"; "" if not known
    new_modes:   that new QEMU knows
    new_version: of new QEMU
    """

    old: Command
    new: Command | None = None
    mode: str = "cpr-exec"
    version: str = ""
    new_version: str = ""
    new_modes: frozenset[str] | None = None
    state: State = State()
    host: Host = Host()

    @property
    def execs(self) -> bool:
        return self.mode == "cpr-exec"

    @property
    def after(self) -> Command:
        """The command line of new QEMU."""
        return self.new or self.old

    @property
    def both(self) -> tuple[Command, ...]:
        return (self.old,) if self.new is None else (self.old, self.new)


def release(version: str) -> tuple[int, int] | None:
    """Major and minor of a version; None if it holds none."""
    match = re.search(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else None
