"""The three matrices of a run side by side: a picture, tables with the case of every cell, and a page."""

import hashlib
import html
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabUsageError
from lab.report.matrices import KINDS, NAMES, OBTAINED, Cell, Matrix, as_json, matrices
from lab.report.matrices_picture import COLOURS, draw
from lab.report.tables import inline_png
from lab.run_record import left, read_run

TITLE = "The three matrices: chardevs, preflight, failures"
SUITE = "matrices"
CELL = "color: #1b1b1b; padding: 3px 8px; white-space: normal"
_TYPES = {".png": "image/png", ".svg": "image/svg+xml", ".json": "application/json"}


def wanted(run: Path, found: Sequence[Matrix]) -> bool:
    """Whether a run is about them: it was asked for the suite, or has something of each."""
    try:
        return read_run(run).get("suite") == SUITE or all(one.count(*OBTAINED) for one in found)
    except LabUsageError:  # who reports a run says so by itself
        return False


def add_page(run: Path) -> list[Matrix]:
    """Draw them into the run and put their page into allure-results; what they hold, or nothing.

    Made again, it replaces itself. The page is judged by nobody: the cases are.
    """
    found = matrices(run)
    if not wanted(run, found):
        return []
    folder, results = run / "matrices", run / "allure-results"
    for one in (folder, results):
        one.mkdir(exist_ok=True)
    # side by side they are too small to be read on the page itself
    alone = [file for one in found for file in draw([one], folder, one.name)]
    files = [*draw(found, folder), *alone, folder / "matrices.json"]
    files[-1].write_text(json.dumps(as_json(found), indent=1), encoding="utf-8")
    name = hashlib.sha256(f"{run.name} matrices".encode()).hexdigest()[:32]
    page = {
        "uuid": name,
        "historyId": "cprlab-matrices",
        "fullName": "cprlab.matrices",
        "name": TITLE,
        "status": "passed",
        "stage": "finished",
        "descriptionHtml": page_html(run, found, folder),
        "attachments": [_attach(results, name, path) for path in files],
        "labels": [{"name": "parentSuite", "value": SUITE}, {"name": "epic", "value": SUITE}],
    }
    (results / f"{name}-result.json").write_text(json.dumps(page), encoding="utf-8")
    return found


def page_html(run: Path, found: Sequence[Matrix], folder: Path) -> str:
    """What was obtained, the three side by side, what colours say; then each alone, with its cells' cases.

    folder: holds the pictures
    """
    counts = "".join(f"<li>{html.escape(str(one))}</li>" for one in found)
    legend = "".join(
        f'<tr><td style="background: {COLOURS[kind]}; {CELL}">{kind}</td>'
        f'<td style="{CELL}">{html.escape(text)}</td></tr>'
        for kind, text in KINDS.items()
    )
    tables = "".join(_table(one, inline_png(folder / f"{one.name}.png")) for one in found)
    overview = inline_png(folder / "matrices.png")
    return f"<ul>{counts}{_pieces(run)}</ul>{overview}<table>{legend}</table>{tables}"


def _pieces(run: Path) -> str:
    """How the run was made, where that was not in one go."""
    record = read_run(run)
    lines = []
    if resumed := record.get("resumed"):
        labs = list(dict.fromkeys(str(one["commit"]) for one in [record, *resumed]))
        lines.append(f"the run was made in {len(resumed) + 1} pieces, by lab {', '.join(labs)}")
    if waiting := left(record):
        lines.append(f"{len(waiting)} of {len(record['planned'])} cases have not run yet")
    return "".join(f"<li>{html.escape(line)}</li>" for line in lines)


def _table(matrix: Matrix, picture: str) -> str:
    head = "".join(
        f'<th style="text-align: left; padding: 3px 8px">{w}</th>'
        for w in ("", "cell", "", "by case", "seen")
    )
    rows = "".join(_row(cell) for cell in matrix.cells)
    title = f"{matrix.name}: {NAMES[matrix.name]}"
    return f"<h3>{html.escape(title)}</h3>{picture}<table><tr>{head}</tr>{rows}</table>"


def _row(cell: Cell) -> str:
    told = cell.word or "not obtained"
    plain = (cell.row, cell.column, cell.case or "none", cell.seen or KINDS[cell.kind])
    row, column, case, seen = (f'<td style="{CELL}">{html.escape(text)}</td>' for text in plain)
    coloured = f'<td style="background: {COLOURS[cell.kind]}; {CELL}">{html.escape(told)}</td>'
    return f"<tr>{row}{column}{coloured}{case}{seen}</tr>"


def _attach(results: Path, name: str, path: Path) -> dict[str, str]:
    source = f"{name}-{path.stem}-attachment{path.suffix}"
    shutil.copyfile(path, results / source)
    return {"name": path.name, "source": source, "type": _TYPES[path.suffix]}
