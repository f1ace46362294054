"""Processes that live no longer than the agent, with their output from the first byte."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from ..rpc import AgentError, Wire
from .pace import Pace
from .qemu_trace import stamped, traced
from .waiting import wait_until

FIRST_FD = 100
"""Inherited descriptors get numbers from here on, sockets before taps: far from what QEMU opens itself, and
the same after an exec."""
_READ_BYTES = 1 << 16
_EXEC_S = 10.0
_LOOK_S = 0.02


class Inside(Protocol):
    """Where a process is started: `container.Container`."""

    def entering(self, argv: Sequence[str], fds: Sequence[int], pid_file: Path) -> list[str]: ...


class Child:
    """One process; cpr-exec keeps its PID and its stderr, so this stands for all QEMUs of that PID.

    pid: its own; of a process in a container, `process` only waits for it and passes its end on
    """

    def __init__(
        self, name: str, process: "subprocess.Popen[bytes]", log: Path, wire: Wire, pace: Pace
    ) -> None:
        self.name, self.process, self.log = name, process, log
        self.pid = process.pid
        self._wire, self._pace = wire, pace
        self._ended = threading.Event()
        self._reader = threading.Thread(target=self._read, name=f"{name} output", daemon=True)
        self._reader.start()
        threading.Thread(target=self._wait, name=f"{name} end", daemon=True).start()

    def kill(self, timeout_s: float = 10.0) -> dict[str, Any]:
        """Kill its process group, or in a container the process; and wait until it is gone.

        Raises:
            AgentError: if it does not end, as a process that hangs in the kernel.
        """
        if not self._ended.is_set():
            if self.pid == self.process.pid:
                os.killpg(self.pid, signal.SIGKILL)
            else:
                with suppress(ProcessLookupError):  # it has just ended
                    os.kill(self.pid, signal.SIGKILL)
        return self.reap(timeout_s)

    def reap(self, timeout_s: float) -> dict[str, Any]:
        """Wait for its end: {status} or {signal}, None the other."""
        if not self._ended.wait(timeout_s):
            raise AgentError(f"{self.name} (pid {self.pid}) still runs after {timeout_s:g} s")
        return self._ending()

    def heard(self) -> bool:
        """Whether its output is read, as long as it runs."""
        return self._ended.is_set() or self._reader.is_alive()

    def deafen(self) -> None:
        """Who reads its output dies of the next line: a fault, to see whether the lab notices."""

        def say(line: bytes) -> None:
            raise RuntimeError("planted: nobody reads this output any more")

        self._say = say  # type: ignore[method-assign]

    def starts(self, program: str, pid_file: Path) -> bool:
        """Whether a process in a container has become this program, so that its PID is ours; or has ended."""
        with suppress(FileNotFoundError, ProcessLookupError, ValueError):  # crun writes it when it is there
            pid = int(pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if command[0] == program.encode():
                self.pid = pid
                return True
        return self._ended.is_set()

    def made(self, path: Path, timeout_s: float) -> bool:
        """Whether it has made a socket within a time, and while it runs."""
        deadline = time.monotonic() + timeout_s
        while not path.is_socket():
            if self._ended.wait(_LOOK_S) or time.monotonic() > deadline:
                return path.is_socket()
        return True

    def _read(self) -> None:
        output = self.process.stdout or self.process.stderr
        assert output is not None
        with output, self.log.open("ab", buffering=0) as log:
            rest = b""
            while data := os.read(output.fileno(), _READ_BYTES):
                log.write(data)
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._say(line)
                self._pace.rest()
            if rest:
                self._say(rest)

    def _say(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        t_ns = time.monotonic_ns()
        if (event := traced(text)) is not None:
            # asked for by -trace: evidence of when, and no complaint
            self._wire.event("qemu.trace", pid=self.pid, t_src_ns=t_ns, **event)
            return
        text = stamped(text)[1]
        self._wire.event("log", where="qemu", process=self.name, level="stderr", text=text, t_src_ns=t_ns)

    def _wait(self) -> None:
        self.process.wait()
        self._ended.set()
        t_ns = time.monotonic_ns()
        self._reader.join(1.0)  # its last words come before the news of its end
        self._wire.event(
            "host.exit",
            name=self.name,
            pid=self.pid,
            t_src_ns=t_ns,
            **self._ending(),
        )

    def _ending(self) -> dict[str, Any]:
        code = self.process.returncode
        # crun(1) ends with 128 + the number of the signal that ended the process; QEMU never does by itself
        return ending(128 - code if self.pid != self.process.pid and code > 128 else code)


def ending(returncode: int) -> dict[str, Any]:
    """A return code as {status, signal}."""
    if returncode < 0:
        return {"status": None, "signal": signal.Signals(-returncode).name}
    return {"status": returncode, "signal": None}


class Spawner:
    """Starts processes and keeps the agent's ends of their sockets.

    sockets: chardev name -> the agent's end of the socket pair whose other end the process inherited
    """

    def __init__(self, wire: Wire, folder: Path, pace: Pace | None = None) -> None:
        self._wire, self._folder, self._pace = wire, folder, pace or Pace()
        self.children: dict[int, Child] = {}
        self.sockets: dict[str, socket.socket] = {}

    def spawn(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        sockets: Sequence[str] = (),
        taps: Mapping[str, int] | None = None,
        inside: Inside | None = None,
        stdio: str = "",
    ) -> dict[str, Any]:
        """Start a process in a session of its own; "{fd:NAME}" in argv becomes the number it inherits.

        For a tap that is "{fd:tap:NAME}". It inherits a duplicate that no exec of its closes, so cpr-exec
        keeps it under the same number.

        env is added to the agent's own environment. The reply says {pid, fds: {name: number}, argv, log}.
        taps:   name -> the agent's descriptor, which it keeps
        inside: the container it is started in, with the container's environment
        stdio:  name of a socket that is its standard input and output; "" for none

        Raises:
            AgentError: if the program cannot be started.
        """
        pairs = {name: socket.socketpair() for name in [*sockets, *([stdio] if stdio else [])]}
        fds: dict[str, int] = {}
        try:
            given = {socket_name: pairs[socket_name][1].fileno() for socket_name in sockets}
            given |= {f"tap:{tap}": fd for tap, fd in (taps or {}).items()}
            for fd_name, fd in given.items():
                fds[fd_name] = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FD + len(fds))
            filled = [_filled(word, fds) for word in argv]
            both = pairs[stdio][1].fileno() if stdio else None
            child = self._start(name, filled, env or {}, list(fds.values()), inside, both)
        except OSError as error:
            _close([ours for ours, _ in pairs.values()])
            raise AgentError(
                f"could not start {name} ({argv[0] if argv else 'empty argv'}): {error}"
            ) from None
        finally:
            _close([theirs for _, theirs in pairs.values()])
            for fd in fds.values():
                os.close(fd)
        for socket_name, (ours, _) in pairs.items():
            # a stream may hold the one before: it closes it when it moves on
            self.sockets[socket_name] = ours
        return {"pid": child.pid, "fds": fds, "argv": filled, "log": str(child.log)}

    def child(self, pid: int) -> Child:
        """Raises AgentError for a process that this agent did not start."""
        if pid not in self.children:
            raise AgentError(f"pid {pid} was not started by this agent; it started {sorted(self.children)}")
        return self.children[pid]

    def kill_all(self) -> list[str]:
        """Kill all processes, newest first, as they may need an earlier one; returns what went wrong.

        A QEMU that ends after the daemon of its VDUSE device waits half a minute for its answer.
        """
        errors = []
        for child in reversed(list(self.children.values())):
            try:
                child.kill()
            except (AgentError, OSError) as error:
                errors.append(str(error))
        return errors

    def _start(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        fds: Sequence[int],
        inside: Inside | None,
        stdio: int | None,
    ) -> Child:
        # setpriv execs the program, so the PID is the program's; it dies even if SIGKILL ends the agent
        setpriv = shutil.which("setpriv")
        prefix = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
        if shutil.which(argv[0], path=env.get("PATH")) is None:
            raise FileNotFoundError(f"there is no program {argv[0]!r}")
        pid_file = self._folder / f"{name}-{len(self.children)}.pid"
        command = inside.entering(argv, fds, pid_file) if inside else argv
        process = subprocess.Popen(
            [*prefix, *command],
            stdin=subprocess.DEVNULL if stdio is None else stdio,
            stdout=subprocess.PIPE if stdio is None else stdio,
            stderr=subprocess.STDOUT if stdio is None else subprocess.PIPE,
            env={**os.environ, **env},
            pass_fds=fds,
            start_new_session=True,
        )
        child = Child(name, process, self._folder / f"{name}-{process.pid}.log", self._wire, self._pace)
        if setpriv:
            # until setpriv has asked for it, the end of the agent would not be the end of the process
            what = f"{name} (pid {process.pid}) is still setpriv"
            wait_until(lambda: _has_left(process.pid, setpriv), _EXEC_S, lambda: what)
        if inside:
            what = f"{name} is not in its container"
            wait_until(lambda: child.starts(argv[0], pid_file), _EXEC_S, lambda: what)
        self.children[child.pid] = child
        return child


def _has_left(pid: int, launcher: str) -> bool:
    """Whether a process has executed what its launcher shall start; one that has ended has."""
    try:
        return not Path(f"/proc/{pid}/exe").samefile(launcher)
    except OSError:
        return True


def _filled(word: str, fds: Mapping[str, int]) -> str:
    for name, number in fds.items():
        word = word.replace(f"{{fd:{name}}}", str(number))
    if "{fd:" in word:
        raise AgentError(
            f"argv names a descriptor that was not asked for: {word!r}; asked for: {sorted(fds)}"
        )
    return word


def _close(ends: Sequence[socket.socket]) -> None:
    for end in ends:
        end.close()
