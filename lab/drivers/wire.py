"""The far end of a wire: a program that sends and receives whole frames there."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from lab.drivers.agent import put_agents
from lab.drivers.ssh import HostConnection
from lab.errors import BenchError
from lab.link import AgentLink, Receiver

_CHECKOUT = Path(__file__).resolve().parents[2]
_STOP_S = 5.0


class WireProtocol(Protocol):
    """A wire, whatever carries it."""

    def far_end_argv(self) -> list[str]:
        """The far-end agent's command line, where it runs."""

    def far_end(self, receiver: Receiver | None = None) -> AbstractContextManager[AgentLink]:
        """The running agent; it ends with the context.

        Raises:
            BenchError: it cannot be started, or does not answer a call.
        """


@dataclass(frozen=True)
class UnixWire:
    """The virtual bench's wire: one frame a datagram between two unix sockets on the controller."""

    far: Path
    qemu: Path

    def far_end_argv(self) -> list[str]:
        return [sys.executable, "-m", "lab.agents.farend", "--wire", f"unix:{self.far}:{self.qemu}"]

    @contextmanager
    def far_end(self, receiver: Receiver | None = None) -> Iterator[AgentLink]:
        self.far.unlink(missing_ok=True)  # a killed agent leaves its socket, and bind would fail
        with subprocess.Popen(
            self.far_end_argv(), cwd=_CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin and process.stdout
            reader, writer = cast(BinaryIO, process.stdout), cast(BinaryIO, process.stdin)
            link = AgentLink(f"far-end agent on {self.far.name}", reader, writer, receiver)
            try:
                yield link
            finally:
                with suppress(OSError):
                    process.stdin.close()  # it ends by itself on end-of-file
                try:
                    process.wait(_STOP_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                link.close()


@dataclass(frozen=True)
class PacketWire:
    """A real cable: the far end is a port of another machine, driven by AF_PACKET over ssh.

    Not verified on hardware.

    connect: opens the connection to that machine, which must allow raw sockets and have python3
    """

    connect: Callable[[], HostConnection]
    interface: str

    def far_end_argv(self) -> list[str]:
        return _argv(f"packet:{self.interface}")

    @contextmanager
    def far_end(self, receiver: Receiver | None = None) -> Iterator[AgentLink]:
        with self.connect() as host, _on_host(host, self.interface, self.far_end_argv(), receiver) as link:
            yield link


@dataclass(frozen=True)
class HostWire:
    """A wire that ends on the bench host itself: a tap of its, or a vsock of the guest's.

    host: the open connection to it, which stays open
    wire: "packet:tap0", "vsock-listen:1024"; see lab/agents/rawsock.py
    """

    host: HostConnection
    wire: str

    def far_end_argv(self) -> list[str]:
        return _argv(self.wire)

    @contextmanager
    def far_end(self, receiver: Receiver | None = None) -> Iterator[AgentLink]:
        with _on_host(self.host, self.wire, self.far_end_argv(), receiver) as link:
            yield link


def _argv(wire: str) -> list[str]:
    return ["python3", "-m", "agents.farend", "--wire", wire]


@contextmanager
def _on_host(
    host: HostConnection, wire: str, argv: Sequence[str], receiver: Receiver | None
) -> Iterator[AgentLink]:
    """The agent on a host that ssh reaches; it has ended when the context is left."""
    with host.stream(["env", f"PYTHONPATH={put_agents(host)}", *argv]) as stream:
        link = AgentLink(f"far-end agent on {wire} of {host.endpoint}", stream.stdout, stream.stdin, receiver)
        try:
            _require_answer(link, stream.stderr)
            yield link
        finally:
            link.close()


def _require_answer(link: AgentLink, stderr: BinaryIO) -> None:
    """Its first words; if it ended instead, what it said last, as a wrong interface or port is common."""
    try:
        link.call("hello")
    except BenchError as error:
        said = stderr.read().decode(errors="replace").strip() if link.closed.is_set() else ""
        raise BenchError(f"{error}; it said last: {said.splitlines()[-1]}" if said else str(error)) from error
