"""A whole lab on one machine: two hosts with BMCs, their exporters, a coordinator, and two runs at once."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.bench import prepared
from lab.emulation.started import emulated_host
from lab.errors import BenchError
from lab.places import local
from lab.places.coordinator import Coordinator
from lab.places.view import Place
from lab.waiting import wait_until

Say = Callable[[str], None]

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "targets" / "virtual-place.yaml"
CASES = "testcases/test_cpr_exec_nic.py"
HOSTS = ("bench-a", "bench-b")
RUNS = {"run 1": "type1", "run 2": "iommufd"}
TAGS = {"nic": "igb", "iommufd": "yes", "health": "good"}
_RUN_S = 900.0


@dataclass
class Ran:
    """A run of the demonstration.

    status:   its exit status
    verdicts: the outcome of each claim
    """

    name: str
    seconds: float = 0.0
    status: int = -1
    place: str = ""
    verdicts: tuple[str, ...] = ()
    record: str = ""
    process: "subprocess.Popen[str] | None" = None

    def end(self) -> None:
        """End it if it still runs; it gives its host back."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()


@dataclass(frozen=True)
class Back:
    """What became of a host at the end."""

    place: Place
    power_on: bool

    @property
    def whole(self) -> bool:
        """Released, with nothing of a run left on it, and off, as it was found."""
        return self.place.holder is None and not self.place.in_use and not self.power_on


@dataclass(frozen=True)
class Lab:
    """The lab while it is up; hosts by their target file."""

    folder: Path
    address: str
    hosts: Mapping[str, Path]

    def places(self) -> Mapping[str, Place]:
        with Coordinator(self.address, "demo/look") as admin:
            return admin.view.places


@contextmanager
def lab(folder: Path, say: Say) -> Iterator[Lab]:
    """A coordinator, and two emulated hosts with exporters, registered as places.

    Raises:
        BenchError: a part does not start.
    """
    with ExitStack() as stack:
        own = stack.enter_context(local.coordinator(folder / "coordinator"))
        say(f"coordinator: {own.address}")
        hosts = {}
        for name in HOSTS:
            hosts[name] = stack.enter_context(emulated_host(folder / name, "--name", name, "--far", "loop"))
            offered = folder / name / f"{name}.exporter"
            stack.enter_context(local.exporter_of(own.address, name, offered, folder / name))
            with Coordinator(own.address, "demo/places") as admin:
                admin.add_place(name, (f"{name}/{name}/*",), TAGS)
            say(f"{name}: an emulated host that is off, its BMC by Redfish, its exporter, its place")
        yield Lab(folder, own.address, hosts)


@contextmanager
def running(lab: Lab, say: Say) -> Iterator[Callable[[], list[Ran]]]:
    """Two runs at once, each on the place that the coordinator gives it; yields what waits for their end."""
    ran = [Ran(name) for name in RUNS]
    threads = [threading.Thread(target=_run, args=(lab, one, say)) for one in ran]
    for thread in threads:
        thread.start()

    def ended() -> list[Ran]:
        for thread in threads:
            thread.join()
        return ran

    try:
        yield ended
    finally:
        for one in ran:
            one.end()
        ended()


def wait_held(lab: Lab) -> None:
    """Wait until both places are held.

    Raises:
        BenchError: they are not within a minute.
    """
    wait_until(
        lambda: all(place.holder for place in lab.places().values()), 60.0, "a run on each host", period_s=1.0
    )


def given_back(lab: Lab) -> dict[str, Back]:
    """What became of each host."""
    places = lab.places()
    return {name: Back(places[name], _is_on(target)) for name, target in lab.hosts.items()}


def _is_on(target: Path) -> bool:
    bench = prepared(target)
    try:
        bench.target.activate(bench.strategy.power)
        return bool(bench.strategy.power.get())
    finally:
        bench.environment.cleanup()


def _run(lab: Lab, ran: Ran, say: Say) -> None:
    # fmt: off
    argv = [
        sys.executable, "-c", "from lab.cli import main; main()", "run", CASES,
        "-k", f"test_dma_survives and not row and {RUNS[ran.name]}",
        "--require", "nic=igb,iommufd", "--bench", str(TEMPLATE), "--coordinator", lab.address,
        "--runs-dir", str(lab.folder / "runs"), "--json",
    ]
    # fmt: on
    began_s = time.monotonic()
    # what is told of these hosts is of no others of this name
    environment = os.environ | {"XDG_STATE_HOME": str(lab.folder / "state")}
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as process:
        ran.process = process
        assert process.stdout and process.stderr
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.append(process.stdout.read()))  # type: ignore[union-attr]
        reader.start()
        watchdog = threading.Timer(_RUN_S, ran.end)
        watchdog.start()
        for line in process.stderr:
            say(f"{ran.name}: {line.rstrip()}")
        ran.status = process.wait()
        watchdog.cancel()
        reader.join()
    ran.seconds = time.monotonic() - began_s
    if said[0].strip():
        _read(ran, json.loads(said[0]))


def _read(ran: Ran, told: Mapping[str, Any]) -> None:
    """From what `cprlab run --json` says."""
    ran.place = str((told["bench"] or {}).get("name", ""))
    ran.verdicts = tuple(verdict["outcome"] for case in told["cases"] for verdict in case["verdicts"])
    ran.record = str(told["run"])


def require_whole(ran: list[Ran], back: Mapping[str, Back]) -> None:
    """Raise BenchError unless all runs passed on different hosts, and all hosts were given back."""
    if wrong := [f"{one.name} ended with {one.status}" for one in ran if one.status != 0]:
        raise BenchError("; ".join(wrong))
    if len({one.place for one in ran}) != len(ran):
        raise BenchError(f"two runs were on one host: {[one.place for one in ran]}")
    if left := [name for name, one in back.items() if not one.whole]:
        raise BenchError(f"not given back: {', '.join(left)}")
