"""`cprlab rejudge` and `cprlab report`: what can be had from a run record without a bench."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from lab.cli.console import answer, aside, print_json

Run = Annotated[Path, typer.Argument(help="Folder of a run, such as runs/20261123T142233Z-1f3a.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


def rejudge(run: Run, as_json: AsJson = False) -> None:
    """Judge a run again from its record alone.

    With the checkers of today, and without a bench; says where a verdict differs from the recorded one.

    Exit status: 0 all PASS, 1 a FAIL, 2 an UNKNOWN.
    """
    from lab.cli import outcome
    from lab.cli.exit_status import of_verdicts
    from lab.run_record import read_run

    record = read_run(run)
    from lab.record.rejudge import differences
    from lab.record.rejudge import rejudge as judge_again

    judged = judge_again(run)
    from lab.pause.record import FILE
    from lab.pause.record import differences as other_numbers

    numbers = other_numbers(run)
    differs = [*differences(run, judged), *numbers]
    status = of_verdicts(judged.values())
    if as_json:
        verdicts = {nodeid: [v.as_json() for v in found] for nodeid, found in judged.items()}
        print_json({"run": str(run), "result": status, "cases": verdicts, "differences": differs})
    else:
        answer().print(outcome.table(record["cases"], judged))
        if (run / FILE).exists() and not numbers:
            answer().print(f"{FILE}: the same numbers from the record", markup=False)
        for difference in differs:
            aside().print(f"not as recorded: {difference}", markup=False)
    raise typer.Exit(status)


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.", metavar="RUN...")],
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the HTML report of a run.

    One file for each run, to be opened from disk; made anew if it is there.
    """
    from lab.report.html import write_report

    pages = {str(run): str(write_report(run.absolute())) for run in runs}
    if as_json:
        print_json(pages)
    for page in pages.values():
        if not as_json:
            print(page)
        if open_:
            webbrowser.open(Path(page).as_uri())
