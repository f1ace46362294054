"""The control: what a user without any of the modes does. QEMU is ended and started, the guest boots."""

from collections.abc import Sequence
from dataclasses import dataclass

from lab.cpr.steps import succeeded, wait_for_agent, wait_for_status
from lab.guest import BOOT_TIMEOUT_S, Guest
from lab.timeline import Recorder


@dataclass(frozen=True)
class Restart:
    """Stops the guest, ends QEMU, starts the new one and waits until its guest answers.

    qemu: path of new QEMU
    """

    guest: Guest
    qemu: str
    wrapper: Sequence[str] = ()
    timeout_s: float = 60.0
    mode = "restart"

    def apply(self, recorder: Recorder, update: int) -> None:
        """Do it once; recorded as `cpr.ok`, `cpr.fail` or `cpr.info`, like an update."""
        self.guest.monitor.begin(update)
        with recorder.operation("cpr", mode=self.mode, update=update, argv=[self.qemu]):
            self.guest.monitor.execute("stop")
            monitor = succeeded(self.guest, self.qemu, (), self.wrapper, update, self.timeout_s)
            wait_for_status(monitor, ["running"], self.timeout_s, "runstate running in new QEMU")
            wait_for_agent(self.guest, BOOT_TIMEOUT_S, "the guest that boots")
