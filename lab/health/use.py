"""A host in use: not handed out unless it may be, and what goes wrong is told of it."""

from typing import Protocol

from lab.errors import BenchError
from lab.health.check import Looked, looked_at
from lab.health.state import Event, State, refusal
from lab.health.store import Store


class Strategy(Protocol):
    """Brings a host to a state: BenchStrategy."""

    def transition(self, status: str) -> None: ...


class Alive(Protocol):
    """Knows whether the host answers: BenchHost."""

    @property
    def alive(self) -> bool: ...


class Used(Looked, Protocol):
    """A bench: `lab.bench.Bench`."""

    @property
    def name(self) -> str: ...
    @property
    def machine(self) -> str: ...
    @property
    def strategy(self) -> Strategy: ...
    @property
    def host(self) -> Alive: ...


def made_ready(bench: Used, store: Store) -> None:
    """Make a host ready if it may be used; one that is suspect is checked.

    Raises:
        BenchError: it is in quarantine or maintenance, does not become ready, or fails the check.
    """
    before = store.read(bench.name, bench.machine)
    if why := refusal(bench.name, before):
        raise BenchError(why)
    try:
        bench.strategy.transition("ready")
    except BenchError as error:
        failed = Event.CHECK_FAILED if before.state is State.SUSPECT else Event.USE_FAILED
        store.happened(bench.name, failed, str(error), bench.machine)
        raise
    if before.state is State.SUSPECT:
        checked(bench, store)


def checked(bench: Used, store: Store) -> list[str]:
    """Look at a host that is ready, and return what was looked at.

    Raises:
        BenchError: it fails, and goes into quarantine.
    """
    try:
        found = looked_at(bench)
    except BenchError as error:
        health = store.happened(bench.name, Event.CHECK_FAILED, str(error), bench.machine)
        why = refusal(bench.name, health) or f"the check failed: {error}"
        raise BenchError(why) from error
    store.happened(bench.name, Event.CHECK_PASSED, machine=bench.machine)
    return found


def looked_after(bench: Used, store: Store, use: str) -> None:
    """Tell of a host that does not answer any more after a use; it is checked before the next one."""
    if not bench.host.alive:
        reason = f"it did not answer any more after {use}"
        store.happened(bench.name, Event.USE_FAILED, reason, bench.machine)
