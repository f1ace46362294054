"""One run of pytest that is recorded: into a new folder, or going on with one."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.cli.live import Live
from lab.errors import BenchError, LabUsageError

NEEDED_BYTES = 64 << 20
"""The record of the suite with its report takes a quarter of it."""
FULL_BYTES = 1 << 20


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


def resume_run(folder: Path, minutes: float | None, again: bool = False, *, alone: bool) -> Ran:
    """Go on with a run as it was begun.

    again: try cases once more that came to UNKNOWN
    alone: nothing else was asked for, which would be another run

    Raises:
        LabUsageError: there is no such run, nothing of it is left, or its bench was leased.
    """
    from lab.cli import suite
    from lab.run_record import read_run, to_try

    folder = folder.absolute()  # the report is made in it
    record, log = read_run(folder), folder / "pytest.log"
    if not alone:
        raise LabUsageError("--resume goes on with a run as it was begun: leave out what it is of")
    if suite.LEASED in record["argv"]:
        raise LabUsageError(f"{folder} was made on a leased place, whose lease is over: begin another run")
    if not to_try(folder, record, unknown=again):
        raise LabUsageError(f"nothing is left of {folder}: every case of it has a result")
    argv = suite.resumed(record["argv"], minutes, unknown=again)
    pytest_status, interrupted = suite.run(argv, log, Live(folder.parent))
    _require_recorded(folder)
    return Ran(folder, pytest_status, interrupted)


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


def _require_cases(folder: Path, log: Path, *, interrupted: bool) -> None:
    from lab.cli import suite
    from lab.run_record import read_run

    if not (folder / "run.json").exists():
        raise LabUsageError(f"pytest ran nothing: {suite.last_words(log)}; see {log}")
    if not read_run(folder)["cases"] and not interrupted:
        raise LabUsageError(f"no case ran: {suite.last_words(log)}; see {log}")
