"""The calibration matrix as a page of the report: fault by checker."""

import hashlib
import html
import json
import shutil
from pathlib import Path

from lab.calibration.matrix import Calibration, Row
from lab.verdict import Outcome

_CELLS = {
    Outcome.PASS: ("#dafbe1", "·"),
    Outcome.FAIL: ("#ffcecb", "FAIL"),
    Outcome.UNKNOWN: ("#fff8c5", "?"),
}


def add_page(run: Path, certificate: Path, found: Calibration) -> None:
    """Put the matrix and the certificate into a run's allure-results."""
    results = run / "allure-results"
    results.mkdir(exist_ok=True)
    # always the same name: made again, it replaces itself
    name = hashlib.sha256(f"{run.name} calibration".encode()).hexdigest()[:32]
    source = f"{name}-calibration-attachment.json"
    shutil.copyfile(certificate, results / source)
    page = {
        "uuid": name,
        "historyId": "cprlab-calibration",
        "fullName": "cprlab.calibration",
        "name": "Calibration: which checker caught which fault",
        "status": "passed" if found.passed else "failed",
        "stage": "finished",
        "descriptionHtml": matrix(found),
        "attachments": [{"name": certificate.name, "source": source, "type": "application/json"}],
        "labels": [
            {"name": "parentSuite", "value": "calibration"},
            {"name": "epic", "value": "calibration"},
        ],
    }
    (results / f"{name}-result.json").write_text(json.dumps(page), encoding="utf-8")


def matrix(found: Calibration) -> str:
    """A table: a row a fault, a column a checker; what was asked for is in bold."""
    turned = '<th style="writing-mode: vertical-rl; text-align: left">{}</th>'
    heads = "".join(turned.format(html.escape(name)) for name in found.checkers)
    rows = "".join(_row(row, found.checkers) for row in found.rows)
    clean = f"{len(found.clean)} clean runs, {found.alarms} of them not green"
    return (
        f"<table><tr><th>fault</th><th>caught</th>{heads}</tr>{rows}</table>"
        f"<p>{clean}. Bold: the checkers that had to turn; · is PASS, ? is UNKNOWN.</p>"
    )


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
    return f'<td style="background: {colour}; text-align: center">{text}</td>'
