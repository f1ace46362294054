"""Several loads at once, as one."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from lab.link import Receiver
from lab.loads import Agent, Epoch, Load, RunningLoad


@dataclass(frozen=True)
class RunningTogether:
    """All of them, running; see `lab.loads.RunningLoad`."""

    loads: Sequence[RunningLoad]

    def settle(self, *, blocks: int | None = None, timeout_s: float = 30.0) -> None:
        """Wait for one after the other; each has been running meanwhile."""
        for load in self.loads:
            load.settle(blocks=blocks, timeout_s=timeout_s)


@contextmanager
def together(
    loads: Sequence[Load], guest: Agent, evidence: Receiver, epoch: Epoch
) -> Iterator[RunningTogether]:
    """Run all loads while the context is open; they start in order and stop in the opposite one."""
    with ExitStack() as stack:
        yield RunningTogether([stack.enter_context(load.running(guest, evidence, epoch)) for load in loads])
