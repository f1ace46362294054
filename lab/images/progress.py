"""Tells whoever waits what is being built, how long it takes, and how far it is."""

import sys
import time
from typing import Protocol


class Progress(Protocol):
    """What a builder reports; the CLI draws it as a bar."""

    def stage(self, text: str, seconds_expected: float) -> None:
        """A new stage began; the one before it is over."""

    def tick(self, done: int, expected: int) -> None:
        """The running stage did `done` of about `expected` pieces; `done` may pass it."""

    def note(self, text: str) -> None:
        """Something worth a line of its own, such as waiting for another builder."""


class PlainProgress:
    """Prints plain lines to stderr, a tick at most every ten seconds: for logs and CI."""

    tick_every_s = 10.0

    def __init__(self) -> None:
        self._printed_s = time.monotonic()

    def stage(self, text: str, seconds_expected: float) -> None:
        """One line per stage."""
        self._print(f"{text} (about {seconds_expected:.0f} s)")

    def tick(self, done: int, expected: int) -> None:
        """A percentage now and then."""
        if time.monotonic() - self._printed_s >= self.tick_every_s:
            self._print(f"  {min(100, 100 * done // max(1, expected))} %")

    def note(self, text: str) -> None:
        """The line as it is."""
        self._print(text)

    def _print(self, text: str) -> None:
        self._printed_s = time.monotonic()
        print(f"cprlab images: {text}", file=sys.stderr, flush=True)
