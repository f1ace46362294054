"""What may befall an agent itself, planted to see whether the lab notices: in any of them.

None of it is told by the agent: a witness that knows that it went blind says so, and needs no test.
"""

import time
from collections.abc import Callable
from typing import Any

from .loop import Loop
from .numbered import Checker, NumberedStream
from .rpc import Wire

ANSWER_NS = 200_000_000
"""The answer to the call must get out first."""


def calls(out: Wire) -> dict[str, Callable[..., Any]]:
    """Those that every agent can be asked for."""

    def jump(seconds: float) -> None:
        out.event("fault.planted", fault="clock.jump", detail={"seconds": seconds})
        jump_clock(seconds)

    return {"mishap_clock": jump}


def jump_clock(seconds: float) -> None:
    """From now on CLOCK_MONOTONIC of this process is so much ahead of what it was."""
    before, ahead_ns = time.monotonic_ns, int(seconds * 1e9)
    time.monotonic_ns = lambda: before() + ahead_ns


def freeze(loop: Loop, seconds: float) -> None:
    """The thread of a loop does nothing for so long, once it has answered."""

    def sleep(now_ns: int) -> int:
        loop.cancel(timer)
        time.sleep(seconds)
        return now_ns

    timer = loop.at(time.monotonic_ns() + ANSWER_NS, sleep)


def deafen(stream: NumberedStream) -> None:
    """The thread that carries a stream dies of the next bytes that come."""
    stream.checker = _Broken(stream.checker)


class _Broken(Checker):
    def __init__(self, before: Checker) -> None:
        vars(self).update(vars(before))

    def feed(self, data: bytes) -> None:
        raise RuntimeError("planted: this end of a stream is dead")
