"""Gives a host back that a run left as it was: power, then its own journal of changes."""

from pathlib import Path

from lab.bench import prepared
from lab.drivers.agent import HostAgent
from lab.errors import BenchError


def give_back(target: Path) -> str:
    """Power-cycle a host where it can be, and let its agent undo what is in its journal; says what was done.

    Raises:
        BenchError: it does not come back, another run is on it, or a change could not be undone.
    """
    bench = prepared(target)
    try:
        power = bench.strategy.power
        if power is not None:
            bench.target.activate(power)
            power.off()
        bench.ready()
        with HostAgent(bench.connection, name=f"host agent on {bench.name}") as agent:
            changes = agent.facts["restored"]
    finally:
        bench.environment.cleanup()
    if failed := [f"{one['kind']} of {one['what']}: {one['error']}" for one in changes if "error" in one]:
        raise BenchError(f"{target.stem} could not be given back: {'; '.join(failed)}")
    cycled = "its power was cycled, " if power is not None else ""
    return f"{cycled}{len(changes)} changes of its journal were undone"
