"""The host agent from the controller's side: brought to the host, started, called, ended."""

import collections
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from lab.drivers.agent_handover import HandingOver
from lab.drivers.agent_left import NotRestored, not_undone, require_restored
from lab.drivers.agent_lending import Lending
from lab.drivers.agent_making import Making
from lab.drivers.agent_zip import pack, put_agents
from lab.errors import BenchError
from lab.link import AgentLink, Receiver

__all__ = ["Connection", "HostAgent", "NotRestored", "Spawned", "Stream", "pack", "put_agents"]

STDERR_LINES = 20
"""So much of what the agent prints is kept for messages."""

_START_S = 60.0
_EARS_S = 5.0
_MEDIUM_S = 600.0
"""A whole disk, read by an emulated host."""


class Stream(Protocol):
    """A command that runs on the host."""

    @property
    def stdin(self) -> BinaryIO: ...
    @property
    def stdout(self) -> BinaryIO: ...
    @property
    def stderr(self) -> BinaryIO: ...
    def close(self) -> None: ...


class Connection(Protocol):
    """How to reach the host: `lab.drivers.ssh.HostConnection`."""

    def stream(self, argv: Sequence[str]) -> Stream: ...
    def put_blob(self, local: Path) -> str: ...


@dataclass(frozen=True)
class Spawned:
    """A process that the agent started.

    fds:  chardev name, or "tap:NAME" -> the descriptor number that it inherited
    argv: as it was started, descriptor numbers filled in
    log:  file on the host with its output
    """

    pid: int
    fds: Mapping[str, int]
    argv: tuple[str, ...]
    log: str


