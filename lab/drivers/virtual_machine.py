"""The process of a virtual bench: started, watched until ready, stopped; it dies with its controller."""

import logging
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from lab.drivers import monitor
from lab.drivers.endpoint import Endpoint
from lab.drivers.processors import one_processor
from lab.drivers.virtual_argv import Machine, machine_argv
from lab.drivers.virtual_devices import MODELS, disk_path
from lab.drivers.virtual_seed import KeyPair, write_private, write_seed
from lab.errors import BenchError, LabUsageError
from lab.waiting import wait_until

log = logging.getLogger(__name__)

READY = b"cprlab: ready"
# a full disk would stop the host without a word
_NEEDED_BYTES = 512 << 20
_MONITOR_S = 10.0
_DEAD = (b"Kernel panic", b"end Kernel panic")


class VirtualMachine:
    """A bench host as a QEMU process; made powered on, and gone after `stop`.

    processors: {"emulated": N, "real": how many of the controller's they are kept on; None for all}
    phases: seconds from power-on to "firmware" (first console line), "kernel", "ready", "ssh"

    Raises:
        BenchError: QEMU does not start, or the host does not become ready in time.
    """

    def __init__(
        self,
        machine: Machine,
        program: Sequence[str],
        env: Mapping[str, str],
        keys: tuple[KeyPair, KeyPair],
        seed_files: Sequence[Path] = (),
    ) -> None:
        self.machine = machine
        self.phases: dict[str, float] = {}
        real = 1 if machine.accelerator == "tcg" else None
        self.processors: Mapping[str, int | None] = {"emulated": machine.cpus, "real": real}
        self._host_key, self._our_key = keys
        self._stderr = machine.run_dir / "qemu.stderr"
        self._key_file = machine.run_dir / "key"
        self._processor = ExitStack()
        with ExitStack() as undo:
            undo.callback(self._remove_run_dir)
            undo.callback(self._processor.close)
            _require_space()
            write_private(self._key_file, self._our_key.private)
            if machine.seed is not None:
                write_seed(machine.seed, self._host_key, self._our_key, seed_files)
            self._make_disks()
            self._power_on_s = time.monotonic()
            argv = [*self._on_one_processor(), *program, *machine_argv(machine)]
            self.process = spawned(argv, env, self._stderr)
            undo.callback(self._kill)
            port = self._forwarded_port()
            self.endpoint = Endpoint("127.0.0.1", port, "root", self._key_file, self._host_key.public)
            log.info("bench host powered on (%s), console in %s", machine.accelerator, machine.console_log)
            undo.pop_all()

    @property
    def running(self) -> bool:
        """Whether its QEMU lives."""
        return self.process.poll() is None

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until the host says on its console that sshd listens.

        Raises:
            BenchError: its QEMU ended, its kernel panicked, or the time is over; with the last lines.
        """
        try:
            wait_until(self._is_ready, timeout_s, "ready", error=TimeoutError)
        except TimeoutError:
            raise BenchError(self._not_booted(f"is not ready {timeout_s:g} s after power on")) from None

    @property
    def boots(self) -> int:
        """How often the host said on its console that sshd listens: once a boot, also by kexec."""
        return self._console().count(READY)

    def wait_booted_again(self, boots: int, timeout_s: float) -> None:
        """Wait until the host has become ready once more than `boots` times.

        Raises:
            BenchError: as `wait_ready`.
        """
        try:
            wait_until(lambda: self._is_ready() and self.boots > boots, timeout_s, "boot", error=TimeoutError)
        except TimeoutError:
            raise BenchError(self._not_booted(f"has not booted anew within {timeout_s:g} s")) from None

    def passed(self, phase: str) -> None:
        """Note that a phase of the boot is over now."""
        self.phases.setdefault(phase, round(time.monotonic() - self._power_on_s, 2))

    def stop(self) -> None:
        """Power off, hard: its disk is thrown away anyway. The run folder goes, the console log stays."""
        self._kill()
        self._processor.close()
        self._remove_run_dir()

    def _is_ready(self) -> bool:
        console = self._console()
        for phase, mark in (("firmware", b"\n"), ("kernel", b"Linux version"), ("ready", READY)):
            if mark in console:
                self.passed(phase)
        if not self.running:
            raise BenchError(self._not_booted(f"ended: {self._last_words()}"))
        if any(mark in console for mark in _DEAD):
            raise BenchError(self._not_booted("panicked"))
        return "ready" in self.phases

    def _not_booted(self, what: str) -> str:
        lines = [line for line in self._console().decode(errors="replace").splitlines() if line.strip()]
        tail = " | ".join(line.strip() for line in lines[-3:]) or "(nothing)"
        log_file = self.machine.console_log
        return f"bench host {self.machine.run_dir.name} {what}; last on its console {log_file}: {tail}"

    def _console(self) -> bytes:
        try:
            return self.machine.console_log.read_bytes()
        except FileNotFoundError:
            return b""

    def _forwarded_port(self) -> int:
        def answered() -> int | None:
            if not self.running:
                raise BenchError(f"QEMU of the bench host did not start: {self._last_words()}")
            try:
                return monitor.forwarded_port(self.machine.monitor) if self.machine.monitor.exists() else None
            except BenchError:  # its socket is there before its devices: it may just be ending
                if time.monotonic() - self._power_on_s > _MONITOR_S:
                    raise
                return None

        port = wait_until(answered, 2 * _MONITOR_S, "the monitor of the bench host's QEMU", period_s=0.02)
        assert port is not None
        return port

    def _last_words(self) -> str:
        said = self._stderr.read_text(errors="replace").strip().splitlines()
        return said[-1] if said else f"status {self.process.returncode}, nothing on stderr"

    def _make_disks(self) -> None:
        for device in self.machine.devices:
            if size := MODELS[device.model].disk_bytes:
                with disk_path(self.machine.run_dir, device.name).open("xb") as disk:
                    disk.truncate(size)

    def _on_one_processor(self) -> list[str]:
        """The command that keeps an emulated bench host on one processor of the controller.

        One emulated processor uses one; two benches on two processors do not take each other's time. Guests
        were seen to die more often without: see testcases/reproductions/svm-first-touch.sh, mended since.
        """
        if self.machine.accelerator != "tcg":
            return []
        return ["taskset", "--cpu-list", str(self._processor.enter_context(one_processor()))]

    def _kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _remove_run_dir(self) -> None:
        shutil.rmtree(self.machine.run_dir, ignore_errors=True)


def _snapshot_place() -> Path:
    """Where QEMU puts what the host writes to its disk: in a file that it unlinks at once (snapshot=on)."""
    return Path(os.environ.get("TMPDIR", "/var/tmp"))


def _require_space() -> None:
    place = _snapshot_place()
    if (free := shutil.disk_usage(place).free) < _NEEDED_BYTES:
        raise BenchError(
            f"a bench needs {_NEEDED_BYTES >> 20} MiB in {place} for what its host writes, "
            f"{free >> 20} are free; make room, or set TMPDIR"
        )


def spawned(argv: Sequence[str], env: Mapping[str, str], stderr: Path) -> "subprocess.Popen[bytes]":
    """Start QEMU so that it dies when this process dies, even by SIGKILL.

    Source: prctl(2) PR_SET_PDEATHSIG: the signal comes when the *thread* that started it ends.
    """
    if threading.current_thread() is not threading.main_thread():
        raise LabUsageError(
            "a bench must be powered on from the main thread: it dies with the thread that started it"
        )
    if not shutil.which("setpriv"):
        raise BenchError("setpriv not found on this controller; apt-get install util-linux")
    with stderr.open("wb") as errors:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *argv],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            env={**os.environ, **env, "TMPDIR": str(_snapshot_place())},
            start_new_session=True,  # Ctrl-C is for the controller, which then powers off in order
        )
