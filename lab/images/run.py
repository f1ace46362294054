"""Runs one command of a build: output to the log, lines to whoever counts them, failure to one line."""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lab.errors import BenchError
from lab.images.debian_mirror import mirror
from lab.images.preflight import why_failed

# Debian puts mke2fs and chroot there, and an ordinary user's PATH lacks it
_PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"

# a builder that was killed leaves its lock free: its commands must not go on writing behind the next
_DIE_WITH_US = ("setpriv", "--pdeathsig", "TERM")


def run(
    argv: Sequence[str | Path],
    *,
    what: str,
    log: Path,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    on_line: Callable[[str], None] | None = None,
) -> str:
    """Run a command to its end and return what it printed, stdout and stderr together.

    An interrupt ends the command too: nothing goes on building behind the caller's back.

    Raises:
        BenchError: it cannot be started, or it failed; says why, and names the log.
    """
    words = [*_DIE_WITH_US, *(str(word) for word in argv)]
    with log.open("a", encoding="utf-8", errors="replace") as out:
        out.write(f"\n$ {' '.join(map(str, argv))}\n")
        out.flush()
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env={**os.environ, "LC_ALL": "C.UTF-8", "PATH": _PATH, **(env or {})},
            )
        except OSError as error:
            raise BenchError(f"{what}: {argv[0]} cannot be started: {error.strerror}") from error
        with process:
            try:
                output = _pump(process, stdin, out.write, on_line)
            except BaseException:
                process.terminate()
                raise
    if process.returncode != 0:
        raise BenchError(why_failed(what, output, log, mirror()))
    return output


def _pump(
    process: "subprocess.Popen[str]",
    stdin: str,
    write: Callable[[str], object],
    on_line: Callable[[str], None] | None,
) -> str:
    assert process.stdin and process.stdout
    try:
        process.stdin.write(stdin)
        process.stdin.close()
    except BrokenPipeError:
        pass  # it ended without reading; its exit status says why
    lines = []
    for line in process.stdout:
        lines.append(line)
        write(line)
        if on_line:
            on_line(line)
    process.wait()
    return "".join(lines)
