"""`cprlab run`: prepare, run the suite, judge, report."""

import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.cli import exit_status, places
from lab.cli.console import STYLE, answer, aside, print_json
from lab.cli.places import Coordinator
from lab.errors import BenchError, LabError, LabUsageError
from lab.places.lease import LEASE_S
from lab.verdict import Outcome

if TYPE_CHECKING:
    from lab.images.qemu_choice import Choice

NEEDED_BYTES = 64 << 20
"""The record of the suite with its report takes a quarter of it."""
FULL_BYTES = 1 << 20
TARGETS = Path(__file__).resolve().parents[2] / "targets"
DEFAULT_BENCH, DEFAULT_PLACE = TARGETS / "virtual.yaml", TARGETS / "place.yaml"


def run(
    cases: Annotated[
        list[str] | None, typer.Argument(help="Files or node ids; if none, modes, chardevs and failures.")
    ] = None,
    bench: Annotated[
        Path | None,
        typer.Option(
            help="The bench's target file, or what a place lacks; if none, virtual.yaml or place.yaml."
        ),
    ] = None,
    select: Annotated[str, typer.Option("-k", help="Only cases whose name matches, as in pytest.")] = "",
    qemu_old: Annotated[
        str, typer.Option(help="Start guests in this QEMU; named as for --qemu-new.", metavar="QEMU")
    ] = "",
    qemu_new: Annotated[
        str,
        typer.Option(
            help="Update to this QEMU: your build (the executable, or its install or build folder), "
            "deb:VERSION of Debian's, or host:PATH on the bench host.",
            metavar="QEMU",
        ),
    ] = "",
    updates: Annotated[int, typer.Option(help="Updates in a row, where a case asks for several.", min=0)] = 0,
    place: Annotated[str, typer.Option(help="Run on this place of the coordinator.")] = "",
    require: Annotated[
        str,
        typer.Option(help="Run on any place with these tags: nic=igb,iommufd (a bare word: WORD=yes)."),
    ] = "",
    coordinator: Coordinator = "",
    wait_s: Annotated[float, typer.Option(help="How long to queue for a place.", min=0)] = 3600.0,
    lease_s: Annotated[
        float, typer.Option(help="A place is free for others so long after this run died.", min=1)
    ] = LEASE_S,
    force: Annotated[bool, typer.Option("--force", help="Update whatever preflight has against it.")] = False,
    runs_dir: Annotated[Path, typer.Option(help="Where run records go.")] = Path("runs"),
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs: the run record and verdicts.")
    ] = False,
) -> None:
    """Run the suite on a bench, judge it and report.

    Prints the verdicts and where the report lies. The virtual bench needs no hardware; its images
    are built first if they are not in the cache.

    Exit status: 0 all PASS, 1 a FAIL, 2 an UNKNOWN or broken bench, 130 interrupted.
    """
    from lab.calibration.certificate import header
    from lab.cli import suite
    from lab.drivers import target_file
    from lab.images.qemu_choice import parsed

    asked = places.asked(place, require, coordinator, wait_s, lease_s)
    bench = bench or (DEFAULT_PLACE if asked else DEFAULT_BENCH)
    if not bench.is_file():
        raise LabUsageError(f"no target file {bench}; there is {DEFAULT_BENCH}")
    target_file.load(bench)  # a mistake in it is told before images are built, which takes long
    chosen = suite.selection(cases or [])
    named = {"--qemu-old": qemu_old, "--qemu-new": qemu_new}
    qemus = {option: parsed(text) for option, text in named.items() if text}
    prepare_images(bench)
    prepare_qemus(qemus.values())
    options = [*(("-k", select) if select else ())]
    options += [word for option, choice in qemus.items() for word in (option, str(choice))]
    options += ("--updates", str(updates)) if updates else ()
    options += ("--force",) if force else ()
    folder = new_folder(runs_dir)
    with places.host(asked, folder, bench) as host:
        aside().print(f"calibration: {header(host.target)}", markup=False, soft_wrap=True)
        ran = record_run(folder, host.target, chosen, options, Live(), host.permit_fd)
        host.ended(ran.pytest_status)
    report = make_report(ran.folder)
    status = conclude(ran)
    _tell(ran.folder, status, report, as_json=as_json)
    host.require()
    raise typer.Exit(status)


@dataclass(frozen=True)
class Ran:
    """A run that is over, and how its pytest ended."""

    folder: Path
    pytest_status: int
    interrupted: bool


def new_folder(runs_dir: Path) -> Path:
    """Make the folder of a run record.

    Raises:
        BenchError: it cannot be written, or has no room.
    """
    from lab.run_record import new_run_id

    folder = (runs_dir / new_run_id()).absolute()
    _make(folder)
    return folder


def record_run(
    folder: Path,
    bench: Path,
    cases: Sequence[str],
    options: Sequence[str],
    tell: Callable[[Mapping[str, Any]], None],
    permit_fd: int | None = None,
) -> Ran:
    """Run cases by pytest into a new run record, telling its progress.

    folder:    as `new_folder` made it
    permit_fd: says how long it may go on

    Raises:
        LabError: nothing was run, or it could not be recorded.
    """
    from lab.cli import suite

    log = folder / "pytest.log"
    pytest_status, interrupted = suite.run(suite.argv(bench, folder, cases, options), log, tell, permit_fd)
    _require_recorded(folder)
    _require_cases(folder, log, interrupted=interrupted)
    return Ran(folder, pytest_status, interrupted)


