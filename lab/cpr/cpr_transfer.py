"""cpr-transfer: a second QEMU process takes over guest RAM and descriptors, by a socket.

Source: QEMU qapi/migration.json, enum MigMode `cpr-transfer` (since 10.0, with VFIO since 10.1),
MigrationChannelType `cpr`; docs/devel/migration/CPR.rst.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lab.cpr.steps import set_capabilities, wait_for_migration, wait_for_status
from lab.errors import Refused
from lab.guest import Guest
from lab.incarnation import Incarnation
from lab.qemu.monitor import Monitor
from lab.timeline import Recorder


@dataclass(frozen=True)
class CprTransfer:
    """Hands the guest over to a new process, then ends the old one.

    qemu:    path of new QEMU
    wrapper: the command it is started through
    handed_over: called with old QEMU's monitor when new QEMU runs the guest, before old QEMU is ended
    """

    guest: Guest
    qemu: str
    wrapper: Sequence[str] = ()
    timeout_s: float = 60.0
    handed_over: Callable[[Monitor], None] = lambda old: None
    mode = "cpr-transfer"

    def apply(self, recorder: Recorder, update: int) -> None:
        """Update once; what QEMU makes of it is recorded as `cpr.ok`, `cpr.fail` or `cpr.info`.

        Old QEMU is quit once new QEMU runs the guest; if it never does, it is new QEMU that is ended.
        """
        qemus, old, old_monitor = self.guest.qemus, self.guest.now, self.guest.monitor
        old_monitor.begin(update)
        folder = qemus.next_config().run_dir
        cpr, main = _cpr(folder), channel("main", f"{folder}/main.sock")
        words = incoming(folder)
        with recorder.operation("cpr", mode=self.mode, update=update, argv=[self.qemu, *words]):
            new = qemus.start(self.qemu, words, self.wrapper, beside=True)
            monitor = qemus.monitor(new)
            try:
                self._await_channel(new, cpr)
                self._hand_over(old_monitor, monitor, update, main, cpr)
            except BaseException:
                qemus.give_up(new, monitor, update)
                raise
            self.guest.become(new, monitor)
        if self.guest.now is new:
            self.handed_over(old_monitor)
            qemus.give_up(old, old_monitor, update)

    def _await_channel(self, new: Incarnation, cpr: dict[str, Any]) -> None:
        path = str(cpr["addr"]["path"])
        if not self.guest.qemus.agent.await_socket(new.pid, path, self.timeout_s):
            how = self.guest.qemus.how_it_ended(new.pid) or f"did not listen on {path}"
            raise Refused(f"new QEMU {how}")

    def _hand_over(
        self, old: Monitor, new: Monitor, update: int, main: dict[str, Any], cpr: dict[str, Any]
    ) -> None:
        set_capabilities(old, "events")
        old.execute("migrate-set-parameters", {"mode": self.mode})
        old.execute("migrate", {"channels": [main, cpr]})
        # new QEMU has no monitor until it has the descriptors
        new.begin(update)
        new.open("new", self.timeout_s)
        set_capabilities(new, "events")
        new.execute("migrate-incoming", {"channels": [main]})
        wait_for_migration(old, self.timeout_s, "the end of the transfer in old QEMU")
        wait_for_status(new, ["running"], self.timeout_s, "runstate running in new QEMU")
        new.execute("query-migrate")
        old.execute("query-migrate")  # only old QEMU knows `downtime`


def incoming(folder: str) -> list[str]:
    """How new QEMU is told to take the guest, by sockets in its folder."""
    # deferred: the guest runs on until we have new QEMU's monitor, and so see all of its events
    return ["-incoming", "defer", "-incoming", json.dumps(_cpr(folder))]


def _cpr(folder: str) -> dict[str, Any]:
    return channel("cpr", f"{folder}/cpr.sock")


def channel(kind: str, path: str) -> dict[str, Any]:
    """A channel of a migration, by a unix socket."""
    return {"channel-type": kind, "addr": {"transport": "socket", "type": "unix", "path": path}}
