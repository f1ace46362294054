"""Where the command's words go: answers to stdout, everything on the way to stderr."""

import json
import sys
from typing import Any

from rich.console import Console

from lab.verdict import Outcome

STYLE = {Outcome.PASS: "green", Outcome.UNKNOWN: "yellow", Outcome.FAIL: "bold red"}


def answer() -> Console:
    """For what was asked for."""
    return Console(highlight=False, width=_width(sys.stdout.isatty()))


def aside() -> Console:
    """For progress and remarks."""
    return Console(stderr=True, highlight=False, width=_width(sys.stderr.isatty()))


def _width(terminal: bool) -> int | None:
    """A log has no width: rich's guess of 80 would only break its lines."""
    return None if terminal else 160


def print_json(value: Any) -> None:
    """For programs: nothing else on stdout."""
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")
