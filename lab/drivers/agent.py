"""The host agent from the controller's side: brought to the host, started, called, ended."""

import collections
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from lab.drivers.agent_zip import pack, put_agents
from lab.errors import BenchError
from lab.link import AgentLink, Receiver

__all__ = ["Connection", "HostAgent", "Spawned", "Stream", "pack", "put_agents"]

STDERR_LINES = 20
"""So much of what the agent prints is kept for messages."""

_START_S = 60.0
_DEVICE_S = 90.0
"""Making and removing devices: in the worst case a VDUSE daemon that is gone is waited for twice."""
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


class HostAgent:
    """A session with the host agent; a context manager.

    What it bound, started or switched on is undone when it ends, also if the controller is killed.
    `process`, `pfns`, `interrupts` and `device` return what the agent's modules of that name describe.

    receiver: gets its events and rows; may be set later
    options:  for the agent's command line
    see:      appended to messages when it is gone, as in AgentLink

    Raises:
        BenchError: from every call, if the agent does not answer; AgentRefusal if it cannot do it.
    """

    def __init__(
        self,
        connection: Connection,
        receiver: Receiver | None = None,
        *,
        name: str = "host agent",
        options: Sequence[str] = (),
        see: str = "",
    ) -> None:
        self.name = name
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
        except BenchError as error:
            self.__exit__()
            raise BenchError(
                f"the {self.name} did not start: {error}; it said: {self.said or 'nothing'}"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()
        # the agent's stdout ends when it has undone everything
        self.link.closed.wait(timeout=_START_S)
        self._stream.close()

    @property
    def said(self) -> str:
        """The last lines that the agent printed: why it could not start, or what it could not undo."""
        return "\n".join(self._said)

    def listen(self, receiver: Receiver | None) -> None:
        """Give events and rows to another receiver from now on."""
        self.link.receiver = receiver

    def clock_ns(self) -> int:
        return int(self.link.call("clock")["t_ns"])

    def epoch(self, number: int) -> None:
        self.link.call("epoch", number=number)

    def capabilities(self) -> dict[str, Any]:
        return self._dict("capabilities")

    def functions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.link.call("functions")
        return found

    def qemu_version(self, path: str) -> str:
        return str(self.link.call("qemu_version", timeout_s=60, path=path))

    def qemu_probe(self, path: str) -> dict[str, Any]:
        """What a QEMU can do, asked of itself: {version, modes, devices, ...}, lists but the first."""
        return self._dict("qemu_probe", 90, path=path)

    def bind(self, bdf: str, together: Sequence[str] = ()) -> dict[str, Any]:
        """Bind a function to vfio-pci: {driver_before, vfio_cdev, group}."""
        return self._dict("bind", bdf=bdf, together=list(together))

    def give_back(self, bdf: str) -> None:
        self.link.call("give_back", bdf=bdf)

    def vf_create(self, bdf: str, mac: str) -> dict[str, Any]:
        """Make a virtual function: {bdf, pf, pf_interface, group, group_members, mac, spoof_checking}."""
        return self._dict("vf_create", _DEVICE_S, bdf=bdf, mac=mac)

    def vf_remove(self, bdf: str) -> None:
        """Give a virtual function that was made here back, and remove it."""
        self.link.call("vf_remove", timeout_s=_DEVICE_S, bdf=bdf)

    def vdpa_create(self, name: str, management: str, mac: str | None = None) -> dict[str, Any]:
        """Make a vDPA device for QEMU: {name, path, type, management, mac}.

        For management "vduse" a daemon of the same name must have been started before.
        """
        return self._dict("vdpa_create", _DEVICE_S, name=name, management=management, mac=mac)

    def vdpa_as_disk(self, name: str) -> str:
        """Take a vDPA device from QEMU, which has ended, to the host: path of its block device."""
        return str(self.link.call("vdpa_as_disk", timeout_s=_DEVICE_S, name=name))

    def vdpa_remove(self, name: str) -> None:
        self.link.call("vdpa_remove", timeout_s=_DEVICE_S, name=name)

    def mdev_create(self, parent: str, type: str) -> dict[str, Any]:
        """Make a mediated device: {uuid, path, group, vfio_cdev}."""
        return self._dict("mdev_create", _DEVICE_S, parent=parent, type=type)

    def mdev_remove(self, uuid: str) -> None:
        self.link.call("mdev_remove", timeout_s=_DEVICE_S, uuid=uuid)

    def tap_create(self, name: str) -> dict[str, str]:
        """Make a tap that the agent holds, for `taps` of `spawn`: {name, mac}."""
        return self._dict("tap_create", name=name)

    def tap_persistent(self, name: str) -> dict[str, str]:
        """Make a tap that nobody holds, for a process that opens it by its name: {name, mac}."""
        return self._dict("tap_persistent", name=name)

    def tap_remove(self, name: str) -> None:
        self.link.call("tap_remove", name=name)

    def disk_of(self, bdf: str) -> str:
        """The path of the block device of a function that is the host's: waited for."""
        return str(self.link.call("disk_of", timeout_s=_DEVICE_S, bdf=bdf))

    def medium_read(
        self, load: str, path: str, slots: int, block_bytes: int, seed: int, used: int | None = None
    ) -> dict[str, Any]:
        """Send what a guest left on a disk as table <load>.medium; returns the data of event load.medium."""
        args = {"slots": slots, "block_bytes": block_bytes, "seed": seed, "used": used}
        return self._dict("medium_read", _MEDIUM_S, load=load, path=path, **args)

    def restore(self) -> list[dict[str, Any]]:
        """Undo every change to the host: [{kind, what, before, error if it failed}]."""
        undone: list[dict[str, Any]] = self.link.call("restore", timeout_s=60)
        return undone

    def spawn(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        sockets: Sequence[str] = (),
        taps: Sequence[str] = (),
        container: str = "",
    ) -> Spawned:
        """Start a process; "{fd:NAME}" in argv becomes its descriptor of the socket NAME.

        "{fd:tap:NAME}" becomes that of the tap NAME, made by `tap_create`.
        container: one made by `container_create`, which it is started in; "" for none
        """
        files = {"sockets": list(sockets), "taps": list(taps), "container": container}
        reply = self._dict("spawn", name=name, argv=list(argv), env=dict(env or {}), **files)
        return Spawned(reply["pid"], reply["fds"], tuple(reply["argv"]), reply["log"])

    def container_create(
        self,
        name: str,
        *,
        memory_bytes: int,
        memlock_bytes: int,
        writable: Sequence[str] = (),
        readable: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Start a container with an agent in it: {id, init, init_inside}."""
        limits = {"memory_bytes": memory_bytes, "memlock_bytes": memlock_bytes}
        folders = {"writable": list(writable), "readable": list(readable)}
        return self._dict("container_create", 60.0, name=name, **limits, **folders)

    def container_look(self, name: str, pid: int, *, begin: bool = False) -> dict[str, Any]:
        """A container and where process `pid` is; begin: count its peaks anew from here."""
        return self._dict("container_look", name=name, pid=pid, begin=begin)

    def container_call(self, name: str, request: str, patience_s: float, args: Mapping[str, Any]) -> Any:
        """Ask the agent in a container."""
        return self.link.call("container_call", patience_s, name=name, request=request, args=dict(args))

    def container_remove(self, name: str) -> None:
        self.link.call("container_remove", timeout_s=60, name=name)

    def reap(self, pid: int, wait_s: float = 10.0) -> dict[str, Any]:
        """Wait for the end of a spawned process: {status, signal}, one of them None."""
        return self._dict("reap", wait_s + 10, pid=pid, wait_s=wait_s)

    def kill(self, pid: int) -> dict[str, Any]:
        return self._dict("kill", pid=pid)

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

    def hugepages_reserve(self, page_kb: int, count: int) -> dict[str, int]:
        """See that so many huge pages are free: {page_kb, reserved, free}."""
        return self._dict("hugepages_reserve", _DEVICE_S, page_kb=page_kb, count=count)

    def shmem_thp_set(self, choice: str) -> str:
        """Say when shared memory may be made of transparent huge pages; returns the word before."""
        return str(self.link.call("shmem_thp_set", choice=choice))

    def memory_mount(self, kind: str, name: str, options: str) -> str:
        """Mount a tmpfs or a hugetlbfs; returns its folder."""
        return str(self.link.call("memory_mount", kind=kind, name=name, options=options))

    def interrupts(self, bdf: str) -> dict[str, int]:
        return self._dict("interrupts", bdf=bdf)

    def device(self, bdf: str) -> dict[str, Any]:
        return self._dict("device", bdf=bdf)

    def await_socket(self, pid: int, path: str, wait_s: float) -> bool:
        """Whether a spawned process has made a socket, waited for while it runs."""
        return bool(self.link.call("await_socket", wait_s + 10, pid=pid, path=path, wait_s=wait_s))

    def follow_pins(self, pid: int) -> None:
        self.link.call("follow_pins", pid=pid)

    def watch_pins(self, pid: int, period_ms: float = 10.0) -> None:
        self.link.call("watch_pins", pid=pid, period_ms=period_ms)

    def watch_kmsg(self) -> None:
        self.link.call("watch_kmsg")

    def watch_trace(self, update: int) -> None:
        self.link.call("watch_trace", update=update)

    def unwatch_trace(self, update: int) -> dict[str, Any]:
        """{counts, lost}"""
        return self._dict("unwatch_trace", update=update)

    def stop_watch(self, name: str) -> dict[str, Any]:
        return self._dict("stop_watch", name=name)

    def stream_open(self, chardev: str, backend: str, path: str | None = None, rate_hz: float = 50.0) -> None:
        self.link.call("stream_open", chardev=chardev, backend=backend, path=path, rate_hz=rate_hz)

    def stream_move(self, chardev: str, backend: str, path: str | None = None) -> None:
        """Leave a stream's connection, and go on over the newest socket of `spawn` or a path."""
        self.link.call("stream_move", chardev=chardev, backend=backend, path=path)

    def stream_report(
        self, chardev: str, drain: bool = False, upto: int | None = None, wait_s: float = 5.0
    ) -> dict[str, Any]:
        return self._dict(
            "stream_report", wait_s + 20, chardev=chardev, drain=drain, upto=upto, wait_s=wait_s
        )

    def stream_close(self, chardev: str) -> dict[str, Any]:
        return self._dict("stream_close", chardev=chardev)

    def _dict(self, call: str, patience_s: float = 30.0, /, **args: Any) -> dict[str, Any]:
        reply: dict[str, Any] = self.link.call(call, patience_s, **args)
        return reply

    def _listen(self) -> None:
        try:
            for line in self._stream.stderr:
                self._said.append(line.decode(errors="replace").rstrip())
        except (OSError, ValueError):
            pass  # the stream was closed
