"""A connection whose far end asks, and QEMU answers: requests are numbered, one under way at a time."""

import os
import select
import socket
import threading
import time
from typing import Any

from ..rpc import AgentError, Wire
from .farends import Connection, FarEnd
from .protocols import PROTOCOLS, Lost
from .streams import FIRST_CONNECTION_S

ANSWER_S = 5.0
"""Longer than an update: a connection that is kept answers when new QEMU runs."""
_RETRY_S = 0.02


class _Talk:
    """A connection as protocols need it."""

    def __init__(self, connection: Connection, stop: threading.Event) -> None:
        self._connection, self._stop, self._came = connection, stop, b""
        self._socket = socket.socket(fileno=os.dup(connection.read))
        self.until_s = 0.0

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Lost(str(error)) from None

    def until(self, end: bytes) -> bytes:
        while end not in self._came:
            self._more()
        found, _, self._came = self._came.partition(end)
        return found + end

    def exactly(self, count: int) -> bytes:
        while len(self._came) < count:
            self._more()
        found, self._came = self._came[:count], self._came[count:]
        return found

    def look(self) -> None:
        """Take what came unasked; raises Lost at the end of the connection."""
        while select.select([self._socket], [], [], 0)[0]:
            self._take()

    def _more(self) -> None:
        while not select.select([self._socket], [], [], 0.1)[0]:
            if self._stop.is_set():
                raise Lost("stopped")
            if time.monotonic() > self.until_s:
                raise TimeoutError
        self._take()

    def _take(self) -> None:
        try:
            data = self._socket.recv(65536)
        except OSError as error:
            raise Lost(str(error)) from None
        if not data:
            raise Lost("eof")
        self._came += data

    def close(self) -> None:
        self._socket.close()
        self._connection.close()


class AskedStream:
    """Asks on the connections that a far end gives, and counts the answers.

    A request that is not answered before the connection ends, or in ANSWER_S, is lost; so is a refused one.
    sessions: how often QEMU began anew: more than `connections` if it did so on a connection that was kept

    Raises:
        AgentError: if no connection comes, or QEMU does not greet.
    """

    def __init__(
        self, wire: Wire, chardev: str, where: FarEnd, protocol: str, rate_hz: float, epoch: int
    ) -> None:
        if protocol not in PROTOCOLS:
            raise AgentError(f"protocol {protocol!r} is none of {', '.join(PROTOCOLS)}")
        self._wire, self._chardev, self._where, self._speaks = wire, chardev, where, PROTOCOLS[protocol]()
        self._period_s, self._epoch, self._not_before = 1 / rate_hz, epoch, 0
        self.connections = self.eofs = 0
        self.asked = self._answered = self._refused = 0
        self._last = self._first_epoch = self._last_epoch = 0
        self._longest_idle_s = 0.0
        self._asking, self._pending = True, False
        self._stop, self._greeted, self._moved = threading.Event(), threading.Event(), True
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"asked {chardev}", daemon=True)
        self._thread.start()
        if not self._greeted.wait(FIRST_CONNECTION_S + ANSWER_S):
            self.abandon()
            raise AgentError(f"nobody greets as {protocol} on chardev {chardev}")

    def begin(self) -> None:
        """It asks from the beginning."""

    def pace(self, rate_hz: float) -> None:
        """Ask so often per second from now on; 0: not at all."""
        self._period_s = 1 / rate_hz if rate_hz else 0.0
        self._wake.set()

    def epoch(self, number: int) -> None:
        """Requests made from now on carry it."""
        self._epoch = number

    def report(self, drain: bool, upto: int | None, timeout_s: float) -> dict[str, Any]:
        """As that of a stream: `sent` are requests but one under way, `received` counts answers."""
        if drain:
            self._asking = False
        waiting = self._pending
        sent = self.asked - waiting
        received = dict.fromkeys(("repeated", "reordered", "damaged", "cut"), 0)
        received |= {"received": self._answered, "lost": sent - self._answered}
        received |= {"last_number": self._last}
        received |= {"first_epoch": self._first_epoch, "last_epoch": self._last_epoch}
        return {
            "chardev": self._chardev,
            "backend": self._where.backend,
            "connections": self.connections,
            "eofs": self.eofs,
            "sent": sent,
            "drained": drain and not waiting,
            "longest_idle_ms": round(1000 * self._longest_idle_s),
            "refused": self._refused,
            "sessions": self._speaks.sessions,
            "received": received,
        }

    def move(self, where: FarEnd) -> None:
        """Connect there once the present connection is at its end."""
        self._where, self._moved = where, True

    def stop(self) -> dict[str, Any]:
        """End and close the connection; returns the last report."""
        self.abandon()
        return self.report(False, None, 0)

    def abandon(self) -> None:
        """End without a word."""
        self._stop.set()
        self._wake.set()
        self._thread.join(2.0)
        self._where.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            early = self._epoch < self._not_before
            connection = None if early else self._where.next(self._moved)
            if connection is None:
                self._stop.wait(_RETRY_S)
                continue
            self._moved = False
            talk = _Talk(connection, self._stop)
            try:
                self._converse(talk)
            except (Lost, TimeoutError) as end:
                self._pending = False
                self._not_before = self._epoch + 1 if self._speaks.patient else 0
                if not self._stop.is_set() and self.connections:
                    self.eofs += 1
                    self._say("chardev.eof", reason=str(end) or "no answer")
            finally:
                talk.close()

    def _converse(self, talk: _Talk) -> None:
        talk.until_s = time.monotonic() + ANSWER_S
        self._speaks.greet(talk)
        self.connections += 1
        self._say("chardev.open" if self.connections == 1 else "chardev.reopen")
        self._greeted.set()
        awake_s = time.monotonic()
        while not self._stop.is_set():
            self._wake.wait(self._period_s or _RETRY_S)
            self._wake.clear()
            now = time.monotonic()
            talk.look()  # a connection that has ended is no request lost
            if self._asking and self._period_s:
                self._longest_idle_s = max(self._longest_idle_s, now - awake_s)
                self._ask(talk, now)
            awake_s = time.monotonic()

    def _ask(self, talk: _Talk, now: float) -> None:
        epoch, talk.until_s = self._epoch, now + ANSWER_S
        self._pending, self.asked = True, self.asked + 1
        try:
            answered = self._speaks.ask(talk, self.asked)
        except TimeoutError:  # the connection may be good for the next one
            answered = False
        if answered:
            self._answered += 1
            self._last, self._last_epoch = self.asked, epoch
            self._first_epoch = self._first_epoch or epoch
        else:
            self._refused += 1
        self._pending = False

    def _say(self, kind: str, **data: Any) -> None:
        self._wire.event(kind, chardev=self._chardev, t_src_ns=time.monotonic_ns(), **data)
