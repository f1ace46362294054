"""The panels of the picture: each draws one kind of evidence within a window of the time axis.

Colours are of Okabe and Ito's palette, told apart with any colour vision; shape and text say the same.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lab.report.picture_data import (
    TABLE_CLOCKS,
    Recording,
    Seconds,
    Tick,
    chardev_ticks,
    heartbeats,
    longest_gap,
    qmp_ticks,
    trace_ticks,
)

BLUE, ORANGE, GREEN, RED, PURPLE, GREY, BLACK = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#8a8a8a",
    "#222222",
)
BIN_S = 0.02
SHORTEST_GAP_S = 0.05
MAX_TICKS = 4000
CHARACTER = 0.0057  # width of a character of a label, as a part of the panel's width

Window = tuple[float, float]
Panel = Callable[[Axes, Recording, Window], None]


def missing(ax: Axes, why: str) -> None:
    """Say in the panel's place why it is empty."""
    ax.text(0.5, 0.5, why, transform=ax.transAxes, ha="center", va="center", color=GREY, style="italic")
    ax.set_yticks([])


def stream(direction: str) -> Panel:
    """Blocks sent and received per bin of one direction of the NIC load, the longest gap named."""

    def draw(ax: Axes, recording: Recording, window: Window) -> None:
        received = recording.table(f"nic.{direction}.received", window)
        sent = recording.table(f"nic.{direction}.sent", window)
        if isinstance(received, str):
            missing(ax, received)
            return
        times, rows = received
        tops = [_bins(ax, times, window, BLUE, filled=True)]
        if not isinstance(sent, str):
            tops.append(_bins(ax, sent[0], window, BLACK, filled=False))
        ax.set_ylim(0, max(*tops, 1) * 1.45)
        ax.set_ylabel(f"blocks per\n{BIN_S * 1000:.0f} ms")
        seen, told = (
            recording.clocks.told(TABLE_CLOCKS[f"nic.{direction}.{end}"]) for end in ("received", "sent")
        )
        series = [(f"received ({seen})", BLUE), (f"sent ({told})", BLACK)]
        note(ax, series[: len(tops)])
        gap(ax, times, window, recording.loaded_until(window[1]))
        bad = times[rows["good"] == 0]
        ax.plot(bad, np.full(len(bad), max(*tops, 1) * 0.9), "x", color=RED, label="damaged")

    return draw


def _bins(ax: Axes, times: Seconds, window: Window, colour: str, *, filled: bool) -> float:
    edges = np.arange(window[0], window[1] + BIN_S, BIN_S)
    counts, _ = np.histogram(times, edges)
    if filled:
        ax.stairs(counts, edges, color=colour, fill=True, alpha=0.75)
    else:
        ax.stairs(counts, edges, color=colour, linewidth=0.7)
    return float(counts.max(initial=0))


def note(ax: Axes, words: Sequence[tuple[str, str]]) -> None:
    """Words in their colours at the right end of the title's line: what is drawn, by which clock."""
    right = 1.0
    for text, colour in reversed(words):
        ax.text(right, 1.03, text, transform=ax.transAxes, ha="right", va="bottom", color=colour)
        right -= (len(text) + 4) * CHARACTER


def gap(ax: Axes, times: Seconds, window: Window, until_s: float) -> None:
    """Shade the longest gap in the window before `until_s` and name its length."""
    found = longest_gap(times, window[0], until_s)
    if found is None or found[1] - found[0] < SHORTEST_GAP_S:
        return
    left, right = max(found[0], window[0]), min(found[1], window[1])
    ax.axvspan(left, right, color=ORANGE, alpha=0.3, linewidth=0)
    text = _gap_words(found, window)
    half = len(text) * CHARACTER * (window[1] - window[0]) * 0.6
    centre = min(max((left + right) / 2, window[0] + half), window[1] - half)
    ax.text(centre, 0.94, text, transform=ax.get_xaxis_transform(), ha="center", va="top", weight="bold")


def _gap_words(found: Window, window: Window) -> str:
    if np.isinf(found[1]):
        return f"nothing after {found[0]:.2f} s"
    text = f"gap {(found[1] - found[0]) * 1000:.0f} ms"
    if found[0] < window[0]:
        text += f", since {found[0]:.2f} s"
    if found[1] > window[1]:
        text += f", until {found[1]:.2f} s"
    return text


def heartbeat(ax: Axes, recording: Recording, window: Window) -> None:
    """A tick for each heartbeat of the guest."""
    beats = heartbeats(recording)
    if not len(beats):
        missing(ax, "no guest.heartbeat")
        return
    ax.vlines(beats, 0.08, 0.6, color=GREEN, linewidth=2)
    note(ax, [(recording.clocks.told("guest"), GREY)])
    ax.set_ylim(0, 1)
    ax.set_yticks([])
    gap(ax, beats, window, recording.loaded_until(window[1]))


def pins(ax: Axes, recording: Recording, window: Window) -> None:
    """Pages pinned on the host: acquired minus released."""
    _curves(ax, recording, window, [("pinned", 1, "pages pinned on the host", BLUE)], "pages")


