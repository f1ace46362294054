"""The panels of the picture: each draws one kind of evidence within a window of the time axis.

Colours are of Okabe and Ito's palette, told apart with any colour vision; shape and text say the same.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lab.report.clocks import HOST_WALL
from lab.report.picture_data import (
    Columns,
    Recording,
    Seconds,
    Tick,
    chardev_lines,
    chardev_names,
    chardev_ticks,
    heartbeats,
    longest_gap,
    qmp_ticks,
    trace_ticks,
    unseen,
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
SHORTEST_GAP_S = 0.05
MAX_TICKS = 4000
CHARACTER = 0.0057  # width of a character of a label, as a part of the panel's width
LANE_INCHES = 0.42
HALO = {"boxstyle": "round,pad=0.1", "facecolor": "white", "alpha": 0.6, "linewidth": 0}

Window = tuple[float, float]


@dataclass(frozen=True)
class Panel:
    """One kind of evidence, to be drawn.

    inches: height of what is drawn, without title
    why:    why there is nothing to draw
    """

    title: str
    inches: float
    draw: Callable[[Axes], None]
    why: str = ""


def panels(recording: Recording, window: Window) -> list[Panel]:
    """What the witnesses beside the loads saw in a window."""
    return [
        _heartbeat(recording, window),
        *_pins(recording, window),
        _qmp(recording, window),
        _chardevs(recording, window),
        _trace(recording, window),
    ]


def empty(title: str, why: str) -> Panel:
    """A panel in whose place it says why there is nothing to draw."""

    def draw(ax: Axes) -> None:
        ax.text(0.5, 0.5, why, transform=ax.transAxes, ha="center", va="center", color=GREY, style="italic")
        ax.set_yticks([])

    return Panel(title, 0.25, draw, why)


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
    text = gap_words(found, window)
    centre = centred((left + right) / 2, text, window)
    ax.text(centre, 0.94, text, transform=ax.get_xaxis_transform(), ha="center", va="top", weight="bold")


def centred(at: float, text: str, window: Window) -> float:
    """Where the middle of bold words goes so that they stay within the window."""
    half = len(text) * CHARACTER * (window[1] - window[0]) * 0.6
    return min(max(at, window[0] + half), window[1] - half)


def scale(counts: Sequence["np.ndarray[Any, Any]"]) -> float:
    """What is drawn as high as there is room: a burst after a pause must not make the rest invisible."""
    filled = [one[one > 0] for one in counts if one.any()]
    if not filled:
        return 1.0
    return float(min(max(one.max() for one in filled), 3 * max(float(np.median(one)) for one in filled)))


def gap_words(found: Window, window: Window, what: str = "gap") -> str:
    """A gap in words; where it begins or ends outside the window, with the time."""
    if np.isinf(found[1]):
        return f"nothing after {found[0]:.2f} s"
    text = f"{what} {(found[1] - found[0]) * 1000:.0f} ms"
    if found[0] < window[0]:
        text += f", since {found[0]:.2f} s"
    if found[1] > window[1]:
        text += f", until {found[1]:.2f} s"
    return text


def _heartbeat(recording: Recording, window: Window) -> Panel:
    """A tick for each heartbeat of the guest."""
    title, beats = "guest heartbeat", heartbeats(recording)
    if not len(beats):
        return empty(title, "no guest.heartbeat")

    def draw(ax: Axes) -> None:
        ax.vlines(beats, 0.08, 0.6, color=GREEN, linewidth=2)
        note(ax, [(recording.clocks.told("guest"), GREY)])
        ax.set_ylim(0, 1)
        ax.set_yticks([])
        gap(ax, beats, window, recording.loaded_until(None, window[1]))

    return Panel(title, 0.5, draw)


def _pins(recording: Recording, window: Window) -> list[Panel]:
    """Pages pinned on the host (acquired minus released), and what QEMU is charged for."""
    found = recording.table("pins", window)
    if isinstance(found, str):
        why = unseen(recording.timeline, "pins", "pinned pages") or found
        return [empty("pinned pages and accounting", why)]
    told = recording.clocks.told("host")
    pinned = [("pinned", 1, "pages pinned on the host", BLUE)]
    charged = [("vmlck_kb", 1024, "VmLck (type1)", BLUE), ("vmpin_kb", 1024, "VmPin (iommufd)", RED)]
    return [
        _curves("pinned pages", told, *found, window, pinned, "pages"),
        _curves("accounting", told, *found, window, charged, "MiB"),
    ]


def _curves(
    title: str,
    clock: str,
    times: Seconds,
    rows: Columns,
    window: Window,
    series: Sequence[tuple[str, int, str, str]],
    unit: str,
) -> Panel:
    inside = (times >= window[0]) & (times <= window[1])
    known = [one for one in series if one[0] in rows]
    if not inside.any() or not known:
        return empty(title, "no sample in this window" if known else "not sampled")

    def draw(ax: Axes) -> None:
        note(ax, [(clock, GREY)])
        for place, (column, divisor, name, colour) in enumerate(known):
            raw = rows[column][inside]
            values = np.where(raw < 0, np.nan, raw / divisor)  # -1: QEMU is gone
            style = "-" if place == 0 else "--"
            ax.step(times[inside], values, where="post", color=colour, linestyle=style, linewidth=1.6)
            at = f"  {name}: {_range(values)} {unit}"
            ax.text(0.26 * place, 0.94, at, transform=ax.transAxes, va="top", color=colour, weight="bold")
        ax.set_ylim(0, max(ax.get_ylim()[1], 1) * 1.5)
        ax.set_ylabel(unit)

    return Panel(title, 0.75, draw)


def _range(values: "np.ndarray[Any, Any]") -> str:
    known = values[np.isfinite(values)]
    if not len(known):
        return "not sampled here,"
    low, high = float(known.min()), float(known.max())
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"


def _qmp(recording: Recording, window: Window) -> Panel:
    """QMP as both sides told it."""
    ticks, own = qmp_ticks(recording), recording.clocks.knows(HOST_WALL)
    if not ticks:
        return empty("QMP", "no qmp.event")
    names = [*sorted({t.lane for t in ticks} - {"QMP new", "QMP old"}), "QMP new", "QMP old"]

    def draw(ax: Axes) -> None:
        lanes(ax, ticks, window, names)
        clock = "events by QEMU's own clock" if own else "controller clock, when heard of"
        note(ax, [(clock, GREY)])

    return Panel("QMP", 1.25 * LANE_INCHES * len(names), draw)


def _chardevs(recording: Recording, window: Window) -> Panel:
    """Ends and returns of the chardev connections, and when lines came from the guest."""
    ticks, names = chardev_ticks(recording), chardev_names(recording)
    if not names:
        return empty("chardevs", "no chardev was opened")

    def draw(ax: Axes) -> None:
        lanes(ax, ticks, window, names)
        clock = (recording.clocks.told("host"), GREY)
        lined = False
        for row, name in enumerate(names):
            times = chardev_lines(recording, name, window)
            inside = times[(times >= window[0]) & (times <= window[1])]
            ax.vlines(inside[:MAX_TICKS], row + 0.02, row + 0.2, color=BLUE, linewidth=0.6, alpha=0.7)
            lined |= bool(len(inside))
        note(ax, [*([("lines from the guest", BLUE)] if lined else []), clock])

    return Panel("chardevs", 1.0 * LANE_INCHES * len(names), draw)


def _trace(recording: Recording, window: Window) -> Panel:
    """What the host kernel traced."""
    title, blind = "host kernel", unseen(recording.timeline, "trace", "host kernel")
    if not recording.timeline.starting("trace."):
        return empty(title, blind or "the host kernel was not traced")
    ticks = trace_ticks(recording)
    usual = ["unmap", "map", "sched_process_exec"]
    names = [*sorted({t.lane for t in ticks} - set(usual)), *usual]

    def draw(ax: Axes) -> None:
        lanes(ax, ticks, window, names, quiet="none")
        note(ax, [*([(blind, RED)] if "blind" in blind else []), (recording.clocks.told("host"), GREY)])

    return Panel(title, 0.7 * LANE_INCHES * len(names), draw)


def lanes(ax: Axes, ticks: Sequence[Tick], window: Window, names: Sequence[str], quiet: str = "") -> None:
    """Ticks in named lanes, their labels never on top of each other."""
    for row, name in enumerate(names):
        inside = sorted(
            (t for t in ticks if t.lane == name and window[0] <= t.t_s <= window[1]), key=lambda t: t.t_s
        )
        for tick in inside[:MAX_TICKS]:
            top = 0.3 if tick.text else 0.7
            ax.vlines(tick.t_s, row + 0.06, row + top, color=RED if tick.bad else BLACK, linewidth=1.4)
        _label(ax, inside, row, window)
        told = quiet if not inside else (times_words(len(inside)) if not inside[0].text else "")
        ax.text(1.004, row + 0.2, told, transform=ax.get_yaxis_transform(), va="center", color=GREY)
    ax.set_yticks([row + 0.2 for row in range(len(names))], names)
    ax.set_ylim(0, len(names))


def times_words(count: int) -> str:
    """How often, in words."""
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
