"""Runs pytest as a process of its own and passes on how it goes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.errors import LabUsageError
from lab.suites import SUITES

Tell = Callable[[Mapping[str, Any]], None]
ROOT = Path(__file__).resolve().parents[2]


SUITE = ("test_cpr_*.py", "test_chardevs.py", "test_failures.py")
"""What is run if no case is named, below testcases/."""


def argv(bench: Path, run: Path, cases: Sequence[str], options: Sequence[str]) -> list[str]:
    """The pytest command of a run; `cases` as pytest takes them, relative to the checkout."""
    return [
        # by name, because conftest.py is read only for cases below it
        *(sys.executable, "-m", "pytest", "-p", "lab.report.pytest_run"),
        *("-p", "lab.places.pytest_permit"),
        *("--lg-env", str(bench.absolute())),
        *("--cprlab-run", str(run)),
        *("--alluredir", str(run / "allure-results")),
        *options,
        *cases,
    ]


LEASED = "--cprlab-permit-fd"
PIECE = {
    **dict.fromkeys(("--cprlab-minutes", "--cprlab-progress-fd"), 1),
    **dict.fromkeys(("--cprlab-resume", "--cprlab-again"), 0),
}
"""Options that hold of one piece of a run, and how many values each has."""


def resumed(argv: Sequence[str], minutes: float | None, *, unknown: bool = False) -> list[str]:
    """The pytest command that goes on with a run which was made by `argv` (run.json).

    unknown: cases that came to UNKNOWN are tried again
    """
    words, kept = iter(argv[1:]), []
    for word in words:
        if word in PIECE:
            [next(words) for _ in range(PIECE[word])]
        else:
            kept.append(word)
    again = ["--cprlab-again"] if unknown else []
    return [sys.executable, "-m", "pytest", *kept, "--cprlab-resume", *again, *limited(minutes)]


def limited(minutes: float | None) -> list[str]:
    """Options of a piece that begins no case after so many minutes."""
    return [] if minutes is None else ["--cprlab-minutes", str(minutes)]


def run(command: Sequence[str], log: Path, tell: Tell, permit_fd: int | None = None) -> tuple[int, bool]:
    """Run it and return its exit status, and whether it was interrupted.

    log:       takes its output
    tell:      is told its progress
    permit_fd: says how long it may go on; see lab/places/permit.py

    Ctrl-C interrupts pytest once, which then gives the devices back; a second one ends it at once.
    """
    reader, writer = os.pipe()
    passed = () if permit_fd is None else (permit_fd,)
    permit = [word for fd in passed for word in (LEASED, str(fd))]
    with log.open("a") as output:
        # a session of its own: the terminal's Ctrl-C must reach pytest once, and from here
        pytest = subprocess.Popen(
            [*command, "--cprlab-progress-fd", str(writer), *permit],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            pass_fds=[writer, *passed],
            start_new_session=True,
        )
    os.close(writer)
    interrupted = False
    with os.fdopen(reader, encoding="utf-8") as lines:
        progress = _messages(lines)
        while True:
            try:
                for message in progress:
                    tell(message)
                return pytest.wait(), interrupted
            except KeyboardInterrupt:
                pytest.send_signal(signal.SIGKILL if interrupted else signal.SIGINT)
                interrupted, progress = True, _messages(lines)


def _messages(lines: Any) -> Iterator[Mapping[str, Any]]:
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:  # cut short by the end of pytest
            continue


def last_words(log: Path) -> str:
    """The line of pytest's output that says why it ran nothing."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [
        line
        for line in lines
        if line.startswith(("ERROR", "E ", "Error", "lab.errors", "INTERNALERROR> lab"))
    ]
    return (errors or lines or ["it printed nothing"])[-1]


def selection(cases: Sequence[str], suite: str = "") -> list[str]:
    """The cases to run, as pytest takes them: those asked for, a named suite, or what the checkout has.

    Raises:
        LabUsageError: if there is none.
    """
    if suite and suite not in SUITES:
        raise LabUsageError(f"--suite {suite}: there is no such suite; there are {', '.join(SUITES)}")
    if suite and cases:
        raise LabUsageError(f"--suite {suite} says which cases to run: leave out {' '.join(cases)}")
    if suite:
        return [*SUITES[suite].arguments, "--cprlab-suite", suite]
    if cases:
        return list(cases)
    paths = (path for pattern in SUITE for path in (ROOT / "testcases").glob(pattern))
    found = sorted(str(path.relative_to(ROOT)) for path in paths)
    if not found:
        raise LabUsageError(f"no testcases/test_cpr_*.py in {ROOT}: run cprlab from a checkout")
    return found
