"""`cprlab places`: who has which host of the lab; and a place for `cprlab run`."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer
from rich.table import Table

from lab.cli.console import answer, aside, print_json
from lab.errors import BenchError, LabUsageError

if TYPE_CHECKING:
    from lab.places.rent import Asked, Rented
    from lab.places.turn import Waiting

_INTERRUPTED = 2
"""pytest's exit status after it was interrupted, and tore down."""

Coordinator = Annotated[
    str, typer.Option(help="The labgrid coordinator; else LG_COORDINATOR.", metavar="HOST:PORT")
]


def places(
    coordinator: Coordinator = "",
    as_json: Annotated[bool, typer.Option("--json", help="For programs: everything.")] = False,
) -> None:
    """Which hosts the lab has, who has them and until when, and why one is not handed out.

    Exit status: 0; 2 if the coordinator does not answer.
    """
    from lab.places.coordinator import Coordinator as Session
    from lab.places.table import rows

    with Session(_address(coordinator), "cprlab/places", connect_s=10.0) as session:
        told = rows(session.view)
    if as_json:
        print_json(told)
        return
    table = Table("place", "tags", "health", "exporter", "held by", "since", "until", "remarks", box=None)
    for row in told:
        until = _clock(row["lease_ends"]) if row["lease_ends"] else "released" if row["holder"] else ""
        alive = "[green]alive[/]" if row["exporter_alive"] else "[red]gone[/]"
        tags = " ".join(f"{key}={value}" for key, value in row["tags"].items())
        health = row["health"] or "[dim]not known[/]"
        remarks = "; ".join(row["remarks"])
        holder = row["holder"] or ""
        table.add_row(row["place"], tags, health, alive, holder, row["since"] or "", until, remarks)
    answer().print(table if told else "the coordinator has no place")


class Host(Protocol):
    """Where a run takes place."""

    @property
    def target(self) -> Path: ...
    @property
    def permit_fd(self) -> int | None: ...
    def ended(self, pytest_status: int, folder: Path) -> None: ...
    def require(self) -> None: ...


def asked(name: str, require: str, coordinator: str, wait_s: float, lease_s: float) -> "Asked | None":
    """What the options ask for; None for no place at all.

    Raises:
        LabUsageError: they contradict each other.
    """
    if not name and not require:
        if coordinator:
            raise LabUsageError(
                "--coordinator needs --place NAME or --require TAGS; cprlab places lists them"
            )
        return None
    from lab.places.lease import Terms
    from lab.places.rent import Asked
    from lab.places.turn import parsed

    wanted = parsed(require) if require else {}
    if name:
        wanted["name"] = name
    return Asked(_address(coordinator), wanted, wait_s, Terms(lease_s))


@contextmanager
def host(asked: "Asked | None", folder: Path, bench: Path) -> Iterator[Host]:
    """The host of one run: the bench itself, or a place of the lab for as long as the context lasts."""
    if asked is None:
        yield _Own(bench)
        return
    from lab.interrupts import heed_termination
    from lab.places.rent import rented

    heed_termination()
    console = aside()
    with rented(
        asked,
        folder.name,
        bench,
        folder,
        tell=lambda waiting: console.print(waiting_words(waiting), markup=False),
        say=lambda text: console.print(text, markup=False),
    ) as got:
        yield _OfTheLab(got)


class _Own:
    """The bench of the target file: nobody else is asked."""

    permit_fd: int | None = None

    def __init__(self, target: Path) -> None:
        self.target = target

    def ended(self, pytest_status: int, folder: Path) -> None:
        pass

    def require(self) -> None:
        pass


class _OfTheLab:
    """A place that is rented."""

    def __init__(self, rented: "Rented") -> None:
        self._rented, self._failed = rented, ""
        self.target, self.permit_fd = rented.target, rented.permit.reader()

    def ended(self, pytest_status: int, folder: Path) -> None:
        """A pytest that ended in order and had no trouble with its host tore down, which gives it back."""
        try:
            self._rented.ended(trouble(pytest_status, folder))
        except BenchError as error:  # the run is to be reported before it is told
            self._failed = str(error)

    def require(self) -> None:
        """Raise BenchError if the run was ended for a lost lease, or its host could not be given back."""
        self._rented.holding.require()
        if self._failed:
            raise BenchError(f"{self._failed}; the place is quarantined: cprlab places")


def trouble(pytest_status: int, folder: Path) -> str:
    """What makes one doubt that a run gave its host back; "" if nothing does."""
    from lab.run_record import read_run

    if pytest_status < 0:
        return "its run was killed"
    if pytest_status == _INTERRUPTED or not (folder / "run.json").exists():
        return ""
    broken = [case for case in read_run(folder)["cases"] if case["status"] == "broken"]
    return f"a case was broken: {broken[0]['reason']}" if broken else ""


def waiting_words(waiting: "Waiting") -> str:
    """A line for each change in the queue."""
    from lab.places.table import holder_words

    ahead = f"{waiting.ahead} ahead of us" if waiting.ahead else "next"
    held = "; ".join(holder_words(place) for place in waiting.places) or "none can be handed out now"
    return f"waiting for a place, {ahead}: {held}"


def _address(coordinator: str) -> str:
    if not (address := coordinator or os.environ.get("LG_COORDINATOR", "")):
        raise LabUsageError("no coordinator is named: --coordinator HOST:PORT, or LG_COORDINATOR")
    return address


def _clock(at_s: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at_s))
