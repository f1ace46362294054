"""How a run goes, as it goes: how long it may take, and a line for each case as it ends."""

import statistics
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.cli.console import STYLE, aside
from lab.errors import LabUsageError
from lab.run_record import read_run
from lab.verdict import Outcome


class Live:
    """Tells people; called with each message of lab/report/pytest_run.py.

    runs: folder of earlier runs, which say how long a case takes; None: nobody knows
    """

    def __init__(self, runs: Path | None = None) -> None:
        self._console, self._runs = aside(), runs
        self._total, self._done = 0, 0

    def __call__(self, message: Mapping[str, Any]) -> None:
        if message["event"] == "collected":
            self._collected(message["cases"], message["done"])
        elif message["event"] == "again":
            name, reason = (_escape(message[key]) for key in ("nodeid", "reason"))
            self._console.print(f"[yellow]bench failed, once more:[/] {name.split('::', 1)[-1]}: {reason}")
        elif message["event"] == "end":
            self._done += 1
            word, style = in_a_word(message["status"], message["outcome"])
            name = _escape(message["nodeid"]).split("::", 1)[-1]
            spent = f"{message['seconds']:6.1f} s"
            self._console.print(f"{self._done}/{self._total}  {spent}  [{style}]{word:8}[/]  {name}")

    def _collected(self, cases: Sequence[str], done: Sequence[str]) -> None:
        self._total = len(cases)
        before = f", {len(done)} done before" if done else ""
        seconds = expected_s(cases, self._runs) if self._runs else None
        about = "" if seconds is None else f", about {max(1, round(seconds / 60))} min by earlier runs"
        self._console.print(f"{self._total} cases{before}{about}", highlight=False)


def in_a_word(status: str, outcome: str | None) -> tuple[str, str]:
    """What a case came to, and its style; passed on a red verdict: a fault was caught."""
    if status == "xfailed":
        return "known", "yellow"
    if status == "passed" and outcome not in (None, Outcome.PASS):
        return "caught", STYLE[Outcome.PASS]
    if outcome is None or (outcome == Outcome.PASS and status != "passed"):
        return status, "yellow"
    return outcome, STYLE[Outcome(outcome)]


def expected_s(cases: Sequence[str], runs: Path) -> float | None:
    """How long cases will take: each as long as last time, one that never ran as long as the median of all.

    None if no case ever ran.
    """
    took: dict[str, float] = {}
    for folder in sorted(runs.glob("*/run.json")):
        with suppress(LabUsageError):
            took |= {str(one["nodeid"]): float(one["seconds"]) for one in read_run(folder.parent)["cases"]}
    usual = statistics.median(took.values()) if took else None
    return None if usual is None else sum(took.get(case, usual) for case in cases)


def _escape(text: object) -> str:
    return str(text).replace("[", r"\[")
