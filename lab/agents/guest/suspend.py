"""Suspend to RAM, from within.

Source: Linux Documentation/admin-guide/pm/sleep-states.rst, /sys/power/state.
"""

import time
from pathlib import Path

from ..loop import NEVER, Loop
from ..rpc import AgentError, Wire

STATE = Path("/sys/power/state")
ANSWER_NS = 1_000_000_000
"""The call is answered before the guest sleeps; an answer that is not out by then comes after it."""


class Suspend:
    """Puts the guest to sleep; it goes on when its machine wakes it up."""

    def __init__(self, loop: Loop, out: Wire, state: Path = STATE) -> None:
        self._loop, self._out, self._state = loop, out, state

    def suspend(self) -> None:
        """Sleep soon; event guest.resumed {slept_ns, error} when that is over, error empty if it slept.

        Raises:
            AgentError: this kernel cannot.
        """
        try:
            states = self._state.read_text(encoding="ascii").split()
        except OSError as error:
            raise AgentError(f"this guest cannot sleep: {error}") from None
        if "mem" not in states:
            raise AgentError(f"this guest cannot suspend to RAM, {self._state} has: {' '.join(states)}")
        self._loop.at(time.monotonic_ns() + ANSWER_NS, self._sleep)

    def _sleep(self, _: int) -> int:
        began_ns, error = time.clock_gettime_ns(time.CLOCK_BOOTTIME), ""
        try:
            self._state.write_text("mem", encoding="ascii")
        except OSError as refusal:
            error = str(refusal)
        slept_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - began_ns
        self._out.event("guest.resumed", t_src_ns=time.monotonic_ns(), slept_ns=slept_ns, error=error)
        return NEVER
