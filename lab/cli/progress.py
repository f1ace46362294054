"""Draws a build as a bar with the time it has left; in logs, as plain lines."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column


class RichProgress:
    """A bar for the stage under way; a line for each stage that is over.

    Until a stage ticks, its bar follows the time it is expected to take.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", table_column=Column(ratio=3)),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[left]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._text, self._began_s, self._seconds, self._ticked = "", 0.0, 1.0, False

    def __enter__(self) -> "RichProgress":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(failed=error is not None)
        self._bars.stop()

    def stage(self, text: str, seconds_expected: float) -> None:
        """A new stage began."""
        self._end()
        self._text, self._began_s, self._seconds, self._ticked = (
            text,
            time.monotonic(),
            seconds_expected,
            False,
        )
        self._task = self._bars.add_task(text, total=None, left=f"about {duration(seconds_expected)}")

    def tick(self, done: int, expected: int) -> None:
        """The stage did `done` of about `expected`."""
        if self._task is None:
            return
        spent = time.monotonic() - self._began_s
        share = min(done / max(1, expected), 1.0)
        left = spent / share - spent if share > 0.05 else max(self._seconds - spent, 0.0)
        self._bars.update(
            self._task, completed=done, total=max(done, expected), left=f"{duration(left)} left"
        )

    def note(self, text: str) -> None:
        """A line of its own."""
        self._console.print(text)

    def _end(self, *, failed: bool = False) -> None:
        if self._task is None:
            return
        self._bars.remove_task(self._task)
        self._task = None
        spent = duration(time.monotonic() - self._began_s)
        self._console.print(f"{'failed' if failed else 'done'} in {spent}: {self._text}", markup=False)


def duration(seconds: float) -> str:
    """Seconds for people: 4 s, 2 min 05 s."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"
