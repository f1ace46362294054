"""What failures do to the guest, as a picture, and a page of the report that tells each of them.

Rows are failures, columns the questions, a cell is the answer that was seen. Colour is never alone: every
cell has its word, and a promise that is not kept is told with it. What was not seen is no answer: "unknown".
"""

import hashlib
import html
import json
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from lab.record.failure_matrix import KINDS, QUESTIONS, Cell, Line, matrix
from lab.report.tables import attach, inline_png, page

__all__ = ["Cell", "Line", "add_page", "draw", "matrix", "page_html", "remark"]

TITLE = "What failed updates do to the guest"
COLOURS = {
    "kept": "#d3eadf",
    "harm": "#f3e3b3",
    "defect": "#f2c0a8",
    "other": "#e0693a",
    "unknown": "#d9d9d9",
}
CELL = "color: #1b1b1b; padding: 4px 8px; white-space: normal; text-align: left; vertical-align: top"


def add_page(run: Path) -> bool:
    """Draw the matrix into the run and put its page into allure-results; False if no failure was tried.

    Made again, it replaces itself. The page is judged by nobody: the cases are.
    """
    lines = matrix(run)
    if not lines:
        return False
    files = draw(lines, run / "failures")
    numbers = run / "failures" / "matrix.json"
    numbers.write_text(json.dumps([line.as_json() for line in lines], indent=1), encoding="utf-8")
    results = run / "allure-results"
    results.mkdir(exist_ok=True)
    name = hashlib.sha256(f"{run.name} failures".encode()).hexdigest()[:32]
    body = page_html(lines, files)
    whole = run / "failures" / "failures.html"
    whole.write_text(page(body), encoding="utf-8")
    found = {
        "uuid": name,
        "historyId": "cprlab-failures",
        "fullName": "cprlab.failures",
        "name": TITLE,
        "status": "passed",
        "stage": "finished",
        "descriptionHtml": body,
        "attachments": [attach(results, name, path) for path in [*files, numbers, whole]],
        "labels": [{"name": "parentSuite", "value": "failures"}, {"name": "epic", "value": "failures"}],
    }
    (results / f"{name}-result.json").write_text(json.dumps(found), encoding="utf-8")
    return True


def draw(lines: Sequence[Line], folder: Path) -> list[Path]:
    """Write the picture as PNG and SVG, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(14.5, 1.4 + 0.42 * len(lines)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for y, line in enumerate(lines):
        for cell in line.cells:
            _square(axes, QUESTIONS.index(cell.question), y, cell)
    axes.set_xlim(0, len(QUESTIONS))
    axes.set_ylim(len(lines), 0)
    axes.set_xticks([x + 0.5 for x in range(len(QUESTIONS))], list(QUESTIONS), fontsize=9)
    names = [textwrap.fill(f"{line.title} ({line.backend})", 62) for line in lines]
    axes.set_yticks([y + 0.5 for y in range(len(lines))], names, fontsize=8)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    patches = [Patch(facecolor=COLOURS[kind], label=KINDS[kind]) for kind in _there(lines)]
    figure.legend(handles=patches, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    png, svg = folder / "matrix.png", folder / "matrix.svg"
    figure.savefig(png, dpi=110)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cprlab"}):
        figure.savefig(svg, metadata={"Date": None})
    return [png, svg]


def page_html(lines: Sequence[Line], files: Sequence[Path]) -> str:
    """The picture, what its colours mean, and each failure by itself; only inline style counts in allure."""
    pictures = "".join(inline_png(path) for path in files if path.suffix == ".png")
    inline = f"{CELL}; display: inline-block"
    legend = "".join(
        f'<span style="background: {COLOURS[kind]}; {inline}">{html.escape(KINDS[kind])}</span> '
        for kind in _there(lines)
    )
    return f"{pictures}<p>{legend}</p>" + "".join(_section(line) for line in lines)


def remark(cell: Cell) -> str:
    """What a cell says below its word: what was promised, or expected, where it is another."""
    if cell.kind == "defect":
        return f"promised: {cell.promised}"
    if cell.kind == "other":
        return f"expected: {cell.expected}" if cell.word != cell.expected else "for another reason"
    return ""


def _there(lines: Sequence[Line]) -> Iterator[str]:
    there = {cell.kind for line in lines for cell in line.cells}
    return (kind for kind in KINDS if kind in there)


def _square(axes: Axes, x: int, y: int, cell: Cell) -> None:
    edge, width = ("#a00000", 2.0) if cell.kind == "other" else ("white", 1.0)
    colour = COLOURS[cell.kind]
    axes.add_patch(
        Rectangle((x + 0.02, y + 0.05), 0.96, 0.9, facecolor=colour, edgecolor=edge, linewidth=width)
    )
    below = remark(cell)
    axes.text(x + 0.5, y + (0.36 if below else 0.5), cell.word, ha="center", va="center", fontsize=8)
    axes.text(x + 0.5, y + 0.75, below, ha="center", va="center", fontsize=6)


def _section(line: Line) -> str:
    facts = {
        "what was done": f"{line.title} ({line.mode}, {line.backend}; {line.case})",
        "where QEMU promises what is promised": line.source,
        "what was said": "; ".join(said for said in line.said if said) or "nothing",
        "known of this QEMU": line.reason,
    }
    told = "".join(
        f"<li>{html.escape(what)}: {html.escape(text)}</li>" for what, text in facts.items() if text
    )
    head = "".join(f'<th style="{CELL}">{name}</th>' for name in ("question", "promised", "seen", "how"))
    body = "".join(_row(cell) for cell in line.cells)
    return f"<h3>{html.escape(line.failure)}</h3><ul>{told}</ul><table><tr>{head}</tr>{body}</table>"


def _row(cell: Cell) -> str:
    texts = (cell.question, cell.promised, cell.word, cell.summary)
    colours = ("", "", f"background: {COLOURS[cell.kind]}; ", "")
    return (
        "<tr>"
        + "".join(
            f'<td style="{colour}{CELL}">{html.escape(text)}</td>'
            for text, colour in zip(texts, colours, strict=True)
        )
        + "</tr>"
    )