def accounting(ax: Axes, recording: Recording, window: Window) -> None:
    """What QEMU is charged for: VmLck (type1) and VmPin (iommufd)."""
    series = [("vmlck_kb", 1024, "VmLck (type1)", BLUE), ("vmpin_kb", 1024, "VmPin (iommufd)", RED)]
    _curves(ax, recording, window, series, "MiB")


def _curves(
    ax: Axes, recording: Recording, window: Window, series: Sequence[tuple[str, int, str, str]], unit: str
) -> None:
    found = recording.table("pins", window)
    if isinstance(found, str):
        missing(ax, found)
        return
    times, rows = found
    note(ax, [(recording.clocks.told("host"), GREY)])
    inside = (times >= window[0]) & (times <= window[1])
    for place, (column, divisor, name, colour) in enumerate(series):
        if column not in rows:
            continue
        values = np.where(
            rows[column][inside] < 0, np.nan, rows[column][inside] / divisor
        )  # -1: QEMU is gone
        style = "-" if place == 0 else "--"
        ax.step(times[inside], values, where="post", color=colour, linestyle=style, linewidth=1.6)
        at = f"  {name}: {_range(values)} {unit}"
        ax.text(0.26 * place, 0.94, at, transform=ax.transAxes, va="top", color=colour, weight="bold")
    top = ax.get_ylim()[1]
    ax.set_ylim(0, max(top, 1) * 1.5)
    ax.set_ylabel(unit)


def _range(values: "np.ndarray[Any, Any]") -> str:
    known = values[np.isfinite(values)]
    if not len(known):
        return "not sampled here,"
    low, high = float(known.min()), float(known.max())
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"


def qmp(ax: Axes, recording: Recording, window: Window) -> None:
    """QMP as both sides told it."""
    lanes(ax, qmp_ticks(recording), window, ["QMP new", "QMP old"], "no qmp.event")
    note(ax, [("controller clock, when heard of", GREY)])


def chardevs(ax: Axes, recording: Recording, window: Window) -> None:
    """Ends and returns of the chardev connections."""
    ticks = chardev_ticks(recording)
    lanes(ax, ticks, window, sorted({t.lane for t in ticks}), "no chardev events")
    note(ax, [(recording.clocks.told("host"), GREY)])


def trace(ax: Axes, recording: Recording, window: Window) -> None:
    """What the host kernel traced."""
    if not recording.timeline.starting("trace."):
        missing(ax, "the host kernel was not traced")
        return
    ticks = trace_ticks(recording)
    usual = ["unmap", "map", "sched_process_exec"]
    names = [*sorted({t.lane for t in ticks} - set(usual)), *usual]
    lanes(ax, ticks, window, names, "", quiet="none")
    note(ax, [(recording.clocks.told("host"), GREY)])


def lanes(
    ax: Axes, ticks: Sequence[Tick], window: Window, names: Sequence[str], empty: str, quiet: str = ""
) -> None:
    """Ticks in named lanes, their labels never on top of each other."""
    if not names or (empty and not ticks):
        missing(ax, empty)
        return
    for row, name in enumerate(names):
        inside = sorted(
            (t for t in ticks if t.lane == name and window[0] <= t.t_s <= window[1]), key=lambda t: t.t_s
        )
        for tick in inside[:MAX_TICKS]:
            top = 0.3 if tick.text else 0.7
            ax.vlines(tick.t_s, row + 0.06, row + top, color=RED if tick.bad else BLACK, linewidth=1.4)
        _label(ax, inside, row, window)
        told = quiet if not inside else (_times(len(inside)) if not inside[0].text else "")
        ax.text(1.004, row + 0.2, told, transform=ax.get_yaxis_transform(), va="center", color=GREY)
    ax.set_yticks([row + 0.2 for row in range(len(names))], names)
    ax.set_ylim(0, len(names))


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def bursts(ticks: Iterable[Tick], closer_s: float) -> list[list[Tick]]:
    """Labelled ticks in groups: each begins within `closer_s` of the group's first."""
    groups: list[list[Tick]] = []
    for tick in ticks:
        if not tick.text:
            continue
        if groups and tick.t_s - groups[-1][0].t_s < closer_s:
            groups[-1].append(tick)
        else:
            groups.append([tick])
    return groups


def _label(ax: Axes, ticks: Iterable[Tick], row: int, window: Window) -> None:
    """Words above their ticks, one label a burst, on two levels."""
    scale = window[1] - window[0]
    free = [-1.0, -1.0]
    for burst in bursts(ticks, 0.06 * scale):
        text = " → ".join(tick.text for tick in burst)
        width = (len(text) + 1.5) * CHARACTER
        left = min((burst[0].t_s - window[0]) / scale, max(0.0, 1 - width))
        level = next((n for n, end in enumerate(free) if end < left), len(free) - 1)
        free[level] = left + width
        colour = RED if any(tick.bad for tick in burst) else BLACK
        at = window[0] + left * scale
        ax.text(at, row + 0.35 + 0.29 * level, text, fontsize=7.5, va="bottom", color=colour)
