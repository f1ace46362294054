"""The picture of a case: what every witness saw of each update, on one time axis."""

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from lab.report import picture_loads as loads
from lab.report import picture_panels as panels
from lab.report.picture_data import Recording, Update
from lab.timeline import Timeline

MARGIN_S = 1.0
LONGEST_WINDOW_S = 15.0
MOST_PICTURES = 4
TITLE_CHARACTERS = 90
LINE_INCHES = 0.25
STRIP_INCHES, PANEL_INCHES = 0.25, 0.36
COLOUR = {"PASS": panels.GREEN, "FAIL": panels.RED, "UNKNOWN": "#9a6700"}


def draw(timeline: Timeline, folder: Path, case: str, verdict: str) -> list[Path]:
    """Write a picture of each update, at most four, as PNG and SVG, and return the PNG files.

    Partial evidence gives a picture that says what is missing; without an update, the whole
    case is shown.

    folder:  where the files go; made if need be
    case:    its name, for the title
    verdict: PASS, FAIL, UNKNOWN, or another word for a case that was not judged
    """
    folder.mkdir(parents=True, exist_ok=True)
    recording = Recording.of(timeline)
    updates = recording.updates()
    shown: Sequence[Update | None] = chosen(updates, recording) or [None]
    return [_save(_figure(recording, updates, one, f"{verdict}  {case}"), folder, one) for one in shown]


def _save(figure: Figure, folder: Path, update: Update | None) -> Path:
    path = folder / (f"update-{update.number}.png" if update else "no-update.png")
    figure.savefig(path, dpi=110)
    # text stays text, and the same evidence gives the same file
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cprlab"}):
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    return path


def window(update: Update | None, recording: Recording) -> tuple[float, float]:
    """What is shown in the panels, in seconds: the update, and on until every stream is received again."""
    if update is None:
        return recording.extent()
    ends = [end for _, end in gaps(recording, update).values() if math.isfinite(end)]
    end = max([update.end_s, *ends])
    return update.start_s - MARGIN_S, min(end + MARGIN_S, update.start_s + LONGEST_WINDOW_S)


def chosen(updates: Sequence[Update], recording: Recording) -> list[Update]:
    """The updates that get a picture: all of a few; of many what went wrong, then the longest gaps."""
    ranked = sorted(updates, key=lambda one: (one.outcome == "ok", -pause_s(recording, one)))
    return sorted(ranked[:MOST_PICTURES], key=lambda one: one.start_s)


def pause_s(recording: Recording, update: Update) -> float:
    """The longest gap in any stream around an update; 0 if that cannot be told.

    Infinity if something was received no more.
    """
    return max((end - start for start, end in gaps(recording, update).values()), default=0.0)


def gaps(recording: Recording, update: Update) -> dict[str, tuple[float, float]]:
    """The longest gap around an update in what each load received, by the stream that had it.

    Where only samples are looked at, a gap is between two looks, and means nothing.
    """
    around = update.start_s - MARGIN_S, min(update.end_s + MARGIN_S, update.start_s + LONGEST_WINDOW_S)
    found = {}
    for load in recording.loads:
        watched = [stream for stream in recording.of_load(load) if not stream.sampled]
        known = {str(one): gap for one in watched if (gap := recording.gap(one, around)) is not None}
        if known:
            name = max(known, key=lambda one: known[one][1] - known[one][0])
            found[name] = known[name]
    return found


def _figure(recording: Recording, updates: Sequence[Update], update: Update | None, title: str) -> Figure:
    with matplotlib.rc_context({"font.size": 8.5, "axes.spines.top": False, "axes.spines.right": False}):
        shown = window(update, recording)
        rows = [*loads.panels(recording, shown), *panels.panels(recording, shown)]
        inches = [STRIP_INCHES * max(len(recording.loads), 2), *(panel.inches for panel in rows)]
        figure = Figure(figsize=(13, sum(inches) + PANEL_INCHES * len(inches) + 1.5), layout="constrained")
        FigureCanvasAgg(figure)
        _title(figure, *_head(recording, update, len(updates), title))
        grid = figure.add_gridspec(len(inches), 1, height_ratios=inches)
        _overview(figure.add_subplot(grid[0]), recording, updates, shown)
        axes: list[Axes] = []
        for row, panel in enumerate(rows, start=1):
            ax = figure.add_subplot(grid[row], sharex=axes[0] if axes else None)
            panel.draw(ax)
            ax.set_title(panel.title, loc="left", fontsize=9, weight="bold", pad=3)
            axes.append(ax)
        _mark(axes, updates, shown)
        _finish(axes, shown)
    return figure


