"""The chardev matrix of a run as a picture, a table and a page of the report."""

import base64
import hashlib
import html
import json
import shutil
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lab.record.chardev_matrix import GRADES, Cell, Matrix, matrix

# light enough for black words on them; the letter tells them apart, too
COLOURS = {
    "A": "#b7e4c7",
    "B": "#d8ecc0",
    "cut": "#ffe3a3",
    "C": "#ffc9a1",
    "refused": "#cfd8e6",
    "lost": "#f4a6a0",
    "guest lost": "#c9a0c4",
    "?": "#dddddd",
}
WAYS = {"to_guest": "to", "from_guest": "from", "answers": "answers"}
TITLE = "What an update makes of each chardev connection"
_TYPES = {".png": "image/png", ".svg": "image/svg+xml", ".json": "application/json"}


def add_page(run: Path) -> None:
    """Draw the matrix into the run and put its page into allure-results; nothing if no cell was tried.

    Made again, it replaces itself. The page is judged by nobody: the cases are.
    """
    found = matrix(run)
    if not found.cells:
        return
    files = draw(found, run / "chardevs")
    numbers = run / "chardevs" / "matrix.json"
    numbers.write_text(json.dumps(found.as_json(), indent=1), encoding="utf-8")
    results = run / "allure-results"
    results.mkdir(exist_ok=True)
    name = hashlib.sha256(f"{run.name} chardevs".encode()).hexdigest()[:32]
    page = {
        "uuid": name,
        "historyId": "cprlab-chardevs",
        "fullName": "cprlab.chardevs",
        "name": TITLE,
        "status": "passed",
        "stage": "finished",
        "descriptionHtml": page_html(found, files),
        "attachments": [_attach(results, name, path) for path in [*files, numbers]],
        "labels": [{"name": "parentSuite", "value": "chardevs"}, {"name": "epic", "value": "chardevs"}],
    }
    (results / f"{name}-result.json").write_text(json.dumps(page), encoding="utf-8")


def draw(found: Matrix, folder: Path) -> list[Path]:
    """Write the picture as PNG and SVG, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, columns = found.rows, found.columns
    figure = Figure(figsize=(2.2 + 1.5 * len(columns), 1.6 + 0.55 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for y, backend in enumerate(rows):
        for x, column in enumerate(columns):
            _square(axes, x, y, found.at(backend, column))
    axes.set_xlim(0, len(columns))
    axes.set_ylim(len(rows), 0)
    axes.set_xticks([x + 0.5 for x in range(len(columns))], [f"{f}\n{m}" for f, m in columns], fontsize=8)
    axes.set_yticks([y + 0.5 for y in range(len(rows))], rows, fontsize=8)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    figure.supxlabel("\n".join(legend(found)), fontsize=7, color="#333333")
    png, svg = folder / "matrix.png", folder / "matrix.svg"
    figure.savefig(png, dpi=110)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cprlab"}):
        figure.savefig(svg, metadata={"Date": None})
    return [png, svg]


def legend(found: Matrix) -> list[str]:
    """What the letters say, of those that are there."""
    there = {cell.grade for cell in found.cells}
    lines = [f"{grade}: {meaning}" for grade, meaning in GRADES.items() if grade in there]
    lines += ["?: not known"] if "?" in there else []
    return [*lines, "below: lines lost to and from the guest, or answers; a dash was not tried"]


def losses(cell: Cell) -> str:
    """What was lost, in figures; that nothing was is told, too."""
    return " ".join(f"{WAYS[way]} {count}" for way, count in cell.lost.items()) or "all"


def remark(cell: Cell) -> str:
    """What is wrong with it; empty if it is as expected."""
    if cell.outcome == "PASS":
        return ""
    return f"{cell.outcome}: the table says {cell.expected}" if cell.grade != cell.expected else cell.outcome


def colour(cell: Cell) -> str:
    """That of its grade; a grade that is not to be believed has none."""
    return COLOURS["?" if cell.outcome == "UNKNOWN" else cell.grade]


def page_html(found: Matrix, files: list[Path]) -> str:
    """The picture, and the same as a table."""
    columns = found.columns
    head = "".join(f"<th>{html.escape(f)}<br>{html.escape(m)}</th>" for f, m in columns)
    body = "".join(
        f"<tr><th>{html.escape(backend)}</th>"
        + "".join(_td(found.at(backend, column)) for column in columns)
        + "</tr>"
        for backend in found.rows
    )
    said = "".join(f"<li>{html.escape(line)}</li>" for line in legend(found))
    pictures = "".join(_inline(path) for path in files if path.suffix == ".png")
    return f"{pictures}<table><tr><th></th>{head}</tr>{body}</table><ul>{said}</ul>"


def _square(axes: Axes, x: int, y: int, cell: Cell | None) -> None:
    if cell is None:
        axes.text(x + 0.5, y + 0.5, "\N{EN DASH}", ha="center", va="center", color="#999999")
        return
    wrong = remark(cell)
    edge, width = ("#cc0000", 2.5) if wrong else ("white", 1.0)
    axes.add_patch(
        Rectangle((x + 0.03, y + 0.05), 0.94, 0.9, facecolor=colour(cell), edgecolor=edge, linewidth=width)
    )
    axes.text(x + 0.5, y + 0.36, cell.grade, ha="center", va="center", weight="bold", fontsize=9)
    axes.text(x + 0.5, y + 0.74, wrong or losses(cell), ha="center", va="center", fontsize=6)


def _td(cell: Cell | None) -> str:
    if cell is None:
        return "<td>\N{EN DASH}</td>"
    words = [f"<b>{html.escape(cell.grade)}</b>", html.escape(losses(cell))]
    words += [f"<b>{html.escape(remark(cell))}</b>"] if remark(cell) else []
    return f'<td style="background: {colour(cell)}; color: #000">{"<br>".join(words)}</td>'


def _attach(results: Path, name: str, path: Path) -> dict[str, str]:
    source = f"{name}-{path.stem}-attachment{path.suffix}"
    shutil.copyfile(path, results / source)
    return {"name": path.name, "source": source, "type": _TYPES[path.suffix]}


def _inline(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<p><img alt="{TITLE}" style="max-width: 100%" src="data:image/png;base64,{data}"></p>'
