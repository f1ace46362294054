"""The chardev witness: the host's ends of numbered line streams, each through one QEMU chardev."""

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..blocks import BlockRows
from ..numbered import Line, NumberedStream
from ..rpc import AgentError, Wire

FIRST_CONNECTION_S = 5.0
_RETRY_S = 0.02
ROWS_PERIOD_NS = 250_000_000


class ChardevStream:
    """One stream, both directions, through a socket we hold or one that QEMU listens on.

    A held socket (backend "fd") has one connection; after its end `move` brings the next. A path (backend
    "path") is connected to again and again until `stop`. Every good line from the guest is a row in the table
    chardev.<chardev>.received: when the guest is silent, it shows.

    Raises:
        AgentError: if nothing listens on the path.
    """

    def __init__(
        self, wire: Wire, chardev: str, where: "socket.socket | Path", rate_hz: float, epoch: int
    ) -> None:
        self.stream = NumberedStream(rate_hz, epoch, self._seen)
        self._rows, self._flushed_ns = BlockRows(wire, f"chardev.{chardev}.received"), 0
        self._rows_lock = threading.Lock()
        self.connections = self.eofs = 0
        self._wire, self._chardev, self._where = wire, chardev, where
        self._stop, self._connected = threading.Event(), threading.Event()
        self._moving, self._moved = threading.Lock(), False
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name=f"stream {chardev}", daemon=True)
        self._thread.start()
        if not self._connected.wait(FIRST_CONNECTION_S):
            self.abandon()
            raise AgentError(f"nothing listens on {where} for chardev {chardev} in {FIRST_CONNECTION_S:g} s")

    def report(self, drain: bool, upto: int | None, timeout_s: float) -> dict[str, Any]:
        """{chardev, backend, connections, eofs, sent, drained, received {counters}}, behind all rows."""
        if drain:
            self.stream.drain()
        backend = "path" if isinstance(self._where, Path) else "fd"
        counted = self.stream.report(upto, timeout_s)
        with self._rows_lock:
            self._rows.flush()
        seen = {"connections": self.connections, "eofs": self.eofs}
        return {"chardev": self._chardev, "backend": backend} | seen | counted

    def move(self, where: "socket.socket | Path") -> None:
        """Leave the present connection and go on over another one, numbers and all."""
        with self._moving:
            self._where, self._moved = where, True
            if self._connection is not None:
                # it wakes the reader; what was under way in it is lost
                with suppress(OSError):
                    self._connection.shutdown(socket.SHUT_RDWR)

    def stop(self) -> dict[str, Any]:
        """End and close the connection; returns the last report."""
        self.abandon()
        return self.report(drain=False, upto=None, timeout_s=0)

    def abandon(self) -> None:
        """End without a word."""
        self._stop.set()
        self._thread.join(2.0)

    def _run(self) -> None:
        while (connection := self._connect()) is not None:
            self.connections += 1
            self._say("chardev.open" if self.connections == 1 else "chardev.reopen")
            self._connected.set()
            with connection:
                reason = self.stream.run(connection.fileno(), self._stop)
                with self._moving:
                    self._connection = None
            if reason == "stopped":
                return
            self.eofs += 1
            self._say("chardev.eof", reason=reason)

    def _connect(self) -> socket.socket | None:
        """The next connection; None once we are to stop."""
        while not self._stop.is_set():
            with self._moving:
                connection = self._next()
                if connection is not None:
                    connection.setblocking(False)
                    self._connection, self._moved = connection, False
                    return connection
            self._stop.wait(_RETRY_S)
        return None

    def _next(self) -> socket.socket | None:
        if not isinstance(self._where, Path):
            # a socket that we were given serves once
            return self._where if self._moved or not self.connections else None
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(self._where))
        except OSError:
            connection.close()
            return None
        return connection

    def _seen(self, line: Line) -> None:
        t_ns = time.monotonic_ns()
        with self._rows_lock:
            self._rows.add(line.number, line.epoch, t_ns, 1)
            if t_ns - self._flushed_ns >= ROWS_PERIOD_NS:
                self._flushed_ns = t_ns
                self._rows.flush()

    def _say(self, kind: str, **data: Any) -> None:
        self._wire.event(kind, chardev=self._chardev, t_src_ns=time.monotonic_ns(), **data)
