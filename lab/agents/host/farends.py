"""Where a stream's connections come from: one class for each way to reach a chardev of QEMU's."""

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..rpc import AgentError

LOCAL = "127.0.0.1"


@dataclass(frozen=True)
class Connection:
    """One connection to QEMU: where to read and to write, without blocking.

    wake: ends it for whoever reads; None where only the reader's own stop does
    """

    read: int
    write: int
    close: Callable[[], None]
    wake: Callable[[], None] | None = None


class FarEnd(Protocol):
    """One way to a chardev.

    backend: as `stream_open` names it
    """

    backend: str

    def next(self, first: bool) -> Connection | None:
        """The next connection; None while there is none, or never will be: it is asked again."""
        ...

    def close(self) -> None:
        """Give up what it listens on or keeps."""
        ...


class Held:
    """A socket that we hold, whose other end QEMU inherited: it serves once."""

    backend = "fd"

    def __init__(self, held: socket.socket) -> None:
        self._held = held

    def next(self, first: bool) -> Connection | None:
        return _of(self._held) if first else None

    def close(self) -> None: ...


class Connecting:
    """Connects to where QEMU listens: the path of a unix socket, or a TCP port on this host."""

    def __init__(self, where: str) -> None:
        self.backend = "tcp" if where.isdigit() else "path"
        self._where = where

    def next(self, first: bool) -> Connection | None:
        tcp = self.backend == "tcp"
        connection = socket.socket(socket.AF_INET if tcp else socket.AF_UNIX)
        try:
            connection.connect((LOCAL, int(self._where)) if tcp else self._where)
        except OSError:
            connection.close()
            return None
        if tcp:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _of(connection)

    def close(self) -> None: ...


class Listening:
    """Listens where QEMU connects to; the next connection is taken when the one before is at its end.

    once: like a listener that takes one client and is gone (`nc -l`)
    """

    def __init__(self, path: str, *, once: bool = False) -> None:
        self.backend = "listen-once" if once else "listen"
        self._path, self._once = Path(path), once
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(8)
        self._listener.setblocking(False)

    def next(self, first: bool) -> Connection | None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # nobody waits, or it is closed
            return None
        if self._once:
            self.close()
        return _of(connection)

    def close(self) -> None:
        self._listener.close()
        self._path.unlink(missing_ok=True)


class Terminal:
    """Opens the pseudo-terminal that QEMU has made, without echo or line editing."""

    backend = "pty"

    def __init__(self, path: str) -> None:
        self._path = path

    def next(self, first: bool) -> Connection | None:
        import tty

        try:
            fd = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            tty.setraw(fd)
        except OSError:  # its other side has just gone
            os.close(fd)
            return None
        return Connection(fd, fd, lambda: os.close(fd))

    def close(self) -> None: ...


class Pipes:
    """The FIFOs PATH.in and PATH.out. Both are held open both ways, so that nothing in them is ever lost."""

    backend = "pipe"

    def __init__(self, path: str) -> None:
        self._paths = [Path(f"{path}.{way}") for way in ("in", "out")]
        for fifo in self._paths:
            fifo.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fifo.unlink(missing_ok=True)
            os.mkfifo(fifo, 0o600)

    def next(self, first: bool) -> Connection | None:
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
        to_qemu, from_qemu = (os.open(fifo, flags) for fifo in self._paths)

        def close() -> None:
            os.close(to_qemu)
            os.close(from_qemu)

        return Connection(from_qemu, to_qemu, close)

    def close(self) -> None:
        for fifo in self._paths:
            fifo.unlink(missing_ok=True)


class Datagrams:
    """UDP between two ports of this host, each line a datagram; "OURS:QEMU'S"."""

    backend = "udp"

    def __init__(self, ports: str) -> None:
        self._ours, self._theirs = (int(port) for port in ports.split(":"))
        # bound before QEMU sends its first
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((LOCAL, self._ours))
        self._socket.connect((LOCAL, self._theirs))
        self._socket.setblocking(False)

    def next(self, first: bool) -> Connection | None:
        # while nobody has the other port, a send is answered by an error: no end of anything
        return Connection(self._socket.fileno(), self._socket.fileno(), lambda: None)

    def close(self) -> None:
        self._socket.close()


KINDS: Mapping[str, Callable[[str], FarEnd]] = {
    "path": Connecting,
    "tcp": Connecting,
    "listen": Listening,
    "listen-once": lambda path: Listening(path, once=True),
    "pty": Terminal,
    "pipe": Pipes,
    "udp": Datagrams,
}
"""By the name of the back-end; "fd" is a socket of `spawn`."""


def far_end(backend: str, where: str | None, sockets: Mapping[str, socket.socket], chardev: str) -> FarEnd:
    """The way to a chardev.

    Raises:
        AgentError: there is no such back-end, or what it needs is not there.
    """
    if backend == "fd" and chardev in sockets:
        return Held(sockets[chardev])
    if backend not in KINDS or not where:
        raise AgentError(
            f"chardev {chardev!r}: backend 'fd' a socket of spawn; a path or ports have {', '.join(KINDS)}"
        )
    try:
        return KINDS[backend](where)
    except (OSError, ValueError) as error:
        raise AgentError(f"chardev {chardev!r}: {backend} {where}: {error}") from error


def _of(connection: socket.socket) -> Connection:
    connection.setblocking(False)

    def wake() -> None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    return Connection(connection.fileno(), connection.fileno(), connection.close, wake)