class HostAgent(Lending, Making, HandingOver):
    """A session with the host agent; a context manager.

    What it bound, started or switched on is undone when it ends, also if the controller is killed.
    `process`, `pfns`, `interrupts` and `device` return what the agent's modules of that name describe.

    receiver:  gets its events and rows; may be set later
    functions: what it may touch, as `Bench.allowed` gives it: nothing by default
    options:   for the agent's command line
    see:       appended to messages when it is gone, as in AgentLink

    Raises:
        BenchError: from every call, if the agent does not answer; AgentRefusal if it cannot do it.
        NotRestored: at the start, if what an earlier agent had changed cannot be undone.
    """

    def __init__(
        self,
        connection: Connection,
        receiver: Receiver | None = None,
        *,
        name: str = "host agent",
        functions: Sequence[Mapping[str, Any]] = (),
        options: Sequence[str] = (),
        see: str = "",
    ) -> None:
        self.name, self._functions = name, list(functions)
        self._connection, self._receiver, self._options, self._see = connection, receiver, options, see
        self._said: collections.deque[str] = collections.deque(maxlen=STDERR_LINES)
        self.facts: Mapping[str, Any] = {}

    def __enter__(self) -> "HostAgent":
        self._stream = self._connection.stream(
            [
                "env",
                f"PYTHONPATH={put_agents(self._connection)}",
                "python3",
                "-m",
                "agents.host",
                *self._options,
            ]
        )
        self._ears = threading.Thread(target=self._listen, name=f"{self.name} stderr", daemon=True)
        self._ears.start()
        self.link = AgentLink(
            self.name, self._stream.stdout, self._stream.stdin, self._receiver, see=self._see
        )
        try:
            self.facts = self.link.call("hello", timeout_s=_START_S)
            require_restored(self.name, self.facts["restored"])
            self.allow(self._functions)
        except NotRestored:
            self._end()
            raise
        except BenchError as error:
            self._end()
            raise BenchError(
                f"the {self.name} did not start: {error}; it said: {self.said or 'nothing'}"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def left(self) -> list[str]:
        """What it could not undo, when it has ended: the next agent tries again."""
        return not_undone(self._said)

    def _end(self) -> None:
        self.link.close()
        # the agent's stdout ends when it has undone everything
        self.link.closed.wait(timeout=_START_S)
        self._stream.close()
        self._ears.join(_EARS_S)

    def renew(self) -> None:
        """Start anew, over the connection that was made anew: what the agent before it made is gone.

        Raises:
            BenchError: it does not start.
        """
        self._end()
        self.__enter__()

    @property
    def said(self) -> str:
        """The last lines that the agent printed: why it could not start, or what it could not undo."""
        return "\n".join(self._said)

    def listen(self, receiver: Receiver | None) -> None:
        """Give events and rows to another receiver from now on."""
        self.link.receiver = receiver

    def answers(self) -> bool:
        """Whether it still answers; asks it."""
        try:
            return self.clock_ns() > 0
        except BenchError:
            return False

    def clock_ns(self) -> int:
        return int(self.link.call("clock")["t_ns"])

    def epoch(self, number: int) -> None:
        self.link.call("epoch", number=number)

    def qemu_version(self, path: str) -> str:
        return str(self.link.call("qemu_version", timeout_s=60, path=path))

    def qemu_probe(self, path: str) -> dict[str, Any]:
        """What a QEMU can do, asked of itself: {version, modes, devices, ...}, lists but the first."""
        return self._dict("qemu_probe", 90, path=path)

    def medium_read(
        self, load: str, path: str, slots: int, block_bytes: int, seed: int, used: int | None = None
    ) -> dict[str, Any]:
        """Send what a guest left on a disk as table <load>.medium; returns the data of event load.medium."""
        args = {"slots": slots, "block_bytes": block_bytes, "seed": seed, "used": used}
        return self._dict("medium_read", _MEDIUM_S, load=load, path=path, **args)

    def spawn(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        sockets: Sequence[str] = (),
        taps: Sequence[str] = (),
        container: str = "",
        stdio: str = "",
    ) -> Spawned:
        """Start a process; "{fd:NAME}" in argv becomes its descriptor of the socket NAME.

        "{fd:tap:NAME}" becomes that of the tap NAME, made by `tap_create`.
        container: one made by `container_create`, which it is started in; "" for none
        stdio: name of a socket that is its standard input and output; "" for none
        """
        files = {"sockets": list(sockets), "taps": list(taps), "container": container, "stdio": stdio}
        reply = self._dict("spawn", name=name, argv=list(argv), env=dict(env or {}), **files)
        return Spawned(reply["pid"], reply["fds"], tuple(reply["argv"]), reply["log"])

    def reap(self, pid: int, wait_s: float = 10.0) -> dict[str, Any]:
        """Wait for the end of a spawned process: {status, signal}, one of them None."""
        return self._dict("reap", wait_s + 10, pid=pid, wait_s=wait_s)

    def kill(self, pid: int) -> dict[str, Any]:
        return self._dict("kill", pid=pid)

    def update_facts(
        self, pid: int | None = None, functions: Sequence[str] = (), paths: Sequence[str] = ()
    ) -> dict[str, Any]:
        """What the host allows an update of one QEMU; see lab/agents/host/update_facts.py."""
        return self._dict("update_facts", pid=pid, functions=list(functions), paths=list(paths))

    def process(self, pid: int) -> dict[str, Any]:
        return self._dict("process", pid=pid)

    def footprint(self, pid: int) -> dict[str, Any]:
        """See lab/agents/host/footprint.py."""
        return self._dict("footprint", pid=pid)

    def pfns(
        self, pid: int, offsets: Sequence[int], hint: str = "memfd:", size: int | None = None
    ) -> list[list[int]]:
        """[[offset, pfn, inode]]"""
        where = list(offsets)
        pages: list[list[int]] = self.link.call("pfns", pid=pid, offsets=where, hint=hint, size=size)
        return pages

    def memory_backing(self, pid: int, hint: str = "memfd:", size: int | None = None) -> dict[str, Any]:
        """Which pages back a memory file; see lab/agents/host/backing.py."""
        return self._dict("memory_backing", pid=pid, hint=hint, size=size)

    def await_socket(self, pid: int, path: str, wait_s: float) -> bool:
        """Whether a spawned process has made a socket, waited for while it runs."""
        return bool(self.link.call("await_socket", wait_s + 10, pid=pid, path=path, wait_s=wait_s))

    def follow_pins(self, pid: int) -> None:
        self.link.call("follow_pins", pid=pid)

    def watch_pins(self, pid: int, period_ms: float = 10.0) -> None:
        self.link.call("watch_pins", pid=pid, period_ms=period_ms)

    def watch_kmsg(self) -> None:
        self.link.call("watch_kmsg")

    def watch_trace(self, update: int, *, events: bool = True, gaps: bool = True) -> None:
        """See lab/agents/host/trace.py."""
        self.link.call("watch_trace", update=update, events=events, gaps=gaps)

    def calm(self, on: bool) -> None:
        """Read QEMU's lines and the kernel's events now and then, or at once again."""
        self.link.call("calm", on=on)

    def unwatch_trace(self, update: int) -> dict[str, Any]:
        """{counts, lost}"""
        return self._dict("unwatch_trace", update=update)

    def stop_watch(self, name: str) -> dict[str, Any]:
        return self._dict("stop_watch", name=name)

    def stream_prepare(self, chardev: str, backend: str, path: str) -> None:
        """Make what QEMU connects to, or opens, when it starts."""
        self.link.call("stream_prepare", chardev=chardev, backend=backend, path=path)

    def stream_open(
        self,
        chardev: str,
        backend: str,
        path: str | None = None,
        rate_hz: float = 50.0,
        *,
        held: bool = False,
        protocol: str = "",
    ) -> None:
        """See lab/agents/host/chardevs.py."""
        where: dict[str, Any] = {"chardev": chardev, "backend": backend, "path": path}
        self.link.call("stream_open", **where, rate_hz=rate_hz, held=held, protocol=protocol)

    def stream_begin(self, chardev: str) -> None:
        """Send from now on, if it was opened held."""
        self.link.call("stream_begin", chardev=chardev)

    def stream_pace(self, rates_hz: Mapping[str, float], flowing: bool) -> None:
        """chardev -> lines or requests per second from now on; flowing: wait until they flow so."""
        self.link.call("stream_pace", rates_hz=dict(rates_hz), flowing=flowing)

    def stream_move(self, chardev: str, backend: str, path: str | None = None) -> None:
        """Leave a stream's connection, and go on over the newest socket of `spawn` or a path."""
        self.link.call("stream_move", chardev=chardev, backend=backend, path=path)

    def stream_report(
        self, chardev: str, drain: bool = False, upto: int | None = None, wait_s: float = 5.0
    ) -> dict[str, Any]:
        return self._dict(
            "stream_report", wait_s + 20, chardev=chardev, drain=drain, upto=upto, wait_s=wait_s
        )

    def streams_heard(self) -> dict[str, list[int]]:
        """Of all ends the last number and the last epoch that came."""
        return self._dict("streams_heard")

    def stream_close(self, chardev: str) -> dict[str, Any]:
        return self._dict("stream_close", chardev=chardev)

    def _listen(self) -> None:
        try:
            for line in self._stream.stderr:
                self._said.append(line.decode(errors="replace").rstrip())
        except (OSError, ValueError):
            pass  # the stream was closed
