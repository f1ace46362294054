"""`cprlab benchmark`: how fast the loads are, next to plain tools."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from lab.cli.console import answer, aside, print_json
from lab.cli.run import DEFAULT_BENCH, prepare_images
from lab.errors import LabError, LabUsageError

if TYPE_CHECKING:  # they bring labgrid along, which takes a second to load
    from lab.benchmark import Comparison, Series
    from lab.benchmark.runner import Benchmark, Tell
    from lab.rows import Case

ROWS = ("nic", "nvme", "gpu", "vdpa-blk", "vdpa-net")


def benchmark(
    bench: Annotated[Path, typer.Option(help="The bench's target file.")] = DEFAULT_BENCH,
    row: Annotated[
        list[str] | None, typer.Option(help=f"A row of cases; may be repeated. By default {', '.join(ROWS)}.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Measurements of each.", min=1)] = 3,
    seconds: Annotated[float, typer.Option(help="Of one measurement.", min=1.0)] = 4.0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Measure each load at full speed, in turns with the plain tool for the same path: pktgen, fio, dd.

    One guest a row, no update; a row's first back-end. What the disks hold is lost, as in any run.
    Exit status 2 if a row could not be measured.
    """
    cases = _cases(row or list(ROWS))
    if not bench.is_file():
        raise LabUsageError(f"no target file {bench}; there is {DEFAULT_BENCH}")
    prepare_images(bench)
    found: list[Comparison] = []
    failed: dict[str, str] = {}
    with _told() as tell, _measuring(bench, rounds, seconds, tell) as measuring:
        facts = measuring.bench.facts
        for case in cases:
            try:
                found += measuring.compare(case)
            except LabError as error:  # the other rows are worth having
                failed[case.name] = " ".join(str(error).split())
    if as_json:
        rows = [one.as_json() for one in found]
        busy = [round(load, 2) for load in os.getloadavg()]
        print_json({"bench": facts, "controller_load": busy, "comparisons": rows, "failed": failed})
    else:
        _print(found, failed)
    raise typer.Exit(2 if failed else 0)


def _cases(names: list[str]) -> "list[Case]":
    from lab.rows import Case
    from lab.rows.table import row

    return [Case(found, found.backends[0]) for found in map(row, names)]


@contextmanager
def _measuring(bench: Path, rounds: int, seconds: float, tell: "Tell") -> "Iterator[Benchmark]":
    from lab import images
    from lab.bench import open_bench
    from lab.benchmark.runner import Benchmark
    from lab.images.guest_initrd import AGENTS, guest_initrd
    from lab.images.guest_programs import with_programs

    kernel, root = images.ensure_kernel(), images.ensure_root().root_dir
    initrd = with_programs(guest_initrd(images.ensure_guest(), AGENTS, root), root)
    tell(f"{bench.stem}: powering on")
    with (
        tempfile.TemporaryDirectory(prefix="cprlab-benchmark-") as folder,
        open_bench(bench, log_dir=Path(folder), seed_files=[kernel, initrd]) as opened,
    ):
        yield Benchmark(opened, kernel, initrd, Path(folder), rounds, seconds, tell)


@contextmanager
def _told() -> "Iterator[Tell]":
    """One line that changes on a terminal, lines elsewhere."""
    console = aside()
    if not console.is_terminal:
        yield lambda text: console.print(text, markup=False)
        return
    with console.status("") as status:
        yield lambda text: status.update(escape(text))


def _print(found: "list[Comparison]", failed: dict[str, str]) -> None:
    from rich.table import Table

    heads = ("row", "path", "ours blocks/s", "MB/s", "tool", "its blocks/s", "ours/tool")
    table = Table(*heads, box=None, pad_edge=False)
    for one in found:
        table.add_row(*map(escape, _cells(one)))
    answer().print(table)
    notes = {f"{one.row}: ours is limited by {one.limit}; it did {_streams(one)}" for one in found}
    notes |= {f"{one.row}: {one.tool or 'no tool'}: {one.checks}" for one in found}
    notes |= {f"{name}: not measured: {why}" for name, why in failed.items()}
    for note in sorted(notes):
        answer().print(note, markup=False)


def _cells(one: "Comparison") -> Iterator[str]:
    from lab.benchmark import mb_per_s

    ratio = one.ratio
    yield f"{one.row} {one.backend}"
    yield f"{one.path}, {one.block_bytes} bytes"
    yield _words(one.ours)
    yield f"{mb_per_s(one.ours.median, one.block_bytes):.3g}"
    yield one.tool or "none"
    yield _words(one.plain) if one.plain else ""
    yield f"{ratio:.3g}" if ratio is not None else ""


def _streams(one: "Comparison") -> str:
    return ", ".join(f"{name} {_number(hz)}/s" for name, hz in one.streams_hz.items())


def _words(series: "Series") -> str:
    return f"{_number(series.median)} ({_number(min(series.values))} to {_number(max(series.values))})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
