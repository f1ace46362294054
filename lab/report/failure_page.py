"""What failures do to the guest, as a page of the report: rows are failures, columns the questions.

A cell is the answer that was seen. Colour is never alone: every cell has its word, and a promise that is not
kept is told with it. What was not seen is no answer: "unknown".
"""

import hashlib
import html
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.report.case_folder import CaseFolder
from lab.report.tables import page
from lab.verdict import Outcome

CHECKER = "failure_answer"
HARMLESS = ("refused", "done", "lives", "intact", "flow", "held", "succeeds", "yes")
KINDS = {
    "kept": ("#d3eadf", "as promised, and no harm"),
    "harm": ("#f3e3b3", "harm, but nothing better is promised"),
    "defect": ("#f2c0a8", "a known defect: promised was another answer"),
    "other": ("#e0693a", "not what the table says: look at the case"),
    "unknown": ("#d9d9d9", "not seen"),
}


@dataclass(frozen=True)
class Cell:
    """One answer.

    kind: one of KINDS
    """

    question: str
    word: str
    kind: str
    summary: str


@dataclass(frozen=True)
class Line:
    """One failure, of one case."""

    failure: str
    title: str
    case: str
    cells: Sequence[Cell]
    backend: str = ""


def matrix(run: Path) -> list[Line]:
    """All failures that a run judged, in its order."""
    try:
        cases = json.loads((run / "run.json").read_text(encoding="utf-8")).get("cases", [])
    except (OSError, ValueError):
        return []
    return [line for case in cases if case.get("folder") for line in _lines(run, case)]


def _lines(run: Path, case: Mapping[str, Any]) -> Iterator[Line]:
    folder = CaseFolder(run / str(case["folder"]))
    answered: dict[str, list[Cell]] = {}
    for verdict in folder.claims():
        claim = verdict.get("claim") or {}
        if claim.get("checker") == CHECKER:
            answered.setdefault(str(claim["args"]["failure"]), []).append(_cell(claim["args"], verdict))
    if not answered:
        return
    timeline = folder.timeline()
    begun = timeline.of("failure.begin")
    backend = [str(e.data.get("parameters", {}).get("backend", "")) for e in timeline.of("case")]
    titles = {str(e.data.get("failure")): str(e.data.get("title")) for e in begun}
    for failure, cells in answered.items():
        name = str(case.get("nodeid", "")).split("::")[-1]
        yield Line(failure, titles.get(failure, failure), name, cells, "".join(backend[-1:]))


def _cell(args: Mapping[str, Any], verdict: Mapping[str, Any]) -> Cell:
    question, expected, summary = str(args["question"]), str(args["expected"]), str(verdict["summary"])
    outcome = Outcome(verdict["outcome"])
    if outcome is Outcome.UNKNOWN:
        return Cell(question, "unknown", "unknown", summary)
    if outcome is Outcome.FAIL:
        return Cell(question, summary.partition(";")[0], "other", summary)
    if args.get("promised"):
        return Cell(question, f"{expected} (promised: {args['promised']})", "defect", summary)
    return Cell(question, expected, "kept" if expected in HARMLESS else "harm", summary)


def table(lines: Sequence[Line]) -> str:
    """The matrix as HTML with inline style only: that is what a description of allure keeps."""
    heads = ["failure", *(cell.question for cell in lines[0].cells)]
    head = "".join(f'<th style="text-align: left; padding: 4px 8px">{html.escape(h)}</th>' for h in heads)
    body = "".join(_row(line) for line in lines)
    legend = "".join(
        f'<span style="background: {colour}; {LABEL}">{html.escape(text)}</span>'
        for colour, text in KINDS.values()
    )
    return f"<table><tr>{head}</tr>{body}</table><p>{legend}</p>"


LABEL = "padding: 2px 8px; margin: 2px 8px 2px 0; display: inline-block"
STYLE = "color: #1b1b1b; padding: 4px 8px; white-space: normal"


def _row(line: Line) -> str:
    cells = "".join(
        f'<td style="background: {KINDS[cell.kind][0]}; {STYLE}"'
        f' title="{html.escape(cell.summary)}">{html.escape(cell.word)}</td>'
        for cell in line.cells
    )
    name = f"{html.escape(line.title)}<br><small>{html.escape(line.case)}</small>"
    return f'<tr><td style="padding: 4px 8px; white-space: normal">{name}</td>{cells}</tr>'


def add_page(run: Path) -> bool:
    """Put the matrix into the run's allure-results, if it has one; it is judged by nobody."""
    lines = matrix(run)
    if not lines:
        return False
    results = run / "allure-results"
    results.mkdir(exist_ok=True)
    # always the same name: made again, it replaces itself
    name = hashlib.sha256(f"{run.name} failures".encode()).hexdigest()[:32]
    source = f"{name}-failures-attachment.html"
    (results / source).write_text(page(table(lines)), encoding="utf-8")
    found = {
        "uuid": name,
        "historyId": "cprlab-failures",
        "fullName": "cprlab.failures",
        "name": "What failed updates do to the guest",
        "status": "passed",
        "stage": "finished",
        "descriptionHtml": table(lines),
        "attachments": [{"name": "failures.html", "source": source, "type": "text/html"}],
        "labels": [{"name": "parentSuite", "value": "failures"}, {"name": "epic", "value": "failures"}],
    }
    (results / f"{name}-result.json").write_text(json.dumps(found), encoding="utf-8")
    return True
