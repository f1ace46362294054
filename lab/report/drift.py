"""The picture of many updates in a row: how long each took, and what was held after each."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lab.report.case_folder import Measured

FEWEST = 4
"""Updates without which there is nothing to see."""
COLUMNS = 3
PAUSED = re.compile(r"update (\d+): pause, (.+)")
HELD = re.compile(r"update (\d+): held, (.+)")
"""What lab/measure.py calls them."""
Series = Mapping[str, Mapping[int, float]]
"""By name, the value at each update."""


def draw_drift(measurements: Iterable[Measured], folder: Path) -> list[Path]:
    """Write drift.png and drift.svg of a case with several updates, and return the PNG; nothing with few."""
    numbers = list(measurements)
    paused = by_update(numbers, PAUSED, lambda one: f" ({one.clock} clock)")
    held = by_update(numbers, HELD, lambda one: f" ({one.unit})")
    if max((len(values) for values in paused.values()), default=0) < FEWEST:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "drift.png"
    with matplotlib.rc_context({"font.size": 8.5, "axes.spines.top": False, "axes.spines.right": False}):
        rows = math.ceil(len(held) / COLUMNS)
        figure = Figure(figsize=(13, 4 + 1.8 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(rows + 1, COLUMNS, height_ratios=[2.2, *[1] * rows])
        _pauses(figure.add_subplot(grid[0, :]), paused)
        for number, (name, values) in enumerate(held.items()):
            _held(figure.add_subplot(grid[1 + number // COLUMNS, number % COLUMNS]), name, values)
    figure.savefig(path, dpi=110)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cprlab"}):
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    return [path]


def by_update(
    numbers: Iterable[Measured], which: "re.Pattern[str]", more: Callable[[Measured], str]
) -> Series:
    """The measurements of every update, by what was measured and `more` about it."""
    found: dict[str, dict[int, float]] = {}
    for one in numbers:
        if match := which.fullmatch(one.name):
            found.setdefault(match[2] + more(one), {})[int(match[1])] = one.value
    return found


def _pauses(ax: Axes, paused: Series) -> None:
    for name, values in paused.items():
        ax.plot(list(values), list(values.values()), ".-", linewidth=0.8, markersize=4, label=name)
    ax.set_title("pause of each update, by what was watched (s)", loc="left", fontsize=9, weight="bold")
    ax.set_ylim(bottom=0)
    ax.set_xlabel("update")
    ax.grid(color="#dddddd", linewidth=0.6)
    ax.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _held(ax: Axes, name: str, values: Mapping[int, float]) -> None:
    ax.plot(list(values), list(values.values()), ".-", color="#0b6fa4", linewidth=0.8, markersize=3)
    ax.set_title(name, loc="left", fontsize=8.5)
    ax.ticklabel_format(useOffset=False, style="plain", axis="y")
    ax.grid(color="#dddddd", linewidth=0.6)
