"""Brings times of any source's clock onto the controller's clock."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lab.streams import GUEST
from lab.timeline import Event

Times = NDArray[np.int64]
Pair = tuple[int, int]
CONTROLLER = "controller"
HOST_WALL = "host-wall"
"""The clock by which QEMU stamps its own events."""


class Clocks:
    """Converts with the `clock.sync` before or after a time, whichever belongs to it.

    The guest's clock stands still from STOP to RESUME, so that its offset changes with every
    update: the earlier sync holds up to the stop, the later one after it. Any other clock goes on,
    and the nearest sync holds.
    """

    def __init__(self, events: Sequence[Event]) -> None:
        nowhere = np.zeros(0, np.int64)
        self._segments: dict[str, tuple[Times, Times]] = {CONTROLLER: (nowhere, np.zeros(1, np.int64))}
        self.standstills: list[Pair] = []
        """When the guest's clock stood still, in controller time, where both sides of it were synced."""
        syncs: dict[str, list[Pair]] = {}
        for event in events:
            if event.kind == "clock.sync":
                offset = int(event.data["offset_ns"])
                syncs.setdefault(event.data["source"], []).append((event.t_ns - offset, offset))
        for source in sorted(syncs, key=lambda source: source == GUEST):  # its stops are told by another's
            stops = list(self._stops(events)) if source == GUEST else []
            self._segments[source] = self._joined_syncs(sorted(syncs[source]), stops)

    def _joined_syncs(self, pairs: Sequence[Pair], stops: Sequence[Pair]) -> tuple[Times, Times]:
        parts = [(pairs[0][0], pairs[0][1])]
        for before, after in pairwise(pairs):
            inside = [one for one in stops if sum(before) < one[0] and one[1] < sum(after)]
            if not inside:
                parts.append(_halfway(before, after))
                continue
            for stood_at, offset in _joined(before, after, inside):
                if offset > parts[-1][1]:
                    self.standstills.append((stood_at + parts[-1][1], stood_at + offset))
                parts.append((stood_at, offset))
        starts, offsets = np.array(parts, np.int64).T
        return starts[1:], offsets

    def knows(self, source: str) -> bool:
        """Whether the source was ever synced."""
        return source in self._segments

    def told(self, source: str) -> str:
        """Words for the source's clock, as a picture names it."""
        stopped = ", joined over its stop" if source == GUEST and self.standstills else ""
        return f"{source} clock{stopped}"

    def controller_ns(self, source: str, t_src_ns: ArrayLike) -> Times:
        """Times of `source` as controller times.

        Raises:
            KeyError: if the source was never synced.
        """
        times = np.asarray(t_src_ns, np.int64)
        starts, offsets = self._segments[source]
        return np.asarray(times + offsets[np.searchsorted(starts, times)], np.int64)

    def source_ns(self, source: str, t_ns: int) -> int:
        """A controller time on the source's clock; while that stands still, the time it stands at.

        Raises:
            KeyError: if the source was never synced.
        """
        starts, offsets = self._segments[source]
        begins = np.maximum.accumulate(starts + offsets[1:])
        at = int(np.searchsorted(begins, t_ns))
        found = t_ns - int(offsets[at])
        return min(found, int(starts[at])) if at < len(starts) else found

    def event_ns(self, event: Event, source: str) -> int:
        """When it happened by the source's clock; when it was heard of, if that is not known."""
        return self._or_heard(event, source, "t_src_ns")

    def qemu_ns(self, event: Event) -> int:
        """When QEMU says that its event happened; when it was heard of, if that is not known."""
        return self._or_heard(event, HOST_WALL, "t_host_ns")

    def _or_heard(self, event: Event, source: str, field: str) -> int:
        told_ns = event.data.get(field)
        if told_ns is None or not self.knows(source):
            return event.t_ns
        return int(self.controller_ns(source, told_ns))

    def _stops(self, events: Iterable[Event]) -> Iterator[Pair]:
        """From STOP to RESUME, in controller time; to the end of the update if nobody heard RESUME."""
        stopped: int | None = None
        for event in events:
            name = event.data.get("name") if event.kind == "qmp.event" else event.kind
            if name == "STOP":
                stopped = self.qemu_ns(event)
            elif name in ("RESUME", "cpr.ok", "cpr.fail", "cpr.info") and stopped is not None:
                yield stopped, max(self.qemu_ns(event), stopped)
                stopped = None


def _halfway(before: Pair, after: Pair) -> Pair:
    return before[0] + (after[0] - before[0]) // 2, after[1]


def _joined(before: Pair, after: Pair, stops: Sequence[Pair]) -> list[Pair]:
    """Where the source's clock stood still, and its offset from there on, a pair a stop.

    The offset grew by what the clock lost; of several stops, each has its share by length.
    """
    parts = []
    whole = sum(end - start for start, end in stops)
    passed, offset = 0, before[1]
    for start, end in stops:
        stood_at = min(max(start - offset, before[0]), after[0])
        passed += end - start
        offset = before[1] + (after[1] - before[1]) * passed // max(whole, 1)
        parts.append((stood_at, offset if passed < whole else after[1]))
    return parts
