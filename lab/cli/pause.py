"""`cprlab pause`: how long updates pause a guest, by mode, memory, pages, devices."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from lab.cli.console import answer, print_json
from lab.cli.live import Live
from lab.cli.run import DEFAULT_BENCH, prepare_images
from lab.errors import LabUsageError

if TYPE_CHECKING:
    from lab.pause.analysis import Analysis, Row
    from lab.pause.plan import Point
    from lab.pause.statistics import Series

CASES = "testcases/test_pause.py"


def pause(
    bench: Annotated[Path, typer.Option(help="The bench's target file.")] = DEFAULT_BENCH,
    ram: Annotated[str, typer.Option(help="Memory sizes of the guest in MiB.")] = "256,512,1024",
    pages: Annotated[str, typer.Option(help="any, 4k, thp, 2m, 1g; the first is the base.")] = "any,2m",
    prealloc: Annotated[
        str, typer.Option(help="prealloc=on: off, old (in old QEMU's command), both.")
    ] = "off,old,both",
    devices: Annotated[str, typer.Option(help="How many NICs are assigned, 0 to 2.")] = "1,0,2",
    async_teardown: Annotated[str, typer.Option(help="-run-with async-teardown=on.")] = "off,on",
    modes: Annotated[
        str, typer.Option(help="cpr-exec, cpr-transfer, cpr-reboot: they take turns in each guest.")
    ] = "cpr-exec,cpr-transfer",
    repeats: Annotated[int, typer.Option(help="Updates of each mode in each guest.", min=1)] = 4,
    product: Annotated[
        bool, typer.Option("--product", help="Every combination, not one thing at a time from the base.")
    ] = False,
    points: Annotated[
        str, typer.Option(help="These alone, by the names that the table shows; for a part of a sweep.")
    ] = "",
    boxed: Annotated[bool, typer.Option(help="The base in a container, too.")] = True,
    load: Annotated[bool, typer.Option(help="The base under DMA load, too.")] = True,
    cost: Annotated[bool, typer.Option(help="Measure the recorder's own cost, too.")] = True,
    resume: Annotated[
        list[Path] | None,
        typer.Option(help="A run before: its points are not measured again, and count.", metavar="RUN"),
    ] = None,
    runs_dir: Annotated[Path, typer.Option(help="Where run records go.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Measure how long updates pause a guest, by mode, memory, pages and devices.

    Boots one guest for each point, updates it by each mode in turns, and prints medians, slopes and
    an answer to each question; the numbers are in pause.json of the run record, and `cprlab rejudge`
    makes them again from it. A sweep that was interrupted goes on with --resume.

    Exit status: 0 all PASS, 1 a FAIL, 2 an UNKNOWN or broken bench, 130 interrupted.
    """
    from lab.checkers.phases import MODES
    from lab.cli.recording import new_folder, record_run
    from lab.cli.run import conclude, make_report
    from lab.pause.plan import PAGES, PREALLOC, Point, Sweep
    from lab.pause.record import measured

    if not bench.is_file():
        raise LabUsageError(f"no target file {bench}; there is {DEFAULT_BENCH}")
    sweep = Sweep(
        ram_mib=[_whole(word) for word in _words(ram)],
        pages=[next(p for p in PAGES if p == word) for word in _among("--pages", pages, PAGES)],
        prealloc=_among("--prealloc", prealloc, PREALLOC),
        devices=[int(word) for word in _among("--devices", devices, "012")],
        async_teardown=[word == "on" for word in _among("--async-teardown", async_teardown, ("off", "on"))],
        product=product,
        boxed=boxed,
        load=load,
        cost=cost,
    )
    chosen = _among("--modes", modes, MODES)
    before = [run.absolute() for run in resume or ()]
    done = [point for run in before for point in measured(run, chosen, repeats)]
    named = [Point.parse(name) for name in _words(points)]
    if not (wanted := [point for point in named or sweep.points() if point not in done]):
        raise LabUsageError("--resume: nothing is left to measure; `cprlab rejudge RUN` tells the numbers")
    _same_folder(before, runs_dir)
    prepare_images(bench)
    ran = record_run(new_folder(runs_dir), bench, [CASES], _options(wanted, chosen, repeats), Live())
    found = _analysed(ran.folder, before)
    report = make_report(ran.folder)
    status = conclude(ran, "cprlab pause --resume")
    _tell(ran.folder, found, report, status, before, as_json=as_json)
    raise typer.Exit(status)


