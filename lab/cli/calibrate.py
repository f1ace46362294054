"""`cprlab calibrate`: plant every fault, and see that exactly the right checkers turn red."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from lab.cli import exit_status
from lab.cli.console import answer, print_json
from lab.cli.run import DEFAULT_BENCH, Live, prepare_images
from lab.errors import LabUsageError

if TYPE_CHECKING:
    from lab.calibration.matrix import Calibration

CASES = ["testcases/test_checkers_go_red.py", "testcases/test_calibration.py"]


def calibrate(
    bench: Annotated[Path, typer.Option(help="The bench's target file.")] = DEFAULT_BENCH,
    clean: Annotated[int, typer.Option(help="How many clean runs must be green.", min=1)] = 30,
    runs_dir: Annotated[Path, typer.Option(help="Where run records go.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="For programs: calibration.json.")] = False,
) -> None:
    """Prove on a bench that its verdicts can be trusted.

    Plants every fault and checks that the right checkers turn red and no other, then that clean
    runs stay green. Writes calibration.json; if all is well, later runs on this bench stand on it.

    Exit status: 0 calibrated, 1 a fault was missed, blamed wrongly, or a clean run was not
    green, 2 a broken bench, 130 interrupted.
    """
    from lab.calibration.certificate import certificate, issue
    from lab.calibration.matrix import of_run
    from lab.cli.run import make_report, new_folder, record_run
    from lab.report.calibration_page import add_page

    if not bench.is_file():
        raise LabUsageError(f"no target file {bench}; there is {DEFAULT_BENCH}")
    prepare_images(bench)
    ran = record_run(new_folder(runs_dir), bench, CASES, ["--clean-runs", str(clean)], Live())
    found = of_run(ran.folder)
    written = certificate(ran.folder, found)
    path = issue(ran.folder, written)
    add_page(ran.folder, path, found)
    report = make_report(ran.folder)
    if as_json:
        print_json(written | {"run": str(ran.folder), "report": report})
    else:
        show(found, written)
        where = f"\nreport: {report or 'none'}\nrecord: {ran.folder}\ncertificate: {path}"
        answer().print(where, markup=False, soft_wrap=True)
    raise typer.Exit(exit_status.INTERRUPTED if ran.interrupted else status(found))


def status(found: "Calibration") -> int:
    """The exit status; a case that was never judged is a bench that broke, not a fault that was missed."""
    if found.passed:
        return exit_status.PASS
    judged = all(row.verdicts for row in found.rows)
    return exit_status.FAIL if judged and found.rows and found.clean else exit_status.BROKEN


def show(found: "Calibration", written: dict[str, Any]) -> None:
    """The matrix in words, and the bound."""
    from rich.table import Table

    table = Table("fault", "caught", "by", "what it said", box=None, pad_edge=False, padding=(0, 2))
    for row in found.rows:
        word = "[green]yes[/]" if row.caught else "[red]NO[/]"
        wrong = "".join(f"; missed by {name}" for name in sorted(row.missed))
        wrong += "".join(f"; wrongly blamed by {name}" for name in sorted(row.blamed))
        table.add_row(row.name, word, escape(", ".join(row.by) + wrong), escape(row.sentence[:100]))
    answer().print(table)
    answer().print(f"\n{sentence(written)}", markup=False)


def sentence(written: dict[str, Any]) -> str:
    """What the clean runs say."""
    bound = written["bound"]
    return (
        f"{bound['alarms']} of {bound['clean_runs']} clean runs were not green: fewer than "
        f"{100 * bound['rate_below']:.1f}% of clean runs cry wolf, with {100 * bound['confidence']:.0f}% "
        "confidence"
    )
