"""What a sweep of pauses says, as a page of the report: answers, plots, table."""

import base64
import hashlib
import html
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.pause.analysis import Analysis
from lab.report.pause_plots import draw


def add_page(run: Path, numbers: Path, found: Analysis) -> None:
    """Draw the plots into the run, and put a page into its allure-results.

    numbers: pause.json, whose sentences are shown; the page is judged by nobody
    """
    said = json.loads(numbers.read_text(encoding="utf-8"))
    plots = draw(found, run / "pause")
    results = run / "allure-results"
    results.mkdir(exist_ok=True)
    # always the same name: made again, it replaces itself
    name = hashlib.sha256(f"{run.name} pause".encode()).hexdigest()[:32]
    attached = [_attach(results, name, path) for path in [*plots, numbers]]
    page = {
        "uuid": name,
        "historyId": "cprlab-pause",
        "fullName": "cprlab.pause",
        "name": "How long updates pause the guest",
        "status": "passed",
        "stage": "finished",
        "descriptionHtml": _html(said, plots),
        "attachments": attached,
        "labels": [{"name": "parentSuite", "value": "pause"}, {"name": "epic", "value": "pause"}],
    }
    (results / f"{name}-result.json").write_text(json.dumps(page), encoding="utf-8")


def _attach(results: Path, name: str, path: Path) -> dict[str, str]:
    source = f"{name}-{path.stem}-attachment{path.suffix}"
    shutil.copyfile(path, results / source)
    kinds = {".png": "image/png", ".svg": "image/svg+xml", ".json": "application/json"}
    return {"name": path.name, "source": source, "type": kinds[path.suffix]}


def _html(said: dict[str, Any], plots: Sequence[Path]) -> str:
    parts = [_answer(one) for one in said["answers"]]
    pictures = [_inline(path) for path in plots if path.suffix == ".png"]
    rows = [_row(row) for row in said["rows"]]
    heads = ("point", "mode", "n", "pause, ms", "middle half", "phases, ms")
    head = "".join(f"<th>{name}</th>" for name in heads)
    return (
        f"{''.join(parts)}<p>{html.escape(said['limits'])}</p>{''.join(pictures)}"
        f"<p>{html.escape(said['method'])}</p><table><tr>{head}</tr>{''.join(rows)}</table>"
    )


def _answer(one: dict[str, Any]) -> str:
    """A question, its sentences, and what they say of hardware."""
    says = "".join(f"<li>{html.escape(line)}</li>" for line in one["says"])
    says = says or f"<li>not measured; <code>cprlab pause {html.escape(one['how'])}</code></li>"
    limits = f"<p><em>On hardware: {html.escape(one['hardware'])}.</em></p>" if one["hardware"] else ""
    return f"<h4>{html.escape(one['question'])}</h4><ul>{says}</ul>{limits}"


def _row(row: dict[str, Any]) -> str:
    pause = row["pause_s"]
    phases = " ".join(f"{name} {1000 * one['median']:.0f}" for name, one in row["phases_s"].items())
    half = f"{1000 * pause['q1']:.0f} to {1000 * pause['q3']:.0f}"
    cells = (row["point"], row["mode"], pause["n"], f"{1000 * pause['median']:.0f}", half, phases)
    return "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>"


def _inline(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<p><img style="max-width: 100%" src="data:image/png;base64,{data}"></p>'
