"""Runs programs in the guest, reads and writes files of its kernel: for the plain tools of a benchmark."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..rpc import AgentError

LONGEST = 256 << 10
"""Characters of output that are returned, of the end; a reply is one line."""


def program_run(argv: Sequence[str], seconds: float, stdin: str = "") -> dict[str, Any]:
    """Run a program to its end, or kill it after a time: {status, stdout, stderr}.

    The agent does nothing else meanwhile: no load may run.
    status: None if it was killed
    """
    from subprocess import PIPE, Popen, TimeoutExpired  # costs the guest tens of milliseconds

    try:
        program = Popen(list(argv), stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True, errors="replace")
    except OSError as error:
        raise AgentError(f"{argv[0]} cannot be run in the guest: {error.strerror}") from None
    with program:
        try:
            out, errors = program.communicate(stdin, seconds)
            status: int | None = program.returncode
        except TimeoutExpired:
            program.kill()
            (out, errors), status = program.communicate(), None
    return {"status": status, "stdout": out[-LONGEST:], "stderr": errors[-LONGEST:]}


def file_read(path: str) -> str:
    """The text of a file."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise AgentError(f"{path} cannot be read: {error.strerror}") from None


def file_write(path: str, lines: Sequence[str]) -> None:
    """Write lines to a file, each by a call of its own: so a file of the kernel takes one command a line."""
    line = ""
    try:
        with Path(path).open("wb", buffering=0) as file:
            for line in lines:
                file.write(line.encode() + b"\n")
    except OSError as error:
        raise AgentError(f"{path} does not take {line!r}: {error.strerror}") from None


CALLS: dict[str, Callable[..., Any]] = {
    "program_run": program_run,
    "file_read": file_read,
    "file_write": file_write,
}
