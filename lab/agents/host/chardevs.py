"""The host's ends of all chardev connections of a session, by the name of the chardev."""

import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ..mishaps import deafen
from ..rpc import AgentError, Wire
from .asked import AskedStream
from .epoch import Epoch
from .farends import FarEnd, far_end
from .logfile import LogFile
from .streams import ChardevStream

PACED_S = 2.0
_LOOK_S = 0.01


class End(Protocol):
    """One end: a stream, a connection that is asked, or a file."""

    def begin(self) -> None: ...

    def pace(self, rate_hz: float) -> None: ...

    def epoch(self, number: int) -> None: ...

    def report(self, drain: bool, upto: int | None, timeout_s: float) -> dict[str, Any]: ...

    def move(self, where: FarEnd) -> None: ...

    def stop(self) -> dict[str, Any]: ...

    def abandon(self) -> None: ...


class Chardevs:
    """Opens, moves, asks and closes them.

    sockets: those that processes were started with, by chardev
    """

    def __init__(self, wire: Wire, sockets: Mapping[str, socket.socket], epoch: Epoch) -> None:
        self._wire, self._sockets, self._epoch = wire, sockets, epoch
        self._ends: dict[str, End] = {}
        self._prepared: dict[str, FarEnd] = {}

    def calls(self) -> dict[str, Callable[..., Any]]:
        """By the name on the wire."""
        return {
            "stream_prepare": self.prepare,
            "stream_open": self.open,
            "stream_begin": self.begin,
            "stream_renew": self.renew,
            "stream_deafen": lambda chardev: deafen(self._stream(chardev).stream),
            "stream_pace": self.pace,
            "stream_move": self.move,
            "stream_report": self.report,
            "streams_heard": self.heard,
            "stream_close": self.close,
        }

    def prepare(self, chardev: str, backend: str, path: str) -> None:
        """Make what QEMU connects to, or opens, when it starts: it must be there before."""
        if chardev in self._prepared:
            raise AgentError(f"chardev {chardev!r} is prepared already")
        self._prepared[chardev] = far_end(backend, path, self._sockets, chardev)

    def open(
        self,
        chardev: str,
        backend: str,
        path: str | None = None,
        rate_hz: float = 50.0,
        held: bool = False,
        protocol: str = "",
    ) -> None:
        """backend: "fd", the socket that `spawn` kept; "file"; or one of farends.KINDS at `path`.

        held:     nothing is sent before `stream_begin`
        protocol: what is asked and answered, one of protocols.PROTOCOLS; "" for lines through a guest
        """
        if chardev in self._ends:
            raise AgentError(f"stream {chardev!r} is open already")
        end: End
        if backend == "file":
            end = LogFile(self._wire, chardev, str(path))
        else:
            where = self._prepared.pop(chardev, None) or self._far_end(chardev, backend, path)
            number = self._epoch.number
            if protocol:
                end = AskedStream(self._wire, chardev, where, protocol, rate_hz, number)
            else:
                end = ChardevStream(self._wire, chardev, where, rate_hz, number, held=held)
        self._ends[chardev] = end

    def begin(self, chardev: str) -> None:
        """Send from now on."""
        self._end(chardev).begin()

    def renew(self, chardev: str, rate_hz: float) -> None:
        """As if it were opened anew, held; both ends must be drained."""
        self._stream(chardev).renew(rate_hz)

    def pace(self, rates_hz: Mapping[str, float], flowing: bool) -> None:
        """chardev -> lines or requests per second from now on; flowing: return when lines flow so."""
        for chardev, rate_hz in rates_hz.items():
            self._end(chardev).pace(rate_hz)
        sent = {chardev: self._sent(chardev) for chardev, rate_hz in rates_hz.items() if rate_hz}
        deadline = time.monotonic() + PACED_S * flowing
        while time.monotonic() < deadline and any(self._sent(c) < n + 2 for c, n in sent.items() if n):
            time.sleep(_LOOK_S)

    def move(self, chardev: str, backend: str, path: str | None = None) -> None:
        """Leave the connection and take the other end's new one; as in `stream_open`."""
        self._end(chardev).move(self._far_end(chardev, backend, path))

    def report(
        self, chardev: str, drain: bool = False, upto: int | None = None, wait_s: float = 5.0
    ) -> dict[str, Any]:
        """Counters of our end. drain: begin no further line; upto: wait for the other end's last number."""
        return self._end(chardev).report(drain, upto, wait_s)

    def heard(self) -> dict[str, list[int]]:
        """Of all ends the last number and the last epoch that came."""
        reports = {chardev: end.report(False, None, 0)["received"] for chardev, end in self._ends.items()}
        return {name: [told["last_number"], told["last_epoch"]] for name, told in reports.items()}

    def close(self, chardev: str) -> dict[str, Any]:
        return {**self._end(chardev).stop(), "closed": self._ends.pop(chardev) is not None}

    def epoch(self, number: int) -> None:
        """What is sent from now on carries it."""
        for end in self._ends.values():
            end.epoch(number)

    def abandon(self) -> None:
        """End all without a word."""
        for end in self._ends.values():
            end.abandon()
        for prepared in self._prepared.values():
            prepared.close()

    def _sent(self, chardev: str) -> int:
        end = self._ends[chardev]
        if isinstance(end, AskedStream):
            return end.asked
        return end.stream.sent if isinstance(end, ChardevStream) else 0

    def _end(self, chardev: str) -> End:
        if chardev not in self._ends:
            raise AgentError(f"no stream {chardev!r} is open; open: {sorted(self._ends) or 'none'}")
        return self._ends[chardev]

    def _stream(self, chardev: str) -> ChardevStream:
        end = self._end(chardev)
        if not isinstance(end, ChardevStream):
            raise AgentError(f"{chardev!r} carries no lines both ways")
        return end

    def _far_end(self, chardev: str, backend: str, path: str | None) -> FarEnd:
        return far_end(backend, path, self._sockets, chardev)
