"""`cprlab run`: prepare, run the suite, judge, report."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli import exit_status, places
from lab.cli.console import answer, aside, print_json
from lab.cli.live import Live
from lab.cli.places import Coordinator
from lab.cli.recording import Ran, new_folder, record_run, resume_run
from lab.errors import LabError, LabUsageError
from lab.places.lease import LEASE_S

if TYPE_CHECKING:
    from lab.images.qemu_choice import Choice

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
    named_suite: Annotated[
        str, typer.Option("--suite", help="Cases that belong together: matrices.", metavar="NAME")
    ] = "",
    resume: Annotated[
        Path | None, typer.Option(help="Go on with a run: its cases that have no result yet.", metavar="RUN")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="With --resume: what came to UNKNOWN, too; both are reported.")
    ] = False,
    minutes: Annotated[
        float | None, typer.Option(help="Begin no case later; --resume does the others.", min=0)
    ] = None,
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
    if resume is not None:
        given = (cases, select, qemu_old, qemu_new, updates, force, named_suite, asked, bench)
        raise typer.Exit(finish(resume_run(resume, minutes, again, alone=not any(given)), as_json=as_json))
    if again:
        raise LabUsageError("--again goes with --resume RUN")
    bench = bench or (DEFAULT_PLACE if asked else DEFAULT_BENCH)
    if not bench.is_file():
        raise LabUsageError(f"no target file {bench}; there is {DEFAULT_BENCH}")
    target_file.load(bench)  # a mistake in it is told before images are built, which takes long
    chosen = suite.selection(cases or [], named_suite)
    named = {"--qemu-old": qemu_old, "--qemu-new": qemu_new}
    qemus = {option: parsed(text) for option, text in named.items() if text}
    prepare_images(bench)
    prepare_qemus(qemus.values())
    options = [*(("-k", select) if select else ())]
    options += [word for option, choice in qemus.items() for word in (option, str(choice))]
    options += ("--updates", str(updates)) if updates else ()
    options += [*(("--force",) if force else ()), *suite.limited(minutes)]
    folder = new_folder(runs_dir)
    with places.host(asked, folder, bench) as host:
        aside().print(f"calibration: {header(host.target)}", markup=False, soft_wrap=True)
        ran = record_run(folder, host.target, chosen, options, Live(runs_dir), host.permit_fd)
        host.ended(ran.pytest_status, ran.folder)
    status = finish(ran, as_json=as_json)
    host.require()
    raise typer.Exit(status)


def finish(ran: Ran, *, as_json: bool) -> int:
    """Report and tell; the run's exit status."""
    report = make_report(ran.folder)
    status = conclude(ran)
    _tell(ran.folder, status, report, as_json=as_json)
    return status


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


def make_report(folder: Path) -> str | None:
    """The report's page; without it the record is still complete, and a line says why there is none."""
    from lab.report.html import write_report

    try:
        return str(write_report(folder))
    except LabError as error:
        aside().print(f"no HTML report: {error}; make it later: cprlab report {folder}", markup=False)
        return None


def _tell(folder: Path, status: int, report: str | None, *, as_json: bool) -> None:
    from lab.cli.outcome import as_json as record_json

    if as_json:
        print_json(record_json(folder, status, report))
        return
    _print_table(folder)
    _print_standing(folder)
    _print_matrices(folder)
    where = f"\nreport: {report or 'none'}\nrecord: {folder}"
    answer().print(where, markup=False, soft_wrap=True)


def conclude(ran: Ran, go_on: str = "cprlab run --resume") -> int:
    """The exit status of a run; a pytest that did not end well is told.

    go_on: the command that goes on with its folder
    """
    from lab.cli import outcome, suite
    from lab.run_record import read_run, to_try

    if ran.pytest_status not in (0, 1) and not ran.interrupted:
        log = ran.folder / "pytest.log"
        aside().print(f"pytest did not end well: {suite.last_words(log)}; see {log}", markup=False)
    record = read_run(ran.folder)
    if waiting := to_try(ran.folder, record):
        todo = f"{len(waiting)} of {len(record['planned'])} cases are left; to go on: {go_on}"
        aside().print(f"{todo} {ran.folder}", markup=False, soft_wrap=True)
    status = outcome.exit_status(record, outcome.verdicts_of(ran.folder, record["cases"]))
    return exit_status.INTERRUPTED if ran.interrupted else status


def _print_standing(folder: Path) -> None:
    from lab.report.html import standing_words
    from lab.run_record import read_run

    if words := standing_words(read_run(folder)):
        answer().print(f"\ncalibration: {words}", markup=False, soft_wrap=True)


def _print_matrices(folder: Path) -> None:
    from lab.report.matrices import matrices
    from lab.report.matrices_page import wanted

    found = matrices(folder)
    if wanted(folder, found):
        answer().print()
        for one in found:
            answer().print(str(one), markup=False, highlight=False)


def _print_table(folder: Path) -> None:
    from lab.cli import outcome
    from lab.run_record import read_run

    cases = read_run(folder)["cases"]
    answer().print(outcome.table(cases, outcome.verdicts_of(folder, cases)))
