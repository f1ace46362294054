"""The calibration as a page of the report: who caught which fault, with which sentence; fault by checker."""

import hashlib
import html
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.calibration.bound import in_words
from lab.calibration.matrix import Calibration, Row, claim
from lab.report.tables import page
from lab.verdict import Outcome

_CELLS = {
    Outcome.PASS: ("#eef4f0", "·"),
    Outcome.FAIL: ("#f2c0a8", "FAIL"),
    Outcome.UNKNOWN: ("#f3e3b3", "?"),
}
_PAD = "padding: 4px 8px; color: #1b1b1b; white-space: normal; text-align: left; vertical-align: top"
_HEAD = "writing-mode: vertical-rl; transform: rotate(180deg); text-align: left; white-space: nowrap"
LEGEND = "Bold: the checkers that had to turn. · is PASS, ? is UNKNOWN, an empty cell was not asked there."


def add_page(run: Path, certificate: Path, found: Calibration) -> None:
    """Put the matrix and the certificate into a run's allure-results."""
    results = run / "allure-results"
    results.mkdir(exist_ok=True)
    # always the same name: made again, it replaces itself
    name = hashlib.sha256(f"{run.name} calibration".encode()).hexdigest()[:32]
    source, shown = f"{name}-calibration-attachment.json", f"{name}-matrix-attachment.html"
    shutil.copyfile(certificate, results / source)
    (results / shown).write_text(page(matrix(found)), encoding="utf-8")
    told = {
        "uuid": name,
        "historyId": "cprlab-calibration",
        "fullName": "cprlab.calibration",
        "name": "Calibration: which checker caught which fault",
        "status": "passed" if found.passed else "failed",
        "stage": "finished",
        "descriptionHtml": who_caught(found, json.loads(certificate.read_text(encoding="utf-8"))),
        "attachments": [
            {"name": "fault by checker", "source": shown, "type": "text/html"},
            {"name": certificate.name, "source": source, "type": "application/json"},
        ],
        "labels": [
            {"name": "parentSuite", "value": "calibration"},
            {"name": "epic", "value": "calibration"},
        ],
    }
    (results / f"{name}-result.json").write_text(json.dumps(told), encoding="utf-8")


def who_caught(found: Calibration, written: Mapping[str, Any]) -> str:
    """A row a fault: caught, by whom, with which sentence; then what the clean runs and the rest say."""
    heads = "".join(f'<th style="{_PAD}">{head}</th>' for head in ("fault", "caught", "by", "what it said"))
    rows = "".join(_caught(row) for row in found.rows)
    left = [
        ("still to be planted", written["missing"]),
        ("left out, for they may harm a real bench", written["left_out"]),
    ]
    told = "".join(
        f"<p>faults {what} ({len(names)}): {html.escape(', '.join(names))}</p>"
        for what, names in left
        if names
    )
    return f"<table><tr>{heads}</tr>{rows}</table><p>{html.escape(in_words(written['bound']))}</p>{told}"


def _caught(row: Row) -> str:
    by = ", ".join(row.by) if row.caught else row.wrong
    cells = (row.name, "yes" if row.caught else "NO", by, row.sentence)
    colour = "" if row.caught else f"; background: {_CELLS[Outcome.FAIL][0]}"
    told = "".join(f'<td style="{_PAD}{colour}">{html.escape(cell)}</td>' for cell in cells)
    return f"<tr>{told}</tr>"


def matrix(found: Calibration) -> str:
    """A table: a row a fault, a column a checker; what was asked for is in bold."""
    heads = "".join(
        f'<th style="vertical-align: bottom"><span style="{_HEAD}">{html.escape(name)}</span></th>'
        for name in found.checkers
    )
    rows = "".join(_row(row, found.checkers) for row in found.rows)
    return f"<table><tr><th>fault</th><th>caught</th>{heads}</tr>{rows}</table><p>{LEGEND}</p>"


def _row(row: Row, checkers: list[str]) -> str:
    word = "yes" if row.caught else "NO"
    cells = "".join(_cell(row, name) for name in checkers)
    said = html.escape(row.sentence)
    return f'<tr><td title="{said}">{html.escape(row.name)}</td><td>{word}</td>{cells}</tr>'


def _cell(row: Row, name: str) -> str:
    outcome = next((o for o in reversed(Outcome) if name in row.said(o)), None)
    if outcome is None:
        return "<td></td>"
    colour, text = _CELLS[outcome]
    if name in row.expected | row.unknown:
        text = f"<b>{text}</b>"
    said = next(v.summary for v in row.verdicts if claim(v.checker) == name and v.outcome is outcome)
    return f'<td style="background: {colour}; text-align: center" title="{html.escape(said)}">{text}</td>'
