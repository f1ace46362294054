"""How long a run may go on: told to its pytest over a pipe by whoever renews the lease.

A controller that is killed, or stopped and continued, cannot end its pytest; so pytest ends itself. Each
line is {"stop_at_s", "kill_at_s", "why"}, by this machine's CLOCK_BOOTTIME; the pipe's end says stop now.
"""

import json
import os
import select
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass

from lab.places.lease import now_s

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
    """The giving end of the pipe; a context manager.

    reader: descriptor for pytest's --cprlab-permit-fd
    """

    def __enter__(self) -> "Permit":
        self.reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)  # a pytest that is stopped must not stop the heart
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.reader)
        os.close(self._writer)

    def give(self, leave: Leave) -> None:
        """Tell it; a pytest that is over does not mind."""
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self._writer, json.dumps(asdict(leave)).encode() + b"\n")


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
                leave = Leave(0.0, leave.kill_at_s, "its controller is gone")
        if now_s() >= leave.stop_at_s and not stopped:
            stopped = True
            stop(leave.why)
    kill()
