"""A guest on a bench host: its QEMU, its monitor, the link to its agent, its console.

with Guest.booted(host, agent, config, qemu, evidence) as guest:
    guest.monitor.execute("query-status")
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from lab.boot_signs import BootSigns
from lab.drivers.agent import HostAgent
from lab.drivers.ssh import HostConnection
from lab.evidence import Evidence
from lab.guest_link import GuestLink
from lab.incarnation import TRANSCRIPT, Incarnation, Incarnations
from lab.preflight.modes import cpr_modes, require_mode
from lab.qemu.argv import GuestConfig
from lab.qemu.monitor import Monitor
from lab.qemu.stuck import read_symbols, where_it_is

BOOT_TIMEOUT_S = 120.0
"""Nested in an emulated bench host a guest needs some 20 s; one that needs six times that is dead."""

QMP_TIMEOUT_S = 60.0


class Guest:
    """A running guest. An update may replace its QEMU by another process: `now` is the one that runs it.

    now:       its QEMU process; the same over cpr-exec
    monitor:   of that process
    link:      to the guest agent; raises OutcomeUnknown when the guest does not answer
    followers: told of every other process that `become` names
    kept, epochs: whether it served another case before this one, and the last epoch it was told of by then
    system_map: of its kernel, on the controller, to name where it is when it does not answer
    """

    def __init__(self, qemus: Incarnations, now: Incarnation) -> None:
        self.qemus, self.now = qemus, now
        self.monitor = qemus.monitor(now)
        self.link = GuestLink(self._connect, qemus.evidence, gone=self._gone, silent=self._where_it_is)
        self.system_map: Path | None = None
        self.boot_id = self.kernel = self.version = ""
        self.followers: list[Callable[[Incarnation], None]] = []
        self.kept, self.epochs = False, 0

    @property
    def pid(self) -> int:
        return self.now.pid

    @property
    def config(self) -> GuestConfig:
        return self.now.config

    def command(self, qemu: str) -> list[str]:
        """The argv of new QEMU for one cpr-exec."""
        return self.now.argv(self.config.incoming(qemu))

    def become(self, now: Incarnation, monitor: Monitor) -> None:
        """From now on this process runs the guest, which `monitor` is connected to."""
        self.now, self.monitor = now, monitor
        self.qemus.evidence.record("qemu.became", pid=now.pid)
        for follow in self.followers:
            follow(now)

    def awaited(self, qemu_mode: str, timeout_s: float) -> None:
        """Wait until QEMU and then the guest agent answer.

        Raises:
            BenchError: if they do not in time, with their last words.
            LabUsageError: if this QEMU has no such mode of update.
        """
        signs = BootSigns(self.qemus.agent, self.pid, self.qemus.evidence)
        self.version = signs.awaited(lambda patience_s: self.monitor.open("old", patience_s), QMP_TIMEOUT_S)
        if qemu_mode:
            require_mode(qemu_mode, cpr_modes(self.monitor.execute("query-qmp-schema")), self.version)
        hello = signs.awaited(lambda patience_s: self.link.call("hello", patience_s), timeout_s)
        self.boot_id, self.kernel = hello["boot_id"], hello["kernel"]

    def serve(self, evidence: Evidence) -> None:
        """Go on under another case: what is seen of it from now on is that one's evidence.

        Raises:
            OutcomeUnknown: it does not answer.
        """
        self.kept = True
        self.followers.clear()
        self.qemus.evidence = self.link.receiver = evidence
        self.monitor.serve(evidence.recorder, evidence.folder / TRANSCRIPT)
        evidence.record("witness.start", witness="qemu-stderr")
        self.link.call("hello")

    def quit(self) -> None:
        """End it before its context does, and wait until its devices are free."""
        self.qemus.quit(self.now, self.monitor)

    @classmethod
    @contextmanager
    def booted(
        cls,
        host: HostConnection,
        agent: HostAgent,
        config: GuestConfig,
        qemu: str,
        evidence: Evidence,
        timeout_s: float = BOOT_TIMEOUT_S,
        mode: str = "cpr-exec",
    ) -> Iterator["Guest"]:
        """Start QEMU and wait until the guest agent answers; quit QEMU at the end.

        mode: of the updates to come, which this QEMU must have; "" for none

        Raises:
            BenchError: if QEMU does not start or the guest does not boot in time, with its last words.
            LabUsageError: if this QEMU has no such mode.
        """
        with ExitStack() as undo:
            qemus = Incarnations(host, agent, config, evidence, undo)
            guest = cls(qemus, qemus.start(qemu))
            undo.callback(guest.link.close)
            guest.awaited(mode, timeout_s)
            yield guest

    def _connect(self) -> socket.socket:
        return self.qemus.host.stream_unix(self.config.agent_path)

    def _where_it_is(self, call: str) -> None:
        """Record `guest.stuck`: where the processors are of a guest that left a call without an answer."""
        with suppress(Exception):  # it explains; that the guest is silent is told by who called
            symbols = read_symbols(self.system_map) if self.system_map else ()
            self.qemus.evidence.record("guest.stuck", call=call, **where_it_is(self.monitor, symbols))

    def _gone(self) -> str:
        return "its QEMU has ended" if self.qemus.evidence.exit_of(self.pid) else ""