def prepare_qemus(choices: "Iterable[Choice]") -> None:
    """Have them before the bench is powered on; what is no QEMU is told now, and once.

    Raises:
        LabUsageError: there is no such build, or it is no QEMU.
    """
    from lab.cli.images import build_progress
    from lab.images.qemu_choice import OnBench, brought

    with build_progress() as progress:
        for choice in choices:
            if not isinstance(choice, OnBench):
                brought(choice, progress)


class Live:
    """A line for each case as it ends."""

    def __init__(self) -> None:
        self._console = aside()
        self._total, self._done, self._began_s = 0, 0, time.monotonic()

    def __call__(self, message: Mapping[str, Any]) -> None:
        if message["event"] == "collected":
            self._total = len(message["cases"])
            self._console.print(f"{self._total} cases", highlight=False)
        elif message["event"] == "again":
            name, reason = (str(message[key]).replace("[", r"\[") for key in ("nodeid", "reason"))
            self._console.print(f"[yellow]bench failed, once more:[/] {name.split('::', 1)[-1]}: {reason}")
        elif message["event"] == "end":
            self._done += 1
            expected = message["status"] == "xfailed"
            word = "known" if expected else message["outcome"] or message["status"]
            style = STYLE[Outcome(word)] if word in set(Outcome) else "yellow"
            name = str(message["nodeid"]).split("::", 1)[-1].replace("[", r"\[")
            spent = f"{message['seconds']:6.1f} s"
            self._console.print(f"{self._done}/{self._total}  {spent}  [{style}]{word:8}[/]  {name}")


def prepare_images(bench: Path) -> None:
    """Build what the virtual bench is made of, with progress; nothing for real hardware."""
    from lab.drivers.target_file import is_virtual

    if not is_virtual(bench):
        return
    from lab.cli.images import build_progress
    from lab.images import Catalogue

    catalogue = Catalogue()
    if any(catalogue.missing(name) for name in ("root", "kernel", "guest")):
        aside().print("building the virtual bench's images, once; later runs take them from the cache")
        with build_progress() as progress:
            for name in ("root", "kernel", "guest"):
                catalogue.ensure(name, progress)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise BenchError(f"the run record cannot be written: {error}") from error
    if (free := shutil.disk_usage(folder).free) < NEEDED_BYTES:
        folder.rmdir()
        raise BenchError(
            f"a run record needs {NEEDED_BYTES >> 20} MiB in {folder.parent}, only {free >> 20} are free; "
            "make room, or name another place by --runs-dir"
        )


def _require_recorded(folder: Path) -> None:
    """A full disk ends pytest in ways that do not name it.

    Raises:
        BenchError: pytest could not record its end, and the disk is full.
    """
    from lab.run_record import read_run

    ended = (folder / "run.json").exists() and read_run(folder)["end"] is not None
    if not ended and shutil.disk_usage(folder).free < FULL_BYTES:
        raise BenchError(
            f"the disk filled up during the run; what was recorded until then is in {folder}: "
            "make room, or name another place by --runs-dir"
        )


def make_report(folder: Path) -> str | None:
    """The report's page; without it the record is still complete, and a line says why there is none."""
    from lab.report.html import write_report

    try:
        return str(write_report(folder))
    except LabError as error:
        aside().print(f"no HTML report: {error}; make it later: cprlab report {folder}", markup=False)
        return None


def _require_cases(folder: Path, log: Path, *, interrupted: bool) -> None:
    from lab.cli import suite
    from lab.run_record import read_run

    if not (folder / "run.json").exists():
        raise LabUsageError(f"pytest ran nothing: {suite.last_words(log)}; see {log}")
    if not read_run(folder)["cases"] and not interrupted:
        raise LabUsageError(f"no case ran: {suite.last_words(log)}; see {log}")


def _tell(folder: Path, status: int, report: str | None, *, as_json: bool) -> None:
    from lab.cli.outcome import as_json as record_json

    if as_json:
        print_json(record_json(folder, status, report))
        return
    _print_table(folder)
    _print_standing(folder)
    where = f"\nreport: {report or 'none'}\nrecord: {folder}"
    answer().print(where, markup=False, soft_wrap=True)


def conclude(ran: Ran) -> int:
    """The exit status of a run; a pytest that did not end well is told."""
    from lab.cli import outcome, suite
    from lab.run_record import read_run

    if ran.pytest_status not in (0, 1) and not ran.interrupted:
        log = ran.folder / "pytest.log"
        aside().print(f"pytest did not end well: {suite.last_words(log)}; see {log}", markup=False)
    record = read_run(ran.folder)
    status = outcome.exit_status(record, outcome.verdicts_of(ran.folder, record["cases"]))
    return exit_status.INTERRUPTED if ran.interrupted else status


def _print_standing(folder: Path) -> None:
    from lab.report.html import standing_words
    from lab.run_record import read_run

    if words := standing_words(read_run(folder)):
        answer().print(f"\ncalibration: {words}", markup=False, soft_wrap=True)


def _print_table(folder: Path) -> None:
    from lab.cli import outcome
    from lab.run_record import read_run

    cases = read_run(folder)["cases"]
    answer().print(outcome.table(cases, outcome.verdicts_of(folder, cases)))
