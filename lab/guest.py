"""A guest on a bench host: its QEMU, its monitor, the link to its agent, its console.

    with Guest.booted(host, agent, config, qemu, evidence) as guest:
        guest.monitor.execute("query-status")
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

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
    """

    config: GuestConfig
    spawned: Spawned
    monitor: Monitor
    link: GuestLink
    boot_id: str
    kernel: str
    version: str

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
            spawned = agent.spawn("qemu", config.argv(qemu), sockets=["stream-fd"])
            evidence.record("qemu.start", argv=list(spawned.argv), pid=spawned.pid)
            undo.callback(_end, agent, spawned.pid)
            undo.enter_context(_console(host, config.console_log, evidence.folder / "console-guest.log"))
            monitor = undo.enter_context(_monitor(host, config, evidence))
            link = GuestLink(lambda: host.stream_unix(config.agent_path), evidence)
            undo.callback(link.close)
            try:
                version = monitor.open("old", QMP_TIMEOUT_S)
                preflight.require_mode("cpr-exec", monitor.execute("query-qmp-schema"), version)
                hello = link.call("hello", timeout_s)
            except SutError as error:
                # before the first update it is the bench that is not as it must be
                raise BenchError(f"the guest did not boot: {error}; {_last_words(agent, evidence)}") from error
            undo.callback(_quit, monitor)
            yield cls(config, spawned, monitor, link, hello["boot_id"], hello["kernel"], version)


@contextmanager
def _monitor(host: HostConnection, config: GuestConfig, evidence: Evidence) -> Iterator[Monitor]:
    transcript = evidence.folder / "qmp.jsonl"
    with Monitor(lambda: host.stream_unix(config.qmp_path), evidence.recorder, transcript) as monitor:
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


def _quit(monitor: Monitor) -> None:
    with suppress(SutError):
        monitor.execute("quit")


def _end(agent: HostAgent, pid: int) -> None:
    """QEMU is given a while to quit, then killed; a bench that is gone needs neither."""
    with suppress(BenchError):
        try:
            agent.reap(pid, QUIT_TIMEOUT_S)
        except BenchError:
            agent.kill(pid)


def _last_words(agent: HostAgent, evidence: Evidence) -> str:
    """What QEMU and the guest's console said last, on one line."""
    console = (evidence.folder / "console-guest.log").read_text(errors="replace").strip().splitlines()
    stderr = evidence.last_log("qemu")
    said = [f"QEMU said: {stderr}"] if stderr else []
    said += [f"its console ends: {console[-1]}"] if console else ["its console is empty"]
    return "; ".join([*said, f"see {evidence.folder}"])
