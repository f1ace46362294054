"""Plots of a sweep: pause against memory, phases stacked, teardown with async-teardown and without."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lab.pause.analysis import Analysis, Row

COLOURS = {
    "suspend": "#8c959f",
    "stop": "#57606a",
    "save": "#0969da",
    "exec": "#cf222e",
    "quit": "#ff8182",
    "start": "#bf8700",
    "realise": "#e6b94c",
    "load": "#1a7f37",
    "resume": "#8250df",
    "wake": "#d8b9ff",
}
"""In the order in which the phases follow each other, in whichever mode has them."""
BARS = "medians; whiskers hold the middle half; n stands beside them"


def draw(found: Analysis, folder: Path) -> list[Path]:
    """Write each plot as PNG and SVG, and return the files; a plot without data is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    plots: dict[str, Callable[[Axes, Analysis], bool]] = {
        "pause-by-memory": _by_memory,
        "phases": partial(_phases, slept=False),
        "phases-of-reboot": partial(_phases, slept=True),
        "teardown": _teardown,
    }
    files: list[Path] = []
    for name, plot in plots.items():
        figure = Figure(figsize=(9, 5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        if plot(axes, found):
            files += _save(figure, folder / name)
    return files


def _save(figure: Figure, path: Path) -> list[Path]:
    png, svg = path.with_suffix(".png"), path.with_suffix(".svg")
    figure.savefig(png, dpi=110)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cprlab"}):
        figure.savefig(svg, metadata={"Date": None})
    return [png, svg]


def _by_memory(axes: Axes, found: Analysis) -> bool:
    lines: dict[str, list[Row]] = {}
    for row in found.rows:
        of = row.point
        if of.cost or of.async_teardown or of.load or of.boxed or "quit" in row.phases:
            continue
        like = replace(row.point, memory_mib=0)
        words = f"{row.mode}, pages {like.page}, prealloc {like.prealloc}, {like.devices} NIC"
        lines.setdefault(words, []).append(row)
    several = {words: rows for words, rows in lines.items() if len(rows) > 1}
    for words, rows in (several or lines).items():
        rows.sort(key=lambda row: row.point.memory_mib)
        x = [row.point.memory_mib for row in rows]
        style = "-" if "exec" in words else "--"
        axes.errorbar(
            x, [_ms(row) for row in rows], yerr=_spread(rows), fmt=f"o{style}", capsize=3, label=words
        )
        for row in rows:
            axes.annotate(f" {row.pause.n}", (row.point.memory_mib, _ms(row)), fontsize=6)
    axes.set(title="pause by the bench host's kernel", xlabel="guest memory, MiB", ylabel="ms")
    axes.set_ylim(bottom=0)
    _legend(axes, 2)
    return bool(lines)


def _phases(axes: Axes, found: Analysis, slept: bool) -> bool:
    """Of modes by which the guest sleeps, which takes far longer, or of the others."""
    rows = [r for r in found.rows if r.phases and not r.point.cost and ("quit" in r.phases) == slept]
    names = [f"{row.point} {row.mode} (n={row.pause.n})" for row in rows]
    left = [0.0] * len(rows)
    for phase in COLOURS:
        widths = [1000 * row.phase_s(phase) for row in rows]
        if not any(widths):
            continue
        axes.barh(names, widths, left=left, color=COLOURS[phase], label=phase)
        left = [at + width for at, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=6)
    axes.set(title="phases of cpr-reboot" if slept else "phases of the pause", xlabel="ms")
    _legend(axes, len(COLOURS))
    _as_high_as(axes, len(rows))
    return bool(rows)


def _teardown(axes: Axes, found: Analysis) -> bool:
    rows = [row for row in found.rows if row.mode == "cpr-exec" and not row.point.cost]
    names = [f"{row.point} (n={row.pause.n})" for row in rows]
    space = [1000 * row.phase_s("exec: address space") for row in rows]
    kvm = [1000 * row.phase_s("save: KVM", "exec: KVM") for row in rows]
    axes.barh(names, space, color="#cf222e", label="old address space (exit_mmap)")
    axes.barh(names, kvm, left=space, color="#ff8182", label="old KVM (kvm_destroy_vm)")
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=6)
    axes.set(title="teardown within the pause of cpr-exec, with and without async-teardown", xlabel="ms")
    _legend(axes, 2)
    _as_high_as(axes, len(rows))
    return bool(rows)


def _legend(axes: Axes, columns: int) -> None:
    """Below, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if handles and isinstance(axes.figure, Figure):
        words = {"title": BARS, "title_fontsize": 7, "fontsize": 7, "ncols": columns}
        axes.figure.legend(handles, labels, loc="outside lower center", **words)


def _as_high_as(axes: Axes, bars: int) -> None:
    if isinstance(axes.figure, Figure):
        axes.figure.set_figheight(2.2 + 0.17 * bars)


def _ms(row: Row) -> float:
    return 1000 * row.pause.median


def _spread(rows: list[Row]) -> list[list[float]]:
    halves = [row.pause.quartiles for row in rows]
    low = [_ms(row) - 1000 * half[0] for row, half in zip(rows, halves, strict=True)]
    high = [1000 * half[1] - _ms(row) for row, half in zip(rows, halves, strict=True)]
    return [low, high]
