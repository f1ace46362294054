"""An update at a bad moment: with another one under way, or a guest that does not run.

Source: QEMU qapi/migration.json, migrate: one at a time; docs/devel/migration/CPR.rst: new QEMU takes over in
the runstate of old QEMU.
"""

from contextlib import suppress
from dataclasses import dataclass, replace

from lab.cpr.cpr_reboot import ANSWER_S, WAKE_S
from lab.cpr.steps import wait_for_agent, wait_for_status
from lab.errors import OutcomeUnknown, SutError
from lab.failures import IN_PLACE, Failure, Scene
from lab.failures.exec import ordinary
from lab.failures.held import Held, refused
from lab.guest import BOOT_TIMEOUT_S
from lab.qemu.monitor import Monitor
from lab.timeline import Recorder

TICK_MS = 10


class Twice(Held):
    """A second update is asked for while the first is held; then the first goes on."""

    def then(self, recorder: Recorder, monitor: Monitor) -> None:
        refused(recorder, monitor, "migrate", {"uri": f"file:{self.guest.config.state_file}.2"})
        self.go_on(monitor)


@dataclass(frozen=True)
class Resting:
    """The guest does not run when it is updated, and goes on in new QEMU.

    status: its runstate meanwhile
    """

    scene: Scene
    status: str
    mode = "cpr-exec"

    def apply(self, recorder: Recorder, update: int) -> None:
        """Do it once; recorded as any update."""
        monitor = self.scene.guest.monitor
        try:
            self.rest(monitor)
            replace(ordinary(self.scene), status=self.status).apply(recorder, update)
            status = monitor.execute("query-status")["status"]
            recorder.record("failure.said", said=f"new QEMU took over a guest that is {status}")
            self.go_on(monitor)
        except SutError as trouble:
            recorder.record("failure.said", said=str(trouble))

    def rest(self, monitor: Monitor) -> None:
        """By `stop`."""
        monitor.execute("stop")

    def go_on(self, monitor: Monitor) -> None:
        """By `cont`."""
        monitor.execute("cont")
        wait_for_status(monitor, ["running"], self.scene.timeout_s, "a guest that goes on")


class Rebooting(Resting):
    """The guest is reset, and updated at once: in its firmware, or early in its kernel."""

    def rest(self, monitor: Monitor) -> None:
        """By a reset."""
        monitor.execute("system_reset")

    def go_on(self, monitor: Monitor) -> None:
        """Once it has booted; its heart is started anew."""
        wait_for_agent(self.scene.guest, BOOT_TIMEOUT_S, "the guest that boots")
        self.scene.guest.link.call("heartbeat_start", tick_ms=TICK_MS)


class Suspended(Resting):
    """The guest sleeps (suspend to RAM) while it is updated."""

    def rest(self, monitor: Monitor) -> None:
        """QEMU says when the guest sleeps; that its agent was told so may be heard before or after."""
        with suppress(OutcomeUnknown):
            self.scene.guest.link.call("suspend", ANSWER_S)
        wait_for_status(monitor, ["suspended"], self.scene.timeout_s, "the guest's suspend to RAM")

    def go_on(self, monitor: Monitor) -> None:
        """It is woken, as by its power button."""
        monitor.execute("system_wakeup")
        wait_for_status(monitor, ["running"], self.scene.timeout_s, "a guest that is awake")
        wait_for_agent(self.scene.guest, WAKE_S, "the guest that wakes up")


TWICE = Failure(
    "two-updates-at-once",
    "a second update while one is under way",
    lambda scene: Twice(scene.guest, ordinary(scene).command, scene.timeout_s),
    r"migrate: There's a migration process in progress",
    "qapi/migration.json, migrate: there is one migration at a time",
    promised=IN_PLACE,
)
PAUSED = Failure(
    "guest-paused",
    "an update of a guest that is paused",
    lambda scene: Resting(scene, "paused"),
    r"new QEMU took over a guest that is paused",
    "docs/devel/migration/CPR.rst: new QEMU takes over in the runstate of old QEMU",
    promised=IN_PLACE,
)
REBOOTING = Failure(
    "guest-reboots",
    "an update of a guest that was reset a moment ago",
    lambda scene: Rebooting(scene, "running"),
    r"new QEMU took over a guest that is running",
    "docs/devel/migration/CPR.rst: as above; the guest's load and its ends of the chardevs end with a reset",
    promised={
        **IN_PLACE,
        "guest": "rebooted",
        "DMA": "stopped",
        "interrupts": "stopped",
        "chardevs": "lost",
    },
)
SUSPENDED = Failure(
    "guest-suspended",
    "an update of a guest that is suspended to RAM",
    lambda scene: Suspended(scene, "suspended"),
    r"new QEMU took over a guest that is suspended",
    "docs/devel/migration/CPR.rst: as above; a guest that sleeps has closed its NIC, and drops what comes",
    promised={**IN_PLACE, "DMA": "lost"},
)