def _same_folder(runs: Sequence[Path], runs_dir: Path) -> None:
    """A record is complete with those beside it: they must lie where the new one will."""
    for run in runs:
        if run.parent != runs_dir.absolute():
            raise LabUsageError(
                f"--resume: {run} does not lie in {runs_dir}, where the new record will (--runs-dir)"
            )


def _tell(
    run: Path, found: "Analysis", report: str | None, status: int, before: Sequence[Path], *, as_json: bool
) -> None:
    if as_json:
        from lab.pause.record import as_json as pause_json

        told = {"run": str(run), "report": report, "result": status}
        print_json(told | pause_json(run, found, before))
    else:
        show(run, found)
        where = f"\nreport: {report or 'none'}\nrecord: {run}"
        answer().print(where, markup=False, soft_wrap=True)


def _options(wanted: "Sequence[Point]", modes: Sequence[str], repeats: int) -> list[str]:
    points = ",".join(str(point) for point in wanted)
    tests = ["not short"]
    # one that has no point would be skipped, which is not green
    if all(point.cost for point in wanted):
        tests.append("cost")
    elif not any(point.cost for point in wanted):
        tests.append("not cost")
    chosen = ["-k", " and ".join(tests), "--pause-points", points]
    return [*chosen, "--pause-modes", ",".join(modes), "--pause-repeats", str(repeats)]


def _analysed(run: Path, before: Sequence[Path]) -> "Analysis":
    """The numbers, with pause.json, the plots and a page for the report."""
    from lab.pause.record import analysed, write
    from lab.report.pause_page import add_page

    found = analysed(run, before)
    add_page(run, write(run, found, before), found)
    return found


def show(run: Path, found: "Analysis") -> None:
    """The table, and the answers."""
    from lab.pause.record import as_json

    said = as_json(run, found)
    answer().print(_table(found.rows))
    answer().print(f"\n{said['method']}; times in ms, without the first update of each guest", markup=False)
    for one in said["answers"]:
        answer().print(f"\n{one['question']}", markup=False, highlight=False)
        for line in one["says"] or [f"not measured; cprlab pause {one['how']}"]:
            answer().print(f"- {line}", markup=False, highlight=False)
        if one["says"] and one["hardware"]:
            answer().print(f"  On hardware: {one['hardware']}.", markup=False, highlight=False)
    if said["limits"]:
        answer().print(f"\n{said['limits']}", markup=False, highlight=False)


def _table(rows: "Sequence[Row]") -> Any:
    from rich.table import Table

    heads = ("point", "mode", "n", "pause", "middle half", "QMP", "guest's own", "far end", "phases")
    table = Table(*heads, box=None, pad_edge=False, padding=(0, 2))
    for row in rows:
        table.add_row(*map(escape, _cells(row)))
    return table


def _cells(row: "Row") -> Iterator[str]:
    low, high = row.pause.quartiles
    yield str(row.point)
    yield row.mode
    yield str(row.pause.n)
    yield _ms(row.pause.median)
    yield f"{_ms(low)} to {_ms(high)}"
    yield _median(row.clocks, "qmp")
    yield _median(row.clocks, "guest")
    yield _median(row.clocks, "load")
    yield " ".join(f"{n} {_ms(s.median)}" for n, s in row.phases.items() if ":" not in n)


def _median(clocks: "Mapping[str, Series]", name: str) -> str:
    return _ms(clocks[name].median) if name in clocks else "?"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f}"


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _whole(word: str) -> int:
    if not word.isdigit() or int(word) < 64:
        raise LabUsageError(f"--ram: {word!r} is no memory size in MiB, which is 64 or more")
    return int(word)


def _among(option: str, text: str, allowed: Sequence[str]) -> list[str]:
    words = _words(text)
    if not words or (wrong := [word for word in words if word not in allowed]):
        raise LabUsageError(
            f"{option}: one of {', '.join(allowed)} was expected, not {(wrong or [text])[0]!r}"
        )
    return words
