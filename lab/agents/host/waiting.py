"""Waiting for a condition, in the agents."""

import time
from collections.abc import Callable

from ..rpc import AgentError

POLL_S = 0.02


def wait_until(condition: Callable[[], object], timeout_s: float, what: Callable[[], str]) -> None:
    """Return as soon as the condition holds.

    Raises:
        AgentError: if it does not within `timeout_s`; `what` says what is the matter then.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AgentError(f"{what()} after {timeout_s:g} s")
        time.sleep(POLL_S)
