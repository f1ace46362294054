"""Gives a host back that a run left as it was: its power, its own journal of changes, its health.

In a process of its own, `python -m lab.places.giveback TARGET CYCLE FD`, which ends itself as a run does when
the lease is over: its controller may have been stopped meanwhile.
"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from lab.bench import prepared
from lab.errors import BenchError, LabError
from lab.health import Event, State, Store, refusal
from lab.places.permit import obey

_CHECKOUT = Path(__file__).resolve().parents[2]


def give_back(target: Path, permit_fd: int, *, cycle: bool) -> str:
    """Let a host's agent undo what is in its journal, and check a host that is suspect; says what was done.

    cycle:     switch its power before, if it has any, as nobody knows what runs there; else only a host that
               is silent is power-cycled
    permit_fd: says how long that may go on

    Raises:
        BenchError: the host does not come back, another run is on it, a change could not be undone, or it
            failed the check; it is quarantined then.
    """
    argv = [sys.executable, "-m", "lab.places.giveback", str(target), str(int(cycle)), str(permit_fd)]
    done = subprocess.run(
        argv, capture_output=True, text=True, pass_fds=[permit_fd], cwd=_CHECKOUT, check=False
    )
    if done.returncode:
        said = (done.stderr.strip() or f"it ended with {done.returncode}").splitlines()[-1]
        raise BenchError(f"{target.stem} could not be given back: {said}")
    return done.stdout.strip()


def main() -> None:
    """Do it; exit status 1, and a line on stderr, if it cannot be done."""
    target, cycle, permit_fd = Path(sys.argv[1]), sys.argv[2] == "1", int(sys.argv[3])

    def end() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=obey, args=(permit_fd, lambda _: None, end), daemon=True).start()
    try:
        print(_given_back(target, cycle=cycle))
    except LabError as error:
        sys.exit(str(error))


def _given_back(target: Path, *, cycle: bool) -> str:
    store, bench = Store(), prepared(target)
    suspect = store.read(bench.name).state is State.SUSPECT
    cycle = cycle and bench.strategy.power is not None
    try:
        if cycle:
            bench.target.activate(bench.strategy.power)
            bench.strategy.power.off()
        bench.ready()
        with bench.agent(name=f"host agent on {bench.name}") as agent:
            agent.restore()
        if not cycle:
            bench.off()  # as it was found
    except BenchError as error:
        if not refusal(bench.name, store.read(bench.name)):
            store.happened(bench.name, Event.NOT_RESTORED, f"it could not be given back: {error}")
        raise
    finally:
        bench.environment.cleanup()
    done = ["its power was cycled"] if cycle else []
    return ", ".join([*done, "nothing is left in its journal", *(["it passed its check"] if suspect else [])])


if __name__ == "__main__":
    main()
