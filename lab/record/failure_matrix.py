"""What became of the guest in every failure of a run, read from its record: an answer to each question."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab.checkers import from_json
from lab.checkers.failure import ANSWERS, FailureAnswer
from lab.errors import LabUsageError
from lab.record.case import Recorded, read_verdicts
from lab.run_record import read_run
from lab.timeline import Event, Timeline

QUESTIONS = tuple(ANSWERS)
HARMLESS = ("refused", "done", "lives", "intact", "flow", "held", "succeeds", "yes")
KINDS = {
    "kept": "as promised, and no harm",
    "harm": "harm, but nothing better is promised",
    "defect": "a known defect: another answer is promised",
    "other": "not what the table says: look at the case",
    "unknown": "not known",
}
_CONTRADICTED = re.compile(r"(\w+); the table says \w+")


@dataclass(frozen=True)
class Cell:
    """One question about one failure.

    word:     what was seen; "unknown" if that could not be told
    promised: by QEMU
    expected: of this version of QEMU, which may be known to be worse
    outcome:  of the verdict
    summary:  how it was seen
    """

    question: str
    word: str
    promised: str
    expected: str
    outcome: str
    summary: str

    @property
    def kind(self) -> str:
        """One of KINDS."""
        if self.outcome != "PASS":
            return "unknown" if self.outcome == "UNKNOWN" else "other"
        if self.expected != self.promised:
            return "defect"
        return "kept" if self.word in HARMLESS else "harm"


@dataclass(frozen=True)
class Line:
    """One failure, of one case.

    title:  what was done
    source: where QEMU promises what it does, or why nothing better can be asked for
    reason: why the known defects are
    said:   what was said of it, by QEMU or by who brought it about
    """

    failure: str
    title: str
    source: str
    reason: str
    case: str
    backend: str
    mode: str
    said: Sequence[str]
    cells: Sequence[Cell]

    def as_json(self) -> dict[str, Any]:
        kinds = [asdict(cell) | {"kind": cell.kind} for cell in self.cells]
        return asdict(self) | {"cells": kinds}


def matrix(run: Path) -> list[Line]:
    """All failures that a run judged, in its order; none if it has none, or what it has cannot be read."""
    with suppress(LabUsageError):
        cases = [case for case in read_run(run).get("cases", []) if case.get("folder")]
        return [line for case in cases for line in _lines(run / str(case["folder"]), case)]
    return []


def _lines(folder: Path, case: Mapping[str, Any]) -> Iterator[Line]:
    try:
        judged = [(row, _claim(row)) for row in read_verdicts(folder)]
        cells: dict[str, list[Cell]] = {}
        for row, claim in judged:
            if claim is not None:
                cells.setdefault(claim.failure, []).append(_cell(row, claim))
        timeline = Timeline.load(folder / "timeline.jsonl") if cells else Timeline(())
    except (LabUsageError, OSError, ValueError):
        return
    name = str(case.get("nodeid", "")).split("::")[-1]
    for failure, ours in cells.items():
        yield _line(timeline, failure, name, ours)


def _claim(row: Recorded) -> FailureAnswer | None:
    if (row.claim or {}).get("checker") != "failure_answer":
        return None
    checker = from_json(row.claim or {})
    assert isinstance(checker, FailureAnswer)
    return checker


def _cell(row: Recorded, claim: FailureAnswer) -> Cell:
    outcome, summary = str(row.verdict.outcome), row.verdict.summary
    contradicted = _CONTRADICTED.search(summary) if outcome == "FAIL" else None
    word = contradicted[1] if contradicted else claim.expected
    return Cell(
        claim.question,
        "unknown" if outcome == "UNKNOWN" else word,
        claim.promised or claim.expected,
        claim.expected,
        outcome,
        summary,
    )


def _line(timeline: Timeline, failure: str, case: str, cells: Sequence[Cell]) -> Line:
    begun = timeline.of("failure.begin", failure=failure)
    first = begun[-1].index if begun else len(timeline.events)
    ends = [e.index for e in timeline.of("failure.end", failure=failure) if e.index > first]
    inside = timeline.events[first : ends[0] if ends else None]
    told = begun[-1].data if begun else {}
    modes = [str(e.data.get("mode", "?")) for e in inside if e.kind == "cpr.invoke"]
    parameters = [e.data.get("parameters", {}) for e in timeline.of("case")]
    return Line(
        failure,
        str(told.get("title", failure)),
        str(told.get("source", "")),
        str(told.get("reason", "")),
        case,
        str(parameters[0].get("backend", "?")) if parameters else "?",
        modes[0] if modes else "?",
        tuple(_said(inside)),
        tuple(cells),
    )


def _said(inside: Sequence[Event]) -> Iterator[str]:
    """Of the update that was made to fail, which is the first."""
    begun = [e.index for e in inside if e.kind == "cpr.invoke"]
    last = begun[1] if len(begun) > 1 else inside[-1].index + 1 if inside else 0
    for event in inside:
        if event.index < last and event.kind in ("cpr.fail", "cpr.info"):
            yield str(event.data.get("reason", ""))
        elif event.index < last and event.kind == "failure.said":
            yield str(event.data.get("said", ""))
