"""What is measured of a simulated lab: queues, the price of a run, beats, and an exporter that hangs."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lab.errors import BenchError
from lab.places.coordinator import Coordinator, Denied
from lab.places.lease import Terms, holder_name, now_s
from lab.places.local import Program
from lab.scale.lab import Simulated
from lab.scale.processes import cost_of

WANTS = ("gpu", "gpu", "nic", "any", "any")
"""What every five runs ask for: of scarce hosts more than there are."""
_RUNS_S = 400.0


@dataclass(frozen=True)
class Spread:
    """Of some times, in s."""

    count: int
    median_s: float
    p95_s: float
    longest_s: float

    @classmethod
    def of(cls, times_s: Sequence[float]) -> "Spread":
        if not times_s:
            return cls(0, float("nan"), float("nan"), float("nan"))
        median, p95, longest = np.percentile(times_s, [50, 95, 100])
        return cls(len(times_s), float(median), float(p95), float(longest))


@dataclass(frozen=True)
class Queues:
    """Of many controllers at once, with several runs each.

    waited:      from asking to having a place, by what was asked for
    handed_over: from the release of a place to its next holder's having it, who was waiting by then
    cpu_s:       of a controller's process a run, its start included
    pss_bytes:   of a controller's process
    coordinator_share: of one processor
    coordinator_bytes: its memory
    """

    controllers: int
    runs: int
    seconds: float
    waited: dict[str, Spread]
    handed_over: Spread
    cpu_s: float
    pss_bytes: int
    coordinator_share: float
    coordinator_bytes: int


def queues(lab: Simulated, folder: Path, controllers: int, rounds: int, hold_s: float) -> Queues:
    """Start so many controllers at once, and let each run several times.

    Raises:
        BenchError: one of them did not end well.
    """
    folder.mkdir()
    wants = [WANTS[number % len(WANTS)] for number in range(controllers)]
    with _used(lab.coordinator) as used:
        processes = [
            _controller(lab, folder, want, hold_s, [f"r{number}-{turn}" for turn in range(rounds)])
            for number, want in enumerate(wants)
        ]
        told = [_words(process) for process in processes]
    runs = [(want, run) for want, (*runs, _) in zip(wants, told, strict=True) for run in runs]
    costs = [cost for *_, cost in told]
    return Queues(
        controllers=controllers,
        runs=len(runs),
        seconds=used[1],
        waited={
            want: Spread.of([run["had_s"] - run["asked_s"] for kind, run in runs if kind == want])
            for want in dict.fromkeys(WANTS)
        },
        handed_over=Spread.of(list(handed_over([run for _, run in runs]))),
        cpu_s=float(np.mean([cost["cpu_s"] for cost in costs])) / rounds,
        pss_bytes=int(np.median([cost["pss_bytes"] for cost in costs])),
        coordinator_share=used[0] / used[1],
        coordinator_bytes=cost_of(_pid(lab.coordinator)).pss_bytes,
    )


def _controller(
    lab: Simulated, folder: Path, want: str, hold_s: float, names: list[str]
) -> "subprocess.Popen[str]":
    argv = ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "lab.scale.run"]
    log = (folder / f"{names[0]}.log").open("w")
    with log:
        return subprocess.Popen(
            [*argv, lab.address, str(folder), want, str(hold_s), *names],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | {"XDG_STATE_HOME": str(folder)},  # what is told of these hosts is of no others
        )


def _words(process: "subprocess.Popen[str]") -> list[dict[str, Any]]:
    said, _ = process.communicate(timeout=_RUNS_S)
    if process.returncode:
        raise BenchError(f"a controller ended with {process.returncode}: {process.args!r}")
    return [json.loads(line) for line in said.splitlines()]


def handed_over(runs: list[dict[str, Any]]) -> Iterator[float]:
    """From a release to the next holder of that place, where that one was waiting by then, in s."""
    by_place: dict[str, list[dict[str, Any]]] = {}
    for run in sorted(runs, key=lambda run: run["had_s"]):
        by_place.setdefault(run["place"], []).append(run)
    for held in by_place.values():
        for before, after in itertools.pairwise(held):
            if after["asked_s"] < before["released_s"]:
                yield after["had_s"] - before["released_s"]


@dataclass(frozen=True)
class Beats:
    """Of so many leases that are renewed at once.

    took: one renewal
    """

    leases: int
    took: Spread
    coordinator_share: float


def beats(lab: Simulated, leases: int, seconds: float, terms: Terms) -> Beats:
    """Hold so many places by sessions of this process, and renew each as a run does."""
    took: list[float] = []
    ends = threading.Event()

    def beat(session: Coordinator, place: str, first_s: float) -> None:
        wait_s = first_s
        while not ends.wait(wait_s):
            began_s = now_s()
            session.renew(place, 30.0)
            took.append(now_s() - began_s)
            wait_s = terms.beat_s

    with ExitStack() as stack:
        held = []
        for number in range(leases):
            name = holder_name("scale", f"beats{leases}", str(number), terms)
            session = stack.enter_context(Coordinator(lab.address, name))
            session.acquire(f"h{number:03d}")
            held.append((session, f"h{number:03d}", terms.beat_s * number / leases))
        threads = [threading.Thread(target=beat, args=one) for one in held]
        with _used(lab.coordinator) as used:
            for thread in threads:
                thread.start()
            time.sleep(seconds)  # the length of the measurement, not a wait
        ends.set()
        for thread in threads:
            thread.join()
        for session, place, _ in held:
            session.release(place, session.name)
    return Beats(leases, Spread.of(took), used[0] / used[1])


@dataclass(frozen=True)
class Hang:
    """What all others notice of an exporter that is stopped, while somebody asks for one of its places.

    refused_s:  until who asked for one of its places was refused
    released_s: until who had another one had released it
    beat:       renewals of a lease that has nothing to do with it, meanwhile
    """

    refused_s: float
    released_s: float
    beat: Spread


def hang(lab: Simulated, terms: Terms) -> Hang:
    """Stop a process of exporters, ask for a place of it, and release another one."""
    process = lab.exporters[0].process
    assert process is not None
    took: list[float] = []
    ends = threading.Event()
    with (
        Coordinator(lab.address, holder_name("scale", "living", "1", terms)) as living,
        Coordinator(lab.address, holder_name("scale", "asking", "2", terms)) as asking,
        Coordinator(lab.address, holder_name("scale", "having", "3", terms)) as having,
    ):
        asked, had = "h000", f"h{len(lab.exporters):03d}"  # both of the first process
        living.acquire("h001")  # of the next one
        having.acquire(had)

        def beat() -> None:
            while not ends.wait(0.5):
                began_s = now_s()
                living.renew("h001", 60.0)
                took.append(now_s() - began_s)

        thread = threading.Thread(target=beat)
        thread.start()
        process.send_signal(signal.SIGSTOP)
        try:
            refused_s = _refused_after(lambda: asking.acquire(asked), now_s())
            began_s = now_s()
            having.release(had, having.name)
            released_s = now_s() - began_s
        finally:
            process.send_signal(signal.SIGCONT)
            ends.set()
            thread.join()
        living.release("h001", living.name)
    return Hang(refused_s, released_s, Spread.of(took))


def _refused_after(ask: Callable[[], None], began_s: float) -> float:
    try:
        ask()
    except Denied:
        return now_s() - began_s
    raise BenchError("a place was had whose exporter is stopped")


@contextmanager
def _used(program: Program) -> Iterator[list[float]]:
    """[processor time of a program, wall time] of the context, in s; filled in when it is left."""
    told: list[float] = []
    before, began_s = cost_of(_pid(program)).cpu_s, time.monotonic()
    yield told
    told += [cost_of(_pid(program)).cpu_s - before, time.monotonic() - began_s]


def _pid(program: Program) -> int:
    assert program.process is not None
    return program.process.pid


def as_json(measured: Sequence[Queues | Beats | Hang]) -> list[dict[str, Any]]:
    """For programs."""
    return [{"kind": type(one).__name__.lower(), **asdict(one)} for one in measured]
