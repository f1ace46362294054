"""How long what a run does at its host may go on: told to each process by whoever renews the lease.

A controller that is killed, or stopped and continued, cannot end its processes; so they end themselves. A
pipe leads to each: a line is {"stop_at_s", "kill_at_s", "why"}, by this machine's CLOCK_BOOTTIME, and its end
says stop now.
"""

import json
import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass

from lab.places.lease import now_s

GONE = "its controller is gone"
_LOOK_MS = 500
"""poll's clock stands still while the machine is suspended."""


@dataclass(frozen=True)
class Leave:
    """Until when a run may go on.

    stop_at_s: when it ends in order
    kill_at_s: when it must not exist any more
    why:       what it says then
    """

    stop_at_s: float
    kill_at_s: float
    why: str = ""


class Permit:
    """The giving ends of the pipes; a context manager."""

    def __enter__(self) -> "Permit":
        self._pipes: list[tuple[int, int]] = []
        self._last: Leave | None = None
        self._lock = threading.Lock()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            for end in (end for pipe in self._pipes for end in pipe):
                os.close(end)
            self._pipes.clear()

    def reader(self) -> int:
        """A descriptor for one more process, to inherit; it can read at once how long it may go on."""
        with self._lock:
            self._pipes.append(os.pipe())
            reader, writer = self._pipes[-1]
            os.set_blocking(writer, False)  # a process that is stopped must not stop the heart
            if self._last is not None:
                _write(writer, self._last)
            return reader

    def give(self, leave: Leave) -> None:
        """Tell all; one that is over does not mind."""
        with self._lock:
            self._last = leave
            for _, writer in self._pipes:
                _write(writer, leave)


def _write(writer: int, leave: Leave) -> None:
    with suppress(BlockingIOError, BrokenPipeError):
        os.write(writer, json.dumps(asdict(leave)).encode() + b"\n")


def obey(fd: int, stop: Callable[[str], None], kill: Callable[[], None]) -> None:
    """Follow the pipe until it says kill: `stop` is called once, with the reason, then `kill`.

    Before the first line there is no bound.
    """
    leave, stopped, rest = Leave(float("inf"), float("inf")), False, b""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while now_s() < leave.kill_at_s:
        if poll.poll(_LOOK_MS):
            data = os.read(fd, 4096)
            *lines, rest = (rest + data).split(b"\n")
            if lines:
                leave = Leave(**json.loads(lines[-1]))
            if not data:
                poll.unregister(fd)
                leave = Leave(0.0, leave.kill_at_s, GONE)
        if now_s() >= leave.stop_at_s and not stopped:
            stopped = True
            stop(leave.why)
    kill()
