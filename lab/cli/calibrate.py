"""`cprlab calibrate`: plant every fault, and see that exactly the right checkers turn red."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from lab.cli import exit_status
from lab.cli.console import answer, print_json
from lab.cli.live import Live
from lab.cli.run import DEFAULT_BENCH, prepare_images
from lab.errors import LabUsageError

if TYPE_CHECKING:
    from lab.calibration.matrix import Calibration

PLANTED, CLEAN = "testcases/test_checkers_go_red.py", "testcases/test_calibration.py"
LEFT = {
    "missing": "{} faults are still to be planted (--resume)",
    "left_out": "{} faults were left out, for they may harm a real bench (--risky)",
}


def calibrate(
    bench: Annotated[Path, typer.Option(help="The bench's target file.")] = DEFAULT_BENCH,
    clean: Annotated[int, typer.Option(help="How many clean runs must be green.", min=0)] = 30,
    only: Annotated[str, typer.Option(help="Of the faults these, apart by commas.", metavar="NAMES")] = "",
    resume: Annotated[
        Path | None,
        typer.Option(help="Go on with the calibration in this run: what it has judged is not done again."),
    ] = None,
    risky: Annotated[
        bool, typer.Option("--risky", help="On a real bench, also faults that may harm its host or devices.")
    ] = False,
    runs_dir: Annotated[Path, typer.Option(help="Where run records go.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="For programs: calibration.json.")] = False,
) -> None:
    """Prove on a bench that its verdicts can be trusted.

    Plants every fault and checks that the right checkers turn red and no other, then that clean
    runs stay green. Writes calibration.json; if all is well, later runs on this bench stand on it.
    Faults that may harm a real host or its devices are planted there only by --risky; the
    certificate names those that were left out.

    It can be done in pieces: Ctrl-C, then `cprlab calibrate --resume runs/ID`.

    Exit status: 0 calibrated, 1 a fault was missed, blamed wrongly, or a clean run was not
    green, 2 a broken bench, or faults are left to plant, 130 interrupted.
    """
    from lab.calibration.certificate import certificate, issue, rests_on
    from lab.calibration.matrix import together
    from lab.cli.recording import new_folder, record_run
    from lab.cli.run import make_report
    from lab.drivers.target_file import is_virtual
    from lab.faults.catalogue import FAULTS, chosen
    from lab.report.calibration_page import add_page

    if not bench.is_file():
        raise LabUsageError(f"no target file {bench}; there is {DEFAULT_BENCH}")
    all_risks = risky or is_virtual(bench)
    wanted, asked = chosen([], risky=all_risks), chosen(names(only), risky=all_risks)
    earlier = rests_on(resume) if resume else []
    cases, options = left_to_do(together(earlier), asked, clean)
    prepare_images(bench)
    ran = record_run(new_folder(runs_dir), bench, cases, [*options, *(["--risky"] if risky else [])], Live())
    found = together([*earlier, ran.folder], wanted)
    left_out = [name for name in FAULTS if name not in wanted]
    written = certificate(ran.folder, found, earlier=earlier, left_out=left_out)
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


def names(text: str) -> list[str]:
    """Names apart by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def left_to_do(before: "Calibration", asked: list[str], clean: int) -> tuple[list[str], list[str]]:
    """Files of cases and options of pytest, for what was not judged yet.

    Raises:
        LabUsageError: nothing is left.
    """
    faults = [name for name in asked if name not in before.judged]
    runs = max(0, clean - len(before.clean))
    cases = [*([PLANTED] if faults else []), *([CLEAN] if runs else [])]
    if not cases:
        raise LabUsageError("nothing is left to do: every fault was judged, and so many clean runs were done")
    return cases, ["--faults", ",".join(faults), "--clean-runs", str(runs)]


def status(found: "Calibration") -> int:
    """The exit status; a case that was never judged is a bench that broke, not a fault that was missed."""
    if found.passed:
        return exit_status.PASS
    missed = any(not row.caught for row in found.rows if row.name in found.judged)
    return exit_status.FAIL if missed or found.alarms else exit_status.BROKEN


def show(found: "Calibration", written: dict[str, Any]) -> None:
    """The matrix in words, and the bound."""
    from rich.table import Table

    from lab.calibration.bound import in_words

    table = Table("fault", "caught", "by", "what it said", box=None, pad_edge=False, padding=(0, 2))
    for row in found.rows:
        word = "[green]yes[/]" if row.caught else "[red]NO[/]"
        by = ", ".join(row.by) if row.caught else row.wrong
        table.add_row(row.name, word, escape(by), escape(row.sentence[:100]))
    answer().print(table)
    answer().print(f"\n{in_words(written['bound'])}", markup=False)
    for what, words in LEFT.items():
        if left := written[what]:
            answer().print(f"{words.format(len(left))}: {', '.join(left)}", markup=False)
