"""The guest's ends of the chardev streams: numbered lines over virtio-serial ports, and serial ports."""

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..rpc import AgentError
from .port import find, unplugged
from .tty import PREFIX, open_raw

if TYPE_CHECKING:
    from ..numbered import NumberedStream

NOBODY_THERE_S = 0.05
"""A port whose host side is closed reads as ended at once, for as long as it is closed."""


def opened(name: str) -> int | None:
    """The virtio-serial port of this name, or the serial port at this path; None while there is none."""
    return open_raw(name) if name.startswith(PREFIX) else find(name)


class Streams:
    """One thread a stream: they are slow, and `numbered` is the host agent's too.

    opener: gives the descriptor of a port by its name
    """

    def __init__(self, opener: Callable[[str], int | None] = opened) -> None:
        self._opener = opener
        self._streams: dict[str, NumberedStream] = {}
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        self._epoch = 1
        self.calls: dict[str, Callable[..., Any]] = {
            "streams_start": self.start,
            "streams_drain": self.drain,
            "streams_report": self.report,
            "streams_heard": self.heard,
        }

    def epoch(self, number: int) -> None:
        """Lines sent from now on carry it."""
        self._epoch = number
        for stream in self._streams.values():
            stream.epoch = number

    def start(self, names: list[str], rate_hz: float = 50.0) -> None:
        """Send and check on the ports of these names: `cprlab.stream.fd`, `/dev/ttyS1`, …

        One that runs, and was drained at both ends, goes on as if it were new.
        """
        # costs a guest under TCG a third of a second: not before it is wanted
        from ..numbered import NumberedStream

        for name in names:
            if name in self._streams:
                self._streams[name].epoch = self._epoch
                self._streams[name].renew(rate_hz)
                continue
            if (fd := self._opener(name)) is None:
                raise AgentError(f"no port {name!r} in the guest")
            self._streams[name] = stream = NumberedStream(rate_hz, self._epoch)
            thread = threading.Thread(target=self._run, args=(stream, name, fd), daemon=True)
            self._threads.append(thread)
            thread.start()

    def drain(self, name: str) -> None:
        """Begin no further line."""
        self._stream(name).drain()

    def report(self, name: str, upto: int | None = None) -> dict[str, Any]:
        """What was sent and what came by now, without waiting; see numbered.NumberedStream.report."""
        return self._stream(name).report(upto)

    def heard(self) -> dict[str, list[int]]:
        """Of all streams the last number and the last epoch that came: cheap to ask often."""
        checkers = {name: stream.checker for name, stream in self._streams.items()}
        return {name: [checker.last_number, checker.last_epoch] for name, checker in checkers.items()}

    def close(self) -> None:
        """End all streams."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _stream(self, name: str) -> "NumberedStream":
        if name not in self._streams:
            raise AgentError(f"no stream {name!r} was started")
        return self._streams[name]

    def _run(self, stream: "NumberedStream", name: str, fd: int | None) -> None:
        while not self._stop.wait(NOBODY_THERE_S):
            if fd is None:
                fd = self._again(name)
                continue
            stream.run(fd, self._stop)
            if unplugged(fd):
                os.close(fd)
                fd = None

    def _again(self, name: str) -> int | None:
        """The port once more, after its driver let it go; None while it is not there."""
        try:
            return self._opener(name)
        except OSError:
            return None
