"""Loads: what makes a device do DMA, numbers every block and checks every byte, at both ends.

A load acts and records. It knows nothing of updates and judges nothing.
"""

from contextlib import AbstractContextManager
from typing import Any, Protocol

from lab.link import Receiver


class Agent(Protocol):
    """A link to an agent: `lab.link.AgentLink` or `lab.guest_link.GuestLink`."""

    receiver: Receiver | None

    def call(self, call: str, timeout_s: float = ..., **args: Any) -> Any: ...


class Epoch(Protocol):
    """The epoch that is open now; the controller opens the next one after an update."""

    @property
    def number(self) -> int: ...


class RunningLoad(Protocol):
    """A load while it runs."""

    def settle(self, *, blocks: int = 64, timeout_s: float = 30.0) -> None:
        """Wait until in every stream `blocks` good blocks of the open epoch were received.

        Never raises for what the system under test does: it records `load.settled`, or
        `load.stalled` (too few in time), or `load.unreachable` (nobody can know), per stream.
        """


class Load(Protocol):
    """A load that can be started; its settings are its fields."""

    def running(
        self, guest: Agent, far: Agent, evidence: Receiver, epoch: Epoch
    ) -> AbstractContextManager[RunningLoad]:
        """Run the load while the context is open; when it is left, no block is in flight."""
