"""The state cannot be saved, or somebody thinks better of it: all before any exec.

Source: QEMU docs/devel/migration/main.rst: a migration that fails or is cancelled leaves the guest running in
old QEMU.
"""

from dataclasses import replace

from lab.cpr import Mode
from lab.cpr.steps import why
from lab.errors import Refused
from lab.failures import Failure, Scene
from lab.failures.exec import ordinary
from lab.failures.held import HELD, Held, wait_for
from lab.qemu.monitor import Monitor
from lab.timeline import Recorder

SOURCE = "docs/devel/migration/main.rst: a migration that fails or is cancelled leaves the guest running"


def _no_folder(scene: Scene) -> Mode:
    return replace(ordinary(scene), state_file=f"{scene.guest.config.run_dir}/no/such/folder/vm.state")


def _full(scene: Scene) -> Mode:
    """A file system of a few pages: the device state of a guest has 80 kB and more."""
    folder = scene.agent.memory_mount("tmpfs", "full", "size=16k")
    return replace(ordinary(scene), state_file=f"{folder}/vm.state")


class Cancelled(Held):
    """It is cancelled while it is held."""

    def then(self, recorder: Recorder, monitor: Monitor) -> None:
        monitor.execute("migrate_cancel")
        wait_for(monitor, "cancelled", self.timeout_s)
        raise Refused(f"update cancelled at {HELD}: {why(monitor)}")


NO_FOLDER = Failure(
    "state-file-impossible",
    "a state file that cannot be created",
    _no_folder,
    r"(?i)no such file or directory",
    SOURCE,
)
FULL = Failure(
    "file-system-full",
    "a file system without room for the state",
    _full,
    r"(?i)no space left on device",
    SOURCE,
)
CANCELLED = Failure(
    "cancel-at-pre-switchover",
    "cancelled at pre-switchover",
    lambda scene: Cancelled(scene.guest, ordinary(scene).command, scene.timeout_s),
    rf"update cancelled at {HELD}",
    SOURCE,
)
