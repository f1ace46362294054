"""The QEMU processes of a guest: each life of it is an incarnation, started and ended on the bench host."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from lab.boot_signs import CONSOLE
from lab.drivers.agent import HostAgent, Spawned
from lab.drivers.ssh import HostConnection
from lab.errors import BenchError, SutError
from lab.evidence import Evidence
from lab.qemu.argv import GuestConfig, with_descriptors
from lab.qemu.monitor import Monitor

QUIT_TIMEOUT_S = 20.0
TRANSCRIPT = "qmp.jsonl"


@dataclass(frozen=True)
class Incarnation:
    """One QEMU process of a guest; cpr-exec keeps it, every other mode of update makes a new one."""

    config: GuestConfig
    spawned: Spawned

    @property
    def pid(self) -> int:
        return self.spawned.pid

    def argv(self, words: Sequence[str]) -> list[str]:
        """A command line for an exec of this process: inherited descriptors keep their numbers."""
        return with_descriptors(list(words), dict(self.spawned.fds))


class Incarnations:
    """Starts QEMU for one guest as often as an update needs it; all of it is undone by `undo`.

    undo: closed when the guest is given up
    """

    def __init__(
        self, host: HostConnection, agent: HostAgent, config: GuestConfig, evidence: Evidence, undo: ExitStack
    ) -> None:
        self.host, self.agent, self.evidence = host, agent, evidence
        self._first, self._undo, self._number = config, undo, 0

    def start(
        self, qemu: str, incoming: Sequence[str] = (), wrapper: Sequence[str] = (), *, beside: bool = False
    ) -> Incarnation:
        """Start one more QEMU, with sockets in a folder of its own; the console's log is one for all.

        incoming: what is appended to its command line
        wrapper:  the command it is started through
        beside:   another one runs the guest, until `Guest.become` says that this one does

        Raises:
            AgentRefusal: the host could not.
        """
        config = self.next_config()
        self._number += 1
        self.host.check(["mkdir", "-p", "-m", "700", config.run_dir])
        if self._number == 1:
            self._undo.callback(self.host.run, ["rm", "-rf", config.run_dir])
            _make_far_ends(self.agent, config)
        argv = [*wrapper, *config.argv(qemu, new=self._number > 1), *incoming]
        spawned = self.agent.spawn(
            "qemu",
            argv,
            sockets=config.sockets,
            taps=config.taps,
            container=config.container,
            stdio=config.stdio,
        )
        self.evidence.record("qemu.start", argv=list(spawned.argv), pid=spawned.pid, beside=beside)
        self._undo.callback(self._end, spawned.pid)
        if self._number == 1:
            self._undo.enter_context(_console(self.host, config.console_log, self.evidence.folder / CONSOLE))
        return Incarnation(config, spawned)

    def next_config(self) -> GuestConfig:
        """What the next process will be: the same guest, with other places for its sockets."""
        if self._number == 0:
            return self._first
        home = self._first.run_dir
        return replace(self._first, run_dir=f"{home}/{self._number + 1}", log_dir=home)

    def monitor(self, of: Incarnation) -> Monitor:
        """A monitor for it, not connected yet."""
        transcript = self.evidence.folder / TRANSCRIPT
        connect = partial(self.host.stream_unix, of.config.qmp_path)
        monitor = Monitor(connect, self.evidence.recorder, transcript, lambda: self.how_it_ended(of.pid))
        self._undo.callback(monitor.close)
        self._undo.callback(_quit, monitor)
        return monitor

    def how_it_ended(self, pid: int) -> str:
        """In words; empty while it runs."""
        if (end := self.evidence.exit_of(pid)) is None:
            return ""
        how = f"was killed by signal {end['signal']}" if end["signal"] else f"ended with {end['status']}"
        return f"{how}; it said last: {self.evidence.last_log('qemu') or 'nothing'}"

    def give_up(self, one: Incarnation, monitor: Monitor | None, update: int) -> None:
        """End a process that does not run the guest any more, or never did: its end is no loss."""
        self.evidence.record("qemu.left", pid=one.pid, update=update)
        if monitor is not None:
            _quit(monitor)
        self._end(one.pid)

    def quit(self, one: Incarnation, monitor: Monitor) -> None:
        """End the guest."""
        _quit(monitor)
        self._end(one.pid)

    def _end(self, pid: int) -> None:
        """QEMU is given a while to quit, then killed; a bench that is gone needs neither."""
        with suppress(BenchError):
            try:
                self.agent.reap(pid, QUIT_TIMEOUT_S)
            except BenchError:
                self.agent.kill(pid)


def _make_far_ends(agent: HostAgent, config: GuestConfig) -> None:
    """Make what QEMU connects its chardevs to when it starts."""
    for one in config.chardevs:
        if one.backend.prepared:
            agent.stream_prepare(one.id, one.backend.far, one.where(config.run_dir, config.home))


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
