"""Gives a host back that a run left as it was: its power, its own journal of changes, its health."""

from pathlib import Path

from lab.bench import prepared
from lab.errors import BenchError
from lab.health import Event, Store, refusal


def give_back(target: Path, *, cycle: bool) -> str:
    """Let a host's agent undo what is in its journal, and check a host that is suspect; says what was done.

    cycle: switch its power before, if it has any, as nobody knows what runs there; else only a host that
           is silent is power-cycled

    Raises:
        BenchError: the host does not come back, another run is on it, a change could not be undone, or it
            failed the check; it is quarantined then.
    """
    store, bench = Store(), prepared(target)
    cycle = cycle and bench.strategy.power is not None
    try:
        if cycle:
            bench.target.activate(bench.strategy.power)
            bench.strategy.power.off()
        bench.ready()
        with bench.agent(name=f"host agent on {bench.name}") as agent:
            undone = [*agent.facts["restored"], *agent.restore()]
        if not cycle:
            bench.off()  # as it was found
    except BenchError as error:
        if not refusal(bench.name, store.read(bench.name)):
            store.happened(bench.name, Event.NOT_RESTORED, f"it could not be given back: {error}")
        raise
    finally:
        bench.environment.cleanup()
    return f"{'its power was cycled, ' if cycle else ''}{len(undone)} changes in its journal were undone"
