"""Loads: what makes a device do DMA, numbers every block and checks every byte, at both ends.

A load acts and records. It knows nothing of updates and judges nothing. One device class a file;
`running.py` is what all of them share.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from lab.link import Receiver


class Agent(Protocol):
    """A link to an agent: `lab.link.AgentLink` or `lab.guest_link.GuestLink`."""

    receiver: Receiver | None

    @property
    def name(self) -> str: ...

    @property
    def gone(self) -> Callable[[], str]:
        """Why it will never answer again; empty while it may."""

    def call(self, call: str, timeout_s: float = ..., **args: Any) -> Any: ...


class Epoch(Protocol):
    """The epoch that is open now; the controller opens the next one after an update."""

    @property
    def number(self) -> int: ...


@dataclass(frozen=True)
class Stream:
    """One flow of numbered blocks of a load; its tables are <load>.<name>.sent and .received.

    sender, receiver: whose clock stamps the rows: "guest", "far", "host" or "controller"
    ordered:   blocks are received in the order they were sent
    in_flight: some block of its load is under way whenever the guest is paused; a checker insists on it
    sampled:   not every block is looked at where it arrives
    """

    name: str
    sender: str
    receiver: str
    ordered: bool = True
    in_flight: bool = False
    sampled: bool = False


class RunningLoad(Protocol):
    """A load while it runs."""

    def settle(self, *, blocks: int | None = None, timeout_s: float = 30.0) -> None:
        """Wait until in every stream so many good blocks of the open epoch were received.

        blocks: by default what the load sends in two seconds, from 4 to 64

        Never raises for what the system under test does: it records `load.settled`, or
        `load.stalled` (none for so long), `load.behind` (they keep coming, but too slowly), or
        `load.unreachable` (nobody can know), per stream.
        """


class Load(Protocol):
    """A load that can be started; its settings are its fields.

    name: unique in its guest, and the first part of the names of its tables
    kind: what drives it in the guest, see lab/agents/guest/loads.py
    probe_hz: the rate at which its capacity is measured: more than any path of its kind carries here
    """

    kind: ClassVar[str]

    @property
    def probe_hz(self) -> float: ...

    @property
    def name(self) -> str: ...

    @property
    def rate_hz(self) -> float: ...

    @property
    def block_bytes(self) -> int: ...

    @property
    def seed(self) -> int: ...

    @property
    def sizing(self) -> str: ...

    @property
    def streams(self) -> tuple[Stream, ...]: ...

    def settings(self) -> dict[str, Any]:
        """What the guest's side is started with."""

    def sized(self, capacity_hz: float) -> "Load":
        """The same load at a share of what its path was measured to carry."""

    def running(self, guest: Agent, evidence: Receiver, epoch: Epoch) -> AbstractContextManager[RunningLoad]:
        """Run the load while the context is open; when it is left, no block is in flight."""
