"""The chardev witness: the host's ends of numbered line streams, each through one QEMU chardev."""

import threading
import time
from typing import Any

from ..blocks import BlockRows
from ..numbered import Line, NumberedStream
from ..rpc import AgentError, Wire
from .farends import Connection, FarEnd

FIRST_CONNECTION_S = 5.0
_RETRY_S = (0.02, 0.1)
"""A connection that is refused is tried again as often as lines are sent, within these."""
ROWS_PERIOD_NS = 250_000_000
CONNECTIONLESS = ("udp",)
"""An error says that nobody was there to hear; the stream goes on."""


class ChardevStream:
    """One stream, both directions, over the connections that a far end gives.

    A held socket has one connection; after its end `move` brings the next. Every other way is tried again and
    again until `stop`. Every good line from the guest is a row in the table chardev.<chardev>.received: when
    the guest is silent, it shows.

    held: nothing is sent before `begin`

    Raises:
        AgentError: if no connection comes.
    """

    def __init__(
        self, wire: Wire, chardev: str, where: FarEnd, rate_hz: float, epoch: int, *, held: bool = False
    ) -> None:
        self.stream = NumberedStream(rate_hz, epoch, self._seen, held=held)
        self._rows, self._flushed_ns = BlockRows(wire, f"chardev.{chardev}.received"), 0
        self._rows_lock = threading.Lock()
        self.connections = self.eofs = 0
        self._wire, self._chardev, self._where = wire, chardev, where
        self._stop, self._connected, self._leave = threading.Event(), threading.Event(), threading.Event()
        self._moving, self._moved = threading.Lock(), True
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._run, name=f"stream {chardev}", daemon=True)
        self._thread.start()
        if not self._connected.wait(FIRST_CONNECTION_S):
            self.abandon()
            raise AgentError(
                f"no connection of backend {where.backend} for chardev {chardev} in {FIRST_CONNECTION_S:g} s"
            )

    def begin(self) -> None:
        """Send from now on."""
        self.stream.begin()

    def renew(self, rate_hz: float) -> None:
        """Begin anew on the same connection, once both ends were drained; nothing is sent before `begin`."""
        self.stream.renew(rate_hz, held=True)
        with self._moving:
            self.connections, self.eofs = int(self._connection is not None), 0

    def pace(self, rate_hz: float) -> None:
        """Send so many lines per second from now on."""
        self.stream.pace(rate_hz)

    def epoch(self, number: int) -> None:
        """Lines sent from now on carry it."""
        self.stream.epoch = number

    def report(self, drain: bool, upto: int | None, timeout_s: float) -> dict[str, Any]:
        """{chardev, backend, connections, eofs, sent, drained, received {counters}}, behind all rows.

        Raises:
            AgentError: nobody listens any more: what did not come since then, nobody knows.
        """
        if not (self._thread.is_alive() or self._stop.is_set()):
            raise AgentError(f"our end of chardev {self._chardev} has died: see what the agent printed")
        if drain:
            self.stream.drain()
        counted = self.stream.report(upto, timeout_s)
        with self._rows_lock:
            self._rows.flush()
        seen = {"connections": self.connections, "eofs": self.eofs}
        return {"chardev": self._chardev, "backend": self._where.backend} | seen | counted

    def move(self, where: FarEnd) -> None:
        """Leave the present connection and go on over another one, numbers and all."""
        with self._moving:
            before, self._where, self._moved = self._where, where, True
            if self._connection is not None:
                # it ends the reader; what was under way in it is lost
                (self._connection.wake or self._leave.set)()
        before.close()

    def stop(self) -> dict[str, Any]:
        """End and close the connection; returns the last report."""
        self.abandon()
        return self.report(drain=False, upto=None, timeout_s=0)

    def abandon(self) -> None:
        """End without a word."""
        self._stop.set()
        self._leave.set()
        self._thread.join(2.0)
        self._where.close()

    def _run(self) -> None:
        while (connection := self._connect()) is not None:
            self.connections += 1
            self._say("chardev.open" if self.connections == 1 else "chardev.reopen")
            self._connected.set()
            reason = self._carry(connection)
            with self._moving:
                self._connection = None
            connection.close()
            if self._stop.is_set():
                return
            self.eofs += 1
            self._say("chardev.eof", reason=reason)

    def _carry(self, connection: Connection) -> str:
        """Carry lines until the connection is at its end; why it is."""
        while True:
            reason = self.stream.run(connection.read, self._leave, connection.write)
            if reason == "stopped" or self._where.backend not in CONNECTIONLESS:
                return reason

    def _connect(self) -> Connection | None:
        """The next connection; None once we are to stop."""
        while not self._stop.is_set():
            with self._moving:
                connection = self._where.next(self._moved)
                if connection is not None:
                    self._connection, self._moved = connection, False
                    if not self._stop.is_set():
                        self._leave.clear()
                    return connection
            least_s, most_s = _RETRY_S
            self._stop.wait(min(max(least_s, self.stream.period_s), most_s))
        return None

    def _seen(self, line: Line) -> None:
        t_ns = time.monotonic_ns()
        with self._rows_lock:
            self._rows.add(line.number, line.epoch, t_ns, 1)
            if t_ns - self._flushed_ns >= ROWS_PERIOD_NS:
                self._flushed_ns = t_ns
                self._rows.flush()

    def _say(self, kind: str, **data: Any) -> None:
        self._wire.event(kind, chardev=self._chardev, t_src_ns=time.monotonic_ns(), **data)
