"""An update at a bad moment: with another one under way, or a guest that does not run.

Source: QEMU qapi/migration.json, migrate: one at a time; docs/devel/migration/CPR.rst: new QEMU takes over in
the runstate of old QEMU.
"""

import re
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
from lab.waiting import wait_until

TICK_MS = 10
QUIET_HZ = 0.2
_OTHERS = "the mappings of VFIO (type1) are not those of new QEMU (reproductions/vapic-reset.sh)"


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
        """By a reset; its firmware makes RAM of all below 1 MiB, before which 11.1.3 loses it (`RESET`)."""
        monitor.execute("system_reset")
        ask = {"command-line": "info mtree -f"}

        def begun() -> bool:
            return all_ram(monitor.execute("human-monitor-command", ask))

        wait_until(begun, self.scene.timeout_s, "the guest's firmware", error=SutError)

    def go_on(self, monitor: Monitor) -> None:
        """Once it has booted; its heart is started anew."""
        wait_for_agent(self.scene.guest, BOOT_TIMEOUT_S, "the guest that boots")
        self.scene.guest.link.call("heartbeat_start", tick_ms=TICK_MS)


def all_ram(mtree: str) -> bool:
    """Whether one range of RAM begins at 0 and goes beyond 1 MiB, in what `info mtree -f` says."""
    ends = re.findall(r"^ +0{16}-([0-9a-f]{16}) .*ram0", mtree, re.MULTILINE)
    return any(int(end, 16) >= 1 << 20 for end in ends)


class Reset(Rebooting):
    """The guest is reset while it is paused: it has not run since when it is updated."""

    def rest(self, monitor: Monitor) -> None:
        """By `stop` and a reset."""
        monitor.execute("stop")
        monitor.execute("system_reset")
        wait_for_status(monitor, ["prelaunch"], self.scene.timeout_s, "the guest's reset")

    def go_on(self, monitor: Monitor) -> None:
        """It boots."""
        monitor.execute("cont")
        super().go_on(monitor)


class Suspended(Resting):
    """The guest sleeps (suspend to RAM) while it is updated."""

    def rest(self, monitor: Monitor) -> None:
        """QEMU says when the guest sleeps; that its agent was told so may be heard before or after."""
        # it lets its ports go, and what has come to them by then is lost
        self._pace(QUIET_HZ)
        with suppress(OutcomeUnknown):
            self.scene.guest.link.call("suspend", ANSWER_S)
        wait_for_status(monitor, ["suspended"], self.scene.timeout_s, "the guest's suspend to RAM")

    def go_on(self, monitor: Monitor) -> None:
        """It is woken, as by its power button."""
        monitor.execute("system_wakeup")
        wait_for_status(monitor, ["running"], self.scene.timeout_s, "a guest that is awake")
        wait_for_agent(self.scene.guest, WAKE_S, "the guest that wakes up")
        self._pace(self.scene.stream_hz)

    def _pace(self, rate_hz: float) -> None:
        self.scene.agent.stream_pace(dict.fromkeys(("stream-fd", "stream-path"), rate_hz), flowing=False)


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
_REBOOTED = {"guest": "rebooted", "DMA": "stopped", "interrupts": "stopped", "chardevs": "lost"}
REBOOTING = Failure(
    "guest-reboots",
    "an update of a guest that was reset a moment ago",
    lambda scene: Rebooting(scene, "running"),
    r"new QEMU took over a guest that is running",
    "docs/devel/migration/CPR.rst: as above; the guest's load and its ends of the chardevs end with a reset",
    promised={**IN_PLACE, **_REBOOTED},
)
RESET = Failure(
    "guest-reset",
    "an update of a guest that was reset, and has not run since",
    lambda scene: Reset(scene, "prelaunch"),
    r"new QEMU took over a guest that is prelaunch|vfio: DMA mapping failed",
    "docs/devel/migration/CPR.rst: as above",
    promised={**IN_PLACE, **_REBOOTED},
    known={"11.1": {"update": "died", "guest": "lost", "next update": "fails"}},
    reason=f"QEMU 11.1.3: after a reset {_OTHERS}",
)
SUSPENDED = Failure(
    "guest-suspended",
    "an update of a guest that is suspended to RAM",
    lambda scene: Suspended(scene, "suspended"),
    r"new QEMU took over a guest that is suspended",
    "docs/devel/migration/CPR.rst: as above; a guest that sleeps has let its NIC go, and drops what comes",
    promised={**IN_PLACE, "DMA": "lost"},
    known={"11.1": {"next update": "fails"}},
    reason=f"QEMU 11.1.3: after a sleep {_OTHERS}",
)
