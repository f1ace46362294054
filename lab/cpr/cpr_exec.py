"""cpr-exec: old QEMU saves its state and execs new QEMU in its place.

Source: QEMU qapi/migration.json, enum MigMode `cpr-exec` (since 10.2), parameter
`cpr-exec-command`; docs/devel/migration/CPR.rst.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lab.cpr.steps import set_capabilities, wait_for_status, why
from lab.errors import OutcomeUnknown, Refused
from lab.qemu.monitor import Monitor
from lab.timeline import Recorder
from lab.waiting import wait_until


def by_qmp(monitor: Monitor, command: Sequence[str], state_file: str) -> None:
    """Begin it. QEMU forgets mode and command with every exec: they are set anew for each update."""
    parameters = {"mode": CprExec.mode, "cpr-exec-command": list(command)}
    monitor.execute("migrate-set-parameters", parameters)
    monitor.execute("migrate", {"uri": f"file:{state_file}"})


@dataclass(frozen=True)
class CprExec:
    """Replaces QEMU in place by one command.

    monitor:    of old QEMU, and afterwards of new QEMU
    command:    argv of new QEMU, `-incoming` included
    state_file: where old QEMU leaves the device state, on the bench host
    begin:      how QEMU is told: by QMP, or as in lab/cpr/hmp.py
    status:     runstate in which new QEMU takes over: that of the guest before
    """

    monitor: Monitor
    command: Sequence[str]
    state_file: str
    timeout_s: float = 60.0
    begin: Callable[[Monitor, Sequence[str], str], None] = by_qmp
    status: str = "running"
    mode = "cpr-exec"

    def apply(self, recorder: Recorder, update: int) -> None:
        """Update once; what QEMU makes of it is recorded as `cpr.ok`, `cpr.fail` or `cpr.info`."""
        monitor = self.monitor
        monitor.begin(update)
        with recorder.operation("cpr", mode=self.mode, update=update, argv=list(self.command)):
            set_capabilities(monitor, "events")
            self.begin(monitor, self.command, self.state_file)
            self._await_exec(monitor)
            monitor.open("new", self.timeout_s)
            wait_for_status(monitor, [self.status], self.timeout_s, f"runstate {self.status} in new QEMU")
            monitor.execute("query-migrate")

    def _await_exec(self, monitor: Monitor) -> None:
        # status "completed" comes before the exec and "failed" may follow it (seen on 11.1.3), so
        # only the end of the connection says that old QEMU is gone
        wait_until(
            lambda: not monitor.connected() or monitor.migration_failure() is not None,
            self.timeout_s,
            "the exec of new QEMU",
            error=OutcomeUnknown,
        )
        if monitor.connected():
            raise Refused(f"update {monitor.migration_failure()}: {why(monitor)}")
