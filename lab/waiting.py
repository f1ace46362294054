"""The one place where the lab waits."""

import time
from collections.abc import Callable
from typing import TypeVar

from lab.errors import BenchError

T = TypeVar("T")


def wait_until(
    predicate: Callable[[], T],
    timeout_s: float,
    what: str,
    *,
    period_s: float = 0.05,
    error: type[Exception] = BenchError,
) -> T:
    """Ask until the answer is true, and return it; the last question is asked after the deadline.

    what: names the thing waited for, for the message: "the console of bench virtual"

    Raises:
        error: nothing true came within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        late = time.monotonic() >= deadline
        if answer := predicate():
            return answer
        if late:
            raise error(f"{what} did not come within {timeout_s:g} s")
        time.sleep(period_s)
