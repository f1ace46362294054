"""The three matrices as one picture, side by side: a square for each cell, its word in it.

Colour is never alone: a cell that was not obtained is hatched and says so, one that no bench can show is
dotted, one that is not what the table says has a red edge.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lab.report.matrices import KINDS, Cell, Matrix

# light enough for black words on them
COLOURS: Mapping[str, str] = {
    "kept": "#c5e8d3",
    "harm": "#f6e2ad",
    "defect": "#f4b995",
    "wrong": "#f09a94",
    "unknown": "#d5d5d5",
    "missing": "#ffffff",
    "impossible": "#e4e2f0",
}
HATCHES: Mapping[str, str] = {"missing": "////", "impossible": "..."}
EDGES: Mapping[str, tuple[str, float]] = {"wrong": ("#b00000", 2.2), "missing": ("#777777", 0.8)}
CELL_IN, ROW_IN, LETTER_IN, HEAD_IN = 0.8, 0.27, 0.078, 1.5
"""Width and height of a cell, width of a letter of a row's name, height of the columns' names."""
WORD_LETTERS = 12


def draw(found: Sequence[Matrix], folder: Path, name: str = "matrices") -> list[Path]:
    """Write the picture as PNG and SVG, and return the files."""
    labels = [LETTER_IN * max((len(row) for row in one.rows), default=0) + 0.2 for one in found]
    widths = [label + CELL_IN * len(one.columns) for label, one in zip(labels, found, strict=True)]
    height = HEAD_IN + ROW_IN * max(len(one.rows) for one in found)
    figure = Figure(figsize=(sum(widths) + 0.2 * len(found), height + 0.3))
    FigureCanvasAgg(figure)
    full_w, full_h = figure.get_size_inches()
    left_in = 0.1
    for one, label, width in zip(found, labels, widths, strict=True):
        tall = ROW_IN * len(one.rows)
        place = (left_in + label, full_h - HEAD_IN - tall - 0.1, width - label, tall)
        axes = figure.add_axes(
            tuple(part / whole for part, whole in zip(place, (full_w, full_h) * 2, strict=True))
        )
        _panel(axes, one)
        figure.text(left_in / full_w, 1 - 0.3 / full_h, one.name, weight="bold", fontsize=12)
        left_in += width + 0.2
    if len(found) > 1:
        _legend(figure, len(found[0].rows))
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    figure.savefig(png, dpi=110)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cprlab"}):
        figure.savefig(svg, metadata={"Date": None})
    return [png, svg]


def _legend(figure: Figure, rows: int) -> None:
    """What the colours and hatches say, below a first panel of so many rows."""
    wide, high = figure.get_size_inches()
    tall = ROW_IN * len(KINDS)
    bottom = max(high - HEAD_IN - ROW_IN * (rows + 2) - tall, 0.1)
    axes = figure.add_axes((0.3 / wide, bottom / high, 7.0 / wide, tall / high))
    for y, (kind, text) in enumerate(KINDS.items()):
        _box(axes, 0, y, kind)
        axes.text(1.15, y + 0.5, text, va="center", fontsize=8)
    axes.set_xlim(0, 7.0 / CELL_IN)
    axes.set_ylim(len(KINDS), 0)
    axes.set_axis_off()


def _panel(axes: Axes, matrix: Matrix) -> None:
    rows, columns = matrix.rows, matrix.columns
    for cell in matrix.cells:
        _square(axes, columns.index(cell.column), rows.index(cell.row), cell)
    axes.set_xlim(0, len(columns))
    axes.set_ylim(len(rows), 0)
    heads = [column.replace(", ", "\n") for column in columns]
    axes.set_xticks([x + 0.5 for x in range(len(columns))], heads, fontsize=7.5, rotation=45, ha="left")
    axes.set_yticks([y + 0.5 for y in range(len(rows))], rows, fontsize=8)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _box(axes: Axes, x: int, y: int, kind: str) -> None:
    edge, width = EDGES.get(kind, ("white", 1.0))
    hatch = HATCHES.get(kind)
    axes.add_patch(
        Rectangle(
            (x + 0.02, y + 0.05),
            0.96,
            0.9,
            facecolor=COLOURS[kind],
            edgecolor="#bbbbbb" if hatch else edge,
            linewidth=width,
            hatch=hatch,
        )
    )


def _square(axes: Axes, x: int, y: int, cell: Cell) -> None:
    _box(axes, x, y, cell.kind)
    word = (cell.word or "not obtained")[:WORD_LETTERS]
    # white behind it where lines would cross it
    behind = (
        None
        if cell.kind not in HATCHES
        else {"facecolor": COLOURS[cell.kind], "edgecolor": "none", "pad": 0.5}
    )
    axes.text(x + 0.5, y + 0.5, word, ha="center", va="center", fontsize=6.5, bbox=behind)