def _overview(ax: Axes, recording: Recording, updates: Sequence[Update], shown: tuple[float, float]) -> None:
    """The whole case: what each load received, the updates by number, what is shown below."""
    extent = recording.extent()
    edges = np.linspace(*extent, 400)
    names = list(reversed(recording.loads))
    for row, load in enumerate(names):
        counted = [recording.counts(stream.received, edges) for stream in recording.of_load(load)]
        counts = sum((one for one in counted if one is not None), np.zeros(len(edges) - 1))
        heights = row + 0.85 * np.minimum(counts / panels.scale([counts]), 1)
        ax.stairs(heights, edges, baseline=row, fill=True, color=panels.BLUE, alpha=0.6)
    ax.axvspan(*shown, facecolor="none", edgecolor=panels.BLACK, linewidth=1.2)
    free = extent[0]
    for one in updates:
        ax.axvspan(one.start_s, one.end_s, color=panels.PURPLE, alpha=0.45, linewidth=0)
        if one.start_s >= free:  # of very many updates not each is numbered
            ax.text(one.start_s, 1.02, f"{one.number}", transform=ax.get_xaxis_transform(), weight="bold")
            free = one.start_s + 0.016 * (extent[1] - extent[0])
    ax.set_xlim(*extent)
    ax.set_ylim(0, max(len(names), 1))
    ax.set_yticks([row + 0.4 for row in range(len(names))], names)
    ax.tick_params(axis="y", length=0)
    ax.set_title(
        "whole case: blocks received by load, updates numbered, the frame is shown below (s)",
        loc="left",
        fontsize=9,
        pad=12,
    )


def _mark(axes: Sequence[Axes], updates: Sequence[Update], shown: tuple[float, float]) -> None:
    """The band from invoke to its end and the line of the exec, through all panels."""
    for one in updates:
        if one.end_s < shown[0] or one.start_s > shown[1]:
            continue
        for ax in axes:
            ax.axvspan(one.start_s, one.end_s, color=panels.PURPLE, alpha=0.13, linewidth=0, zorder=0)
            if one.exec_s is not None:
                ax.axvline(one.exec_s, color=panels.PURPLE, linestyle="--", linewidth=1.2)
        for t_s, text, side in _marks(one, shown):
            axes[0].annotate(
                text,
                (t_s, 1),
                (0, 15),
                axes[0].get_xaxis_transform(),
                "offset points",
                ha=side,
                color="#8c3d69",
                weight="bold",
            )


def _marks(one: Update, shown: tuple[float, float]) -> list[tuple[float, str, str]]:
    """Time, words and alignment of what is written above the panels for one update."""
    marks = [(one.start_s, "invoke ", "right"), (one.end_s, f" {one.outcome}", "left")]
    near = 0.15 * (shown[1] - shown[0])
    if one.exec_s is not None and one.end_s - one.exec_s < near:
        marks[1] = (one.exec_s, f" exec of new QEMU, {one.outcome}", "left")
    elif one.exec_s is not None:
        marks.append((one.exec_s, " exec of new QEMU", "left"))
    return [mark for mark in marks if shown[0] <= mark[0] <= shown[1]]


def _finish(axes: Sequence[Axes], shown: tuple[float, float]) -> None:
    axes[0].set_xlim(*shown)
    for ax in axes:
        ax.grid(axis="x", color="#dddddd", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.tick_params(labelbottom=ax is axes[-1])
    axes[-1].set_xlabel("seconds after the first update was asked for, controller clock")


def _head(recording: Recording, update: Update | None, total: int, title: str) -> tuple[str, str]:
    """Title and subtitle, wrapped to the figure's width."""
    told = ["no update was asked for"]
    if update:
        told = [f"{update.mode}, update {update.number} of {total}: {update.outcome}"]
    versions = [dict(event.data) for event in recording.timeline.of("versions")][-1:]
    told += [f"QEMU {version(one.get('qemu_old'))} → {version(one.get('qemu_new'))}" for one in versions]
    if update:
        told += _gap_words(gaps(recording, update))
    return textwrap.fill(title, TITLE_CHARACTERS), textwrap.fill("   ·   ".join(told), 2 * TITLE_CHARACTERS)


def _gap_words(found: Mapping[str, tuple[float, float]]) -> list[str]:
    """The longest gap of each load, and in which stream nothing was received any more."""
    over = {name: end - start for name, (start, end) in found.items() if math.isfinite(end)}
    lost = ", ".join(name for name, (_, end) in found.items() if not math.isfinite(end))
    told = ", ".join(f"{name} {length * 1000:.0f} ms" for name, length in over.items())
    return [
        *([f"longest gap: {told}"] if told else []),
        *([f"nothing received any more: {lost}"] if lost else []),
    ]


def version(told: object) -> str:
    """The number in what QEMU says of its version: packagers add words."""
    found = re.search(r"\d+\.\d+[\w.-]*", str(told or "?"))
    return found.group() if found else str(told or "?")


def _title(figure: Figure, title: str, subtitle: str) -> None:
    """Write both above the panels, each on lines of its own."""
    height = figure.get_figheight()
    below_title = 0.1 + LINE_INCHES * (title.count("\n") + 1)
    below = below_title + 0.75 * LINE_INCHES * (subtitle.count("\n") + 1)
    colour = COLOUR.get(title.split()[0], panels.BLACK)
    large = {"fontsize": 13, "weight": "bold", "color": colour}
    for at, text, style in ((0.08, title, large), (below_title, subtitle, {"fontsize": 10})):
        figure.text(0.012, 1 - at / height, text, va="top").set(**style)
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(rect=(0, 0, 1, 1 - below / height), w_pad=0.15, h_pad=0.05)
