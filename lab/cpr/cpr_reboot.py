"""cpr-reboot: the guest is saved to a file, and resumed from it by a QEMU that is started anew.

Source: QEMU qapi/migration.json, enum MigMode `cpr-reboot` (since 8.2); docs/devel/migration/CPR.rst:
with VFIO the guest is suspended to RAM first, RAM stays in place where it is shared and the
capability x-ignore-shared is set. Between the two halves a host may be rebooted.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from lab.cpr.steps import (
    set_capabilities,
    succeeded,
    wait_for_agent,
    wait_for_migration,
    wait_for_status,
)
from lab.errors import OutcomeUnknown
from lab.guest import Guest
from lab.qemu.monitor import Monitor
from lab.timeline import Recorder

ANSWER_S = 3.0
WAKE_S = 90.0
"""It took 27 s on a bench host that was busy with others."""
SUSPENDED = ("suspended",)
LOADED = ("suspended", "running")
"""Runstates of a guest that was loaded: as it was saved."""


@dataclass(frozen=True)
class CprReboot:
    """Saves the guest, ends QEMU, starts the new one and loads the guest.

    qemu:    path of new QEMU
    suspend: whether the guest is suspended to RAM first, which VFIO asks for
    shared:  whether guest RAM is shared and outlives QEMU, so that it need not be saved
    between: what is done when old QEMU has ended and new QEMU is not there yet
    state_file: where the guest is saved to, on the bench host; "" for a tmpfs
    """

    guest: Guest
    qemu: str
    suspend: bool
    shared: bool
    wrapper: Sequence[str] = ()
    timeout_s: float = 60.0
    between: Callable[[], None] = lambda: None
    state_file: str = ""
    mode = "cpr-reboot"

    def apply(self, recorder: Recorder, update: int) -> None:
        """Update once; what QEMU makes of it is recorded as `cpr.ok`, `cpr.fail` or `cpr.info`."""
        old = self.guest.now
        self.guest.monitor.begin(update)
        with recorder.operation("cpr", mode=self.mode, update=update, argv=[self.qemu]):
            if self.suspend:
                self._suspend(recorder, update)
            state_file = self.state_file or old.config.state_file
            self._save(state_file)
            size = self.guest.qemus.host.check(["stat", "-c", "%s", state_file])
            recorder.record("guest.saved", update=update, bytes=int(size))
            incoming = ["-incoming", "defer"]
            monitor = succeeded(
                self.guest, self.qemu, incoming, self.wrapper, update, self.timeout_s, self.between
            )
            self._load(monitor, state_file)

    def _suspend(self, recorder: Recorder, update: int) -> None:
        """QEMU says when the guest sleeps; that its agent was told so may be heard before or after."""
        with suppress(OutcomeUnknown):
            self.guest.link.call("suspend", ANSWER_S)
        wait_for_status(self.guest.monitor, SUSPENDED, self.timeout_s, "the guest's suspend to RAM")
        recorder.record("guest.suspended", update=update)

    def _save(self, state_file: str) -> None:
        monitor = self.guest.monitor
        self._prepare(monitor)
        monitor.execute("migrate", {"uri": f"file:{state_file}"})
        wait_for_migration(monitor, self.timeout_s, "the end of saving")

    def _load(self, monitor: Monitor, state_file: str) -> None:
        self._prepare(monitor)
        monitor.execute("migrate-incoming", {"uri": f"file:{state_file}"})
        wait_for_migration(monitor, self.timeout_s, "the end of loading")
        status = wait_for_status(monitor, LOADED, self.timeout_s, "the guest in new QEMU")
        if status in SUSPENDED:
            monitor.execute("system_wakeup")
        wait_for_status(monitor, ["running"], self.timeout_s, "runstate running in new QEMU")
        monitor.execute("query-migrate")
        if self.suspend:
            wait_for_agent(self.guest, WAKE_S, "the guest that wakes up")

    def _prepare(self, monitor: Monitor) -> None:
        set_capabilities(monitor, "events", *(["x-ignore-shared"] if self.shared else []))
        monitor.execute("migrate-set-parameters", {"mode": self.mode})
