"""What the agent's own threads take of the host's processors, so that a record tells what recording cost.

Source: clock_getcpuclockid(3): the clock of a thread's CPU time is made of its number (glibc's
MAKE_THREAD_CPUCLOCK); one of a thread that has ended is refused.
"""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress

_OF_A_THREAD = 6


def threads_ns() -> dict[str, int]:
    """Thread's name -> CPU time until now."""
    found: dict[str, int] = {}
    for thread in threading.enumerate():
        if thread.native_id is not None:
            with suppress(OSError):
                used_ns = time.clock_gettime_ns((~thread.native_id << 3) | _OF_A_THREAD)
                found[thread.name] = found.get(thread.name, 0) + used_ns
    return found


class Effort:
    """CPU time of all threads since it was made."""

    def __init__(self) -> None:
        self._begun_ns, self._before = time.monotonic_ns(), threads_ns()

    def report(self) -> Mapping[str, object]:
        """{window_ns, threads: {name: ns}}; threads that took nothing are left out."""
        used = {name: ns - self._before.get(name, 0) for name, ns in threads_ns().items()}
        took = {name: ns for name, ns in used.items() if ns > 0}
        return {"window_ns": time.monotonic_ns() - self._begun_ns, "threads": took}
