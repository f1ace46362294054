"""The panels of the loads: one a load, in it a lane a stream, as the record declares them."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from lab.report import picture_panels as base
from lab.report.picture_data import Columns, Gap, Recording, Seconds, load_ticks, longest_gap
from lab.report.picture_panels import BLACK, BLUE, GREY, ORANGE, RED, Panel, Window
from lab.streams import GUEST, StreamFacts

BIN_S = 0.02
FILLED = 0.66  # of a lane's height; words stand above
TITLE_CHARACTERS = 90
DEVICE_WORDS = ("name", "model", "driver", "bdf")


def panels(recording: Recording, window: Window) -> list[Panel]:
    """A panel for each load of the record, in the order they were started."""
    found = [_panel(recording, load, window) for load in recording.loads]
    return found or [base.empty("load", "no load was started")]


def device(data: Mapping[str, Any]) -> str:
    """What load.start says of the device: its names, wherever they stand, and what it is given to do."""
    parts = [data, *(value for value in data.values() if isinstance(value, dict))]
    told = [str(part[word]) for word in DEVICE_WORDS for part in parts if _is_word(part.get(word))]
    rate, size = data.get("rate_hz"), data.get("block_bytes")
    if isinstance(rate, int | float):
        told.append(f"{rate:.3g} blocks/s" + (f" of {size_words(size)}" if isinstance(size, int) else ""))
    return ", ".join(dict.fromkeys(told))


def size_words(size: int) -> str:
    """Bytes for people."""
    for unit, one in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= one and size % one == 0:
            return f"{size // one} {unit}"
    return f"{size} bytes"


def _is_word(told: Any) -> bool:
    return isinstance(told, str) and told != ""


def _panel(recording: Recording, load: str, window: Window) -> Panel:
    start = recording.timeline.of("load.start", load=load)[-1].data
    streams = recording.of_load(load)
    told = textwrap.shorten(device(start), TITLE_CHARACTERS, placeholder=" …")
    title = f"{load}: {told}" if told else load
    if not streams:
        return base.empty(title, "this load declared no streams")

    def draw(ax: Axes) -> None:
        ax.set_ylim(0, len(streams))
        ax.margins(x=0)
        for row, stream in enumerate(reversed(streams)):
            _Lane(ax, recording, stream, row, window).draw()
        _names(ax, list(reversed(streams)))
        still = any(_inside(s) for s in streams) and recording.standstills()
        words = [("▥ the guest's clock stood still", GREY)] if still else []
        base.note(ax, [*words, ("received", BLUE), ("sent", BLACK)])

    return Panel(title, 1.35 * base.LANE_INCHES * len(streams), draw)


def _names(ax: Axes, streams: Sequence[StreamFacts]) -> None:
    """What each lane is, and by whose clocks."""
    ax.set_yticks([row + 0.52 for row in range(len(streams))], [stream.name for stream in streams])
    ax.set_yticks([row + 0.2 for row in range(len(streams))], list(map(clocks, streams)), minor=True)
    ax.tick_params(axis="y", which="both", length=0)
    ax.tick_params(axis="y", which="minor", labelsize=7, labelcolor=GREY)
    for row in range(1, len(streams)):
        ax.axhline(row, color="#cccccc", linewidth=0.6)


def clocks(stream: StreamFacts) -> str:
    """Whose clocks saw a stream, in words."""
    told = f"{stream.sender} → {stream.receiver} clock"
    if stream.sender == stream.receiver:
        told = f"{stream.sender} clock"
    return told


def _inside(stream: StreamFacts) -> bool:
    return stream.sender == stream.receiver == GUEST


class _Lane:
    """One stream's part of its load's panel."""

    def __init__(self, ax: Axes, recording: Recording, stream: StreamFacts, row: int, window: Window) -> None:
        self._ax, self._recording, self._stream = ax, recording, stream
        self._row, self._window = row, window
        self._edges = np.arange(window[0], window[1] + BIN_S, BIN_S)

    def draw(self) -> None:
        """Blocks sent and received per bin, the longest gap named, and what went wrong."""
        received = self._recording.table(self._stream.received, self._window)
        sent = self._recording.table(self._stream.sent, self._window)
        if isinstance(received, str):
            self._words(received, color=GREY, style="italic")
            self._bars(None if isinstance(sent, str) else sent[0], None)
            return
        times, rows = received
        if _inside(self._stream):
            self._hatch()
        self._bars(None if isinstance(sent, str) else sent[0], None if self._stream.sampled else times)
        if self._stream.sampled:
            self._looks(times)
        self._gap(times, self._in_flight(sent, received))
        self._wrong(times[rows["good"] == 0] if "good" in rows else times[:0])

    def _bars(self, sent: Seconds | None, received: Seconds | None) -> None:
        """Blocks per bin, of both ends on one scale; a tip on what is higher than there is room."""
        binned = [None if one is None else np.histogram(one, self._edges)[0] for one in (sent, received)]
        top = base.scale([one for one in binned if one is not None])
        for counts, colour, at in ((binned[1], BLUE, 0.42), (binned[0], BLACK, 0.14)):
            if counts is None:
                continue
            heights = self._row + FILLED * np.minimum(counts / top, 1)
            bars = self._ax.stairs(heights, self._edges, baseline=self._row, color=colour, fill=at > 0.4)
            bars.set(alpha=0.75) if at > 0.4 else bars.set(linewidth=0.7)
            cut = self._edges[:-1][counts > top] + BIN_S / 2
            self._ax.plot(cut, np.full(len(cut), self._row + FILLED), "^", color=colour, markersize=3.5)
            self._aside(f"≤ {int(counts.max(initial=0))} / {BIN_S * 1000:.0f} ms", self._row + at, colour)

    def _aside(self, text: str, at: float, colour: str) -> None:
        self._ax.text(
            1.004, at, text, transform=self._ax.get_yaxis_transform(), va="center", fontsize=7, color=colour
        )

    def _looks(self, times: Seconds) -> None:
        """Each look at the stream; it is not seen between two of them."""
        inside = times[(times >= self._window[0]) & (times <= self._window[1])]
        self._ax.vlines(inside, self._row, self._row + FILLED, color=BLUE, linewidth=2)
        self._aside(f"{len(inside)} looks", self._row + 0.42, BLUE)

    def _hatch(self) -> None:
        for start, end in self._recording.standstills():
            self._ax.add_patch(
                Rectangle(
                    (start, self._row),
                    end - start,
                    1,
                    fill=False,
                    hatch="|||",
                    edgecolor="#aaaaaa",
                    linewidth=0,
                )
            )

    def _in_flight(self, sent: tuple[Seconds, Columns] | str, received: tuple[Seconds, Columns]) -> int:
        """Blocks surely sent before the guest's clock stood still within the window, and received after."""
        stills = [s for s in self._recording.standstills() if self._window[0] < s[0] < self._window[1]]
        if isinstance(sent, str) or not _inside(self._stream) or not stills:
            return 0
        (start, end), error_s = stills[0], self._recording.pause_error_s()
        before = sent[1]["seq"][sent[0] < start - error_s]
        return int(np.isin(received[1]["seq"][received[0] > end + error_s], before).sum())

    def _gap(self, times: Seconds, flying: int) -> None:
        """Shade the longest gap; say how much of it the stream's own clock saw."""
        until = self._recording.loaded_until(self._stream.load, self._window[1])
        found = longest_gap(times, self._window[0], until)
        if found is None or found[1] - found[0] < base.SHORTEST_GAP_S:
            return
        left, right = max(found[0], self._window[0]), min(found[1], self._window[1])
        self._ax.add_patch(
            Rectangle((left, self._row), right - left, 1, color=ORANGE, alpha=0.3, linewidth=0)
        )
        text = base.gap_words(
            found, self._window, "longest time between looks" if self._stream.sampled else "gap"
        )
        if _inside(self._stream) and np.isfinite(found[1]):
            text += f", {(found[1] - found[0] - self._stood(found)) * 1000:.0f} ms by the guest's clock"
        if flying:
            text += f", at least {flying} in flight"
        self._words(text, (left + right) / 2, weight="bold")

    def _stood(self, gap: Gap) -> float:
        """How much of a gap the guest's clock does not know of."""
        stills = self._recording.standstills()
        return float(sum(max(0.0, min(gap[1], end) - max(gap[0], start)) for start, end in stills))

    def _words(self, text: str, at: float | None = None, **style: Any) -> None:
        """Words in the upper part of the lane, within the window."""
        centre = sum(self._window) / 2 if at is None else base.centred(at, text, self._window)
        self._ax.text(centre, self._row + 0.96, text, ha="center", va="top", bbox=base.HALO, **style)

    def _wrong(self, damaged: Seconds) -> None:
        ticks = [t for t in load_ticks(self._recording, self._stream) if self._window[0] <= t.t_s]
        ticks = [t for t in ticks if t.t_s <= self._window[1]]
        times = np.concatenate((damaged, [tick.t_s for tick in ticks]))
        self._ax.plot(times, np.full(len(times), self._row + 0.5), "x", color=RED)
        told = sorted({tick.text for tick in ticks} | ({"damaged"} if len(damaged) else set()))
        self._aside(", ".join(told), self._row + 0.7, RED)
