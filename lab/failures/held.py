"""An update that is held right before old QEMU hands over, for something to be done there.

Source: QEMU qapi/migration.json, capability pause-before-switchover, migrate-continue, MigrationStatus.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from lab.cpr.steps import set_capabilities, wait_for_status, why
from lab.errors import OutcomeUnknown, Refused
from lab.guest import Guest
from lab.qemu.monitor import Monitor
from lab.timeline import Recorder
from lab.waiting import wait_until

PAUSE = "pause-before-switchover"
HELD = "pre-switchover"


@dataclass(frozen=True)
class Held:
    """An update by cpr-exec that is begun and held; what is done then is a subclass's."""

    guest: Guest
    command: Sequence[str]
    timeout_s: float
    mode = "cpr-exec"

    def apply(self, recorder: Recorder, update: int) -> None:
        """Bring it there and do `then`; recorded as `cpr.ok`, `cpr.fail` or `cpr.info`."""
        monitor = self.guest.monitor
        monitor.begin(update)
        with recorder.operation("cpr", mode=self.mode, update=update, argv=list(self.command)):
            set_capabilities(monitor, "events", PAUSE)
            try:
                parameters = {"mode": self.mode, "cpr-exec-command": list(self.command)}
                monitor.execute("migrate-set-parameters", parameters)
                monitor.execute("migrate", {"uri": f"file:{self.guest.config.state_file}"})
                wait_for(monitor, HELD, self.timeout_s)
                self.then(recorder, monitor)
            finally:
                # a new QEMU does not know of it
                if monitor.connected() and monitor.side == "old":
                    off = [{"capability": PAUSE, "state": False}]
                    with suppress(OutcomeUnknown):  # it has just been killed
                        monitor.execute("migrate-set-capabilities", {"capabilities": off})

    def then(self, recorder: Recorder, monitor: Monitor) -> None:
        """What is done while it is held; the update is over when this returns."""
        raise NotImplementedError

    def go_on(self, monitor: Monitor) -> None:
        """Let it hand over, and wait for new QEMU."""
        monitor.execute("migrate-continue", {"state": HELD})
        wait_until(
            lambda: not monitor.connected() or monitor.migration_failure(),
            self.timeout_s,
            "the exec of new QEMU",
            error=OutcomeUnknown,
        )
        if monitor.connected():
            raise Refused(f"update {monitor.migration_failure()}: {why(monitor)}")
        monitor.open("new", self.timeout_s)
        wait_for_status(monitor, ["running"], self.timeout_s, "runstate running in new QEMU")
        monitor.execute("query-migrate")


def wait_for(monitor: Monitor, status: str, timeout_s: float) -> None:
    """Wait for a status of the migration.

    Raises:
        Refused: it failed.
        OutcomeUnknown: it does not come in time, or QEMU is gone.
    """

    def there() -> bool:
        now = monitor.execute("query-migrate").get("status")
        if now == "failed":
            raise Refused(f"update failed: {why(monitor)}")
        return bool(now == status)

    wait_until(there, timeout_s, f"migration status {status}", error=OutcomeUnknown)


def refused(recorder: Recorder, monitor: Monitor, command: str, arguments: dict[str, object]) -> None:
    """Try a command that must be refused here; what QEMU says of it is `failure.said`.

    A command that is accepted is recorded as such: nothing then says what is expected.
    """
    try:
        monitor.execute(command, arguments)
    except Refused as refusal:
        recorder.record("failure.said", said=str(refusal))
    else:
        recorder.record("failure.said", said=f"{command} was accepted")
