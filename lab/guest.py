"""A guest on a bench host: its QEMU, its monitor, the link to its agent, its console.

with Guest.booted(host, agent, config, qemu, evidence) as guest:
    guest.monitor.execute("query-status")
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lab.boot_signs import CONSOLE, BootSigns
from lab.drivers.agent import HostAgent, Spawned
from lab.drivers.ssh import HostConnection
from lab.errors import BenchError, SutError
from lab.evidence import Evidence
from lab.guest_link import GuestLink
from lab.qemu import preflight
from lab.qemu.argv import GuestConfig, with_descriptors
from lab.qemu.monitor import Monitor

BOOT_TIMEOUT_S = 120.0
"""Nested in an emulated bench host a guest needs some 20 s; one that needs six times that is dead."""

QMP_TIMEOUT_S = 60.0
QUIT_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Guest:
    """A running guest.

    spawned: its QEMU process; the PID stays the same over cpr-exec
    link:    to the guest agent; raises OutcomeUnknown when the guest does not answer
    quit:    ends it before its context does, and waits until its devices are free
    """

    config: GuestConfig
    spawned: Spawned
    monitor: Monitor
    link: GuestLink
    boot_id: str
    kernel: str
    version: str
    quit: Callable[[], None]

    @property
    def pid(self) -> int:
        return self.spawned.pid

    def command(self, qemu: str) -> list[str]:
        """The argv of new QEMU for one update; inherited descriptors keep their numbers."""
        return with_descriptors(self.config.incoming(qemu), dict(self.spawned.fds))

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
    ) -> Iterator["Guest"]:
        """Start QEMU and wait until the guest agent answers; quit QEMU at the end.

        Raises:
            BenchError: if QEMU does not start or the guest does not boot in time, with its last words.
            LabUsageError: if this QEMU has no cpr-exec.
        """
        with ExitStack() as undo:
            host.check(["mkdir", "-p", "-m", "700", config.run_dir])
            undo.callback(host.run, ["rm", "-rf", config.run_dir])
            spawned = agent.spawn("qemu", config.argv(qemu), sockets=["stream-fd"], taps=config.taps)
            evidence.record("qemu.start", argv=list(spawned.argv), pid=spawned.pid)
            undo.callback(_end, agent, spawned.pid)
            undo.enter_context(_console(host, config.console_log, evidence.folder / CONSOLE))
            monitor = undo.enter_context(_monitor(host, config, spawned.pid, evidence))
            undo.callback(_quit, monitor)
            connect = partial(host.stream_unix, config.agent_path)
            link = GuestLink(connect, evidence, gone=partial(_gone, evidence, spawned.pid))
            undo.callback(link.close)
            signs = BootSigns(agent, spawned.pid, evidence)
            version = signs.awaited(lambda patience_s: monitor.open("old", patience_s), QMP_TIMEOUT_S)
            preflight.require_mode("cpr-exec", monitor.execute("query-qmp-schema"), version)
            hello = signs.awaited(lambda patience_s: link.call("hello", patience_s), timeout_s)
            end = partial(_quit_and_end, monitor, agent, spawned.pid)
            yield cls(config, spawned, monitor, link, hello["boot_id"], hello["kernel"], version, end)


@contextmanager
def _monitor(host: HostConnection, config: GuestConfig, pid: int, evidence: Evidence) -> Iterator[Monitor]:
    def ended() -> str:
        if (end := evidence.exit_of(pid)) is None:
            return ""
        how = f"was killed by signal {end['signal']}" if end["signal"] else f"ended with {end['status']}"
        return f"{how}; it said last: {evidence.last_log('qemu') or 'nothing'}"

    transcript = evidence.folder / "qmp.jsonl"
    connect = partial(host.stream_unix, config.qmp_path)
    with Monitor(connect, evidence.recorder, transcript, ended) as monitor:
        yield monitor


@contextmanager
def _console(host: HostConnection, log: str, to: Path) -> Iterator[None]:
    """Copy the guest's console as it is written, from its first byte; -F outlives a new QEMU."""
    with host.stream(["tail", "-c", "+1", "-F", log]) as tail, to.open("wb", buffering=0) as file:

        def copy() -> None:
            with suppress(OSError, ValueError):
                for line in tail.stdout:
                    file.write(line)

        copier = threading.Thread(target=copy, name="guest console", daemon=True)
        copier.start()
        yield
        tail.close()
        copier.join(timeout=5)


def _gone(evidence: Evidence, pid: int) -> str:
    return "its QEMU has ended" if evidence.exit_of(pid) else ""


def _quit(monitor: Monitor) -> None:
    with suppress(SutError):
        monitor.execute("quit")


def _quit_and_end(monitor: Monitor, agent: HostAgent, pid: int) -> None:
    _quit(monitor)
    _end(agent, pid)


def _end(agent: HostAgent, pid: int) -> None:
    """QEMU is given a while to quit, then killed; a bench that is gone needs neither."""
    with suppress(BenchError):
        try:
            agent.reap(pid, QUIT_TIMEOUT_S)
        except BenchError:
            agent.kill(pid)
