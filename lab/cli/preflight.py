"""`cprlab preflight`: what speaks against an update, before it is tried."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from lab.cli.console import answer, print_json
from lab.errors import LabUsageError

if TYPE_CHECKING:
    from lab.preflight import Report
    from lab.preflight.command import Command

STYLES = {"refuse": "bold red", "warn": "yellow", "note": "cyan"}
WORDS = (
    "clean: nothing here speaks against it",
    "refused",
    "cannot tell: see above what is not known (--bench TARGET asks the host, --pid QEMU itself)",
)


def preflight(
    argv: Annotated[
        Path | None,
        typer.Option(
            help="Command line of old QEMU: one argument a line, or ended by NUL as in /proc/PID/cmdline, "
            "or one line for a shell; - for stdin.",
            metavar="FILE",
        ),
    ] = None,
    new_argv: Annotated[
        Path | None,
        typer.Option(help="That of new QEMU; without it old QEMU's with -incoming.", metavar="FILE"),
    ] = None,
    mode: Annotated[str, typer.Option(help="cpr-exec or cpr-transfer.")] = "cpr-exec",
    qemu_version: Annotated[
        str, typer.Option(help="Of old QEMU, like 11.1.3, where nobody can be asked.", metavar="VERSION")
    ] = "",
    bench: Annotated[
        Path | None,
        typer.Option(help="Target file of the bench whose host is asked, too.", metavar="TARGET"),
    ] = None,
    pid: Annotated[
        int | None, typer.Option(help="A running QEMU on the bench host, in place of --argv.", min=1)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what an update of a QEMU would lose, without trying it.

    From command lines alone, which needs no bench, or of a QEMU that runs on a bench host: with what its
    kernel can do, what was plugged, and what QEMU itself says.

    Exit status: 0 clean (warnings and notes are no more than that), 1 refused, 2 cannot tell or bad input.
    """
    from lab.preflight import preflight as judged
    from lab.preflight.facts import Facts
    from lab.preflight.modes import JUDGED

    if mode not in JUDGED:
        raise LabUsageError(f"--mode {mode}: preflight knows {' and '.join(JUDGED)}")
    if (argv is None) == (pid is None):
        raise LabUsageError("which QEMU? give --argv FILE, or --bench TARGET with --pid N")
    if pid is not None and bench is None:
        raise LabUsageError("--pid wants --bench TARGET: whose process it is")
    old = _command(argv, "--argv") if argv is not None else None
    new = _command(new_argv, "--new-argv", wrapped=True) if new_argv is not None else None
    if bench is None:
        assert old is not None
        report = judged(Facts(old, new, mode, qemu_version))
    else:
        from lab.running_qemu import Question, answered

        report = answered(bench, Question(old, new, pid, mode, qemu_version))
    _tell(report, mode, as_json=as_json)


def _command(file: Path, option: str, *, wrapped: bool = False) -> "Command":
    """A command line from a file.

    wrapped: it may be a script that holds QEMU's own

    Raises:
        LabUsageError: it cannot be read, or is none.
    """
    from lab.preflight.command import Command, read

    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        command = Command.parse(read(data))
    except OSError as error:
        raise LabUsageError(f"{option} {file}: {error.strerror}") from None
    except LabUsageError as error:
        raise LabUsageError(f"{option} {file}: {error}") from None
    if not command.program and not wrapped:
        raise LabUsageError(f"{option} {file}: none of its words is a QEMU: {' '.join(command.through)[:80]}")
    return command


def _tell(report: "Report", mode: str, *, as_json: bool) -> None:
    from lab.preflight import told

    if as_json:
        print_json({"mode": mode, "result": report.exit_status, **told(report)})
    else:
        _print(report, mode)
    raise typer.Exit(report.exit_status)


def _print(report: "Report", mode: str) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for head in ("severity", "finding", "reason", "source", "remedy"):
        table.add_column(head, overflow="fold")
    for one in report.findings:
        cells = map(escape, (one.name, one.reason, one.source, one.remedy))
        table.add_row(f"[{STYLES[one.severity]}]{one.severity}[/]", *cells)
    if report.findings:
        answer().print(table)
    for unknown in report.untold:
        answer().print(f"cannot tell ({unknown.name}): {unknown.what}", markup=False, soft_wrap=True)
    for line in report.assumed:
        answer().print(f"taken for granted: {line}", markup=False, soft_wrap=True)
    answer().print(f"{mode}: {WORDS[report.exit_status]}", markup=False)
