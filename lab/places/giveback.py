"""Gives a host back that a run left as it was: power, then its own journal of changes."""

from pathlib import Path

from lab.bench import open_bench
from lab.drivers.agent import HostAgent
from lab.errors import BenchError


def give_back(target: Path) -> str:
    """Power-cycle a host where it can be, and let its agent undo what is in its journal; says what was done.

    Raises:
        BenchError: it does not come back, another run is on it, or a change could not be undone.
    """
    with (
        open_bench(target) as bench,
        HostAgent(bench.connection, name=f"host agent on {bench.name}") as agent,
    ):
        changes = agent.facts["restored"]
        if failed := [f"{one['kind']} of {one['what']}: {one['error']}" for one in changes if "error" in one]:
            raise BenchError(f"{bench.name} could not be given back: {'; '.join(failed)}")
        cycled = "power-cycled, " if bench.strategy.power is not None else ""
        return f"{cycled}{len(changes)} changes undone"
