"""A person at the console of a bench host: its log, or the console itself."""

import os
import select
import socket
import sys
import termios
import tty
from collections.abc import Callable
from pathlib import Path

from lab.errors import BenchError
from lab.waiting import wait_until

_LEAVE = b"\x1d"  # Ctrl-]
_CHUNK_BYTES = 4096


def show(log: Path, follow: bool, lives: Callable[[], bool]) -> None:
    """Print a console log; with `follow`, until the bench is gone or Ctrl-C."""
    with log.open("rb") as file:

        def copied() -> bool:
            alive = lives()
            sys.stdout.buffer.write(file.read())
            sys.stdout.buffer.flush()
            return not (follow and alive)

        try:
            wait_until(copied, float("inf"), "the end of the bench", period_s=0.2)
        except KeyboardInterrupt:
            print()


def attach(path: Path) -> None:
    """Connect the terminal to a console socket until Ctrl-].

    Raises:
        BenchError: the socket does not answer.
    """
    with socket.socket(socket.AF_UNIX) as console:
        try:
            console.connect(str(path))
        except OSError as error:
            raise BenchError(f"console {path} does not answer: {error.strerror}") from error
        print("attached; Ctrl-] leaves", file=sys.stderr)
        stdin = sys.stdin.fileno()
        before = termios.tcgetattr(stdin) if os.isatty(stdin) else None
        try:
            if before:
                tty.setraw(stdin)
            _join(stdin, console)
        finally:
            if before:
                termios.tcsetattr(stdin, termios.TCSADRAIN, before)


def _join(stdin: int, console: socket.socket) -> None:
    while True:
        readable, _, _ = select.select([stdin, console.fileno()], [], [])
        if stdin in readable:
            typed = os.read(stdin, _CHUNK_BYTES)
            if not typed or _LEAVE in typed:
                return
            console.sendall(typed)
        if console.fileno() in readable:
            if not (data := console.recv(_CHUNK_BYTES)):
                return
            os.write(sys.stdout.fileno(), data)
