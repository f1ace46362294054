"""What preflight finds, and which cases of a run showed it: a page of the report, from the record alone.

A finding is shown by a case that passed, or that failed as a known defect must. A case that is not in the run
is no proof in it.
"""

import hashlib
import html
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.preflight import RULES
from lab.preflight.proofs import NOT_SHOWN, nodes
from lab.preflight.rule import Rule
from lab.report.case_folder import CaseFolder
from lab.report.tables import page
from lab.verdict import Outcome, Verdict

KINDS = {
    "shown": ("#d3eadf", "shown in this run"),
    "not shown": ("#e0693a", "its case says otherwise: look at it"),
    "unknown": ("#d5d5d5", "its case came to no answer: look at it"),
    "not run": ("#d9d9d9", "no case of this run is about it"),
    "cannot be shown": ("#f3e3b3", "no bench here can show it"),
}
KIND_OF = {"passed": "shown", "xfailed": "shown", "broken": "unknown", "skipped": "unknown"}
"""Status of a case -> one of KINDS; any other contradicts."""
ASKED = "testcases/test_preflight.py"
"""A run without a case of it did not ask for this page."""
CELL = "color: #1b1b1b; padding: 4px 8px; white-space: normal"


@dataclass(frozen=True)
class Line:
    """One finding, by one case; case: "" for none.

    kind: one of KINDS
    seen: what the case saw of the loss
    """

    rule: Rule
    kind: str
    case: str
    seen: str


def matrix(run: Path) -> list[Line]:
    """Every finding with what this run shows of it; nothing for a run without cases of preflight."""
    asked = any(str(case.get("nodeid", "")).startswith(ASKED) for case in _cases(run))
    return every_finding(run) if asked else []


def every_finding(run: Path) -> list[Line]:
    """The same of any run."""
    cases = _cases(run)
    return [line for rule in RULES for line in _lines(run, rule, cases)]


def _cases(run: Path) -> Sequence[Mapping[str, Any]]:
    try:
        cases: Sequence[Mapping[str, Any]] = json.loads((run / "run.json").read_text(encoding="utf-8"))[
            "cases"
        ]
    except (OSError, ValueError, KeyError):
        return []
    return cases


def _lines(run: Path, rule: Rule, cases: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    proofs = [case for case in cases if _is_about(str(case.get("nodeid", "")), rule.name)]
    if rule.name in NOT_SHOWN:
        yield Line(rule, "cannot be shown", "", NOT_SHOWN[rule.name])
    elif not proofs:
        yield Line(rule, "not run", "", "")
    for case in proofs:
        kind = KIND_OF.get(str(case.get("status")), "not shown")
        yield Line(rule, kind, str(case["nodeid"]).split("::")[-1], _seen(run, case))


def _is_about(nodeid: str, finding: str) -> bool:
    base, mark, parameters = nodeid.partition("[")
    return any(base == node and part in f"{mark}{parameters}" for node, part in nodes(finding))


def _seen(run: Path, case: Mapping[str, Any]) -> str:
    """The sentence of the verdict that tells the loss: the first that is red, or stands for one."""
    verdicts = CaseFolder(run / str(case["folder"])).verdicts() if case.get("folder") else []
    ranked = sorted(verdicts, key=_rank)
    return ranked[0].summary if ranked else str(case.get("reason") or "see its output")


def _rank(verdict: Verdict) -> int:
    if verdict.checker.startswith(("unpromised", "update_refused")):
        return 0
    if verdict.outcome is Outcome.FAIL:
        return 1 if verdict.checker == "same_guest" else 2
    return 3


def table(lines: Sequence[Line]) -> str:
    """The matrix as HTML with inline style only: that is what a description of allure keeps."""
    heads = ("finding", "in this run", "case", "what was seen", "known from", "remedy")
    head = "".join(f'<th style="text-align: left; padding: 4px 8px">{one}</th>' for one in heads)
    return f"<table><tr>{head}</tr>{''.join(map(_row, lines))}</table>"


def _row(line: Line) -> str:
    colour, text = KINDS[line.kind]
    plain = (line.case, line.seen, line.rule.source, line.rule.remedy)
    cells = [
        f'<td style="{CELL}">{html.escape(line.rule.name)}</td>',
        f'<td style="background: {colour}; {CELL}" title="{html.escape(text)}">{line.kind}</td>',
        *(f'<td style="{CELL}">{html.escape(one)}</td>' for one in plain),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def add_page(run: Path) -> bool:
    """Put the matrix into the run's allure-results, if it has one; it is judged by nobody."""
    lines = matrix(run)
    if not lines:
        return False
    results = run / "allure-results"
    results.mkdir(exist_ok=True)
    # always the same name: made again, it replaces itself
    name = hashlib.sha256(f"{run.name} preflight".encode()).hexdigest()[:32]
    source = f"{name}-preflight-attachment.html"
    (results / source).write_text(page(table(lines)), encoding="utf-8")
    found = {
        "uuid": name,
        "historyId": "cprlab-preflight",
        "fullName": "cprlab.preflight",
        "name": "What preflight refuses, and what showed it",
        "status": "passed",
        "stage": "finished",
        "descriptionHtml": table(lines),
        "attachments": [{"name": "preflight.html", "source": source, "type": "text/html"}],
        "labels": [{"name": "parentSuite", "value": "preflight"}, {"name": "epic", "value": "preflight"}],
    }
    (results / f"{name}-result.json").write_text(json.dumps(found), encoding="utf-8")
    return True
