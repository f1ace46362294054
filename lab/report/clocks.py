"""Brings times of any source's clock onto the controller's clock."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lab.timeline import Event

Times = NDArray[np.int64]


class Clocks:
    """Converts with the nearest `clock.sync` of the source.

    The nearest one, not the first: kvmclock stops while the guest is paused, so that the guest's
    offset changes with every update.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        self._offsets: dict[str, tuple[Times, Times]] = {}
        syncs: dict[str, list[tuple[int, int]]] = {}
        for event in events:
            if event.kind == "clock.sync":
                offset = int(event.data["offset_ns"])
                syncs.setdefault(event.data["source"], []).append((event.t_ns - offset, offset))
        for source, pairs in syncs.items():
            pairs.sort()
            at, offsets = np.array(pairs, np.int64).T
            self._offsets[source] = at, offsets

    def knows(self, source: str) -> bool:
        """Whether the source was ever synced."""
        return source in self._offsets

    def controller_ns(self, source: str, t_src_ns: ArrayLike) -> Times:
        """Times of `source` as controller times.

        Raises:
            KeyError: if the source was never synced.
        """
        times = np.asarray(t_src_ns, np.int64)
        at, offsets = self._offsets[source]
        middles = at[:-1] + np.diff(at) // 2
        return np.asarray(times + offsets[np.searchsorted(middles, times)], np.int64)

    def source_ns(self, source: str, t_ns: int) -> int:
        """A controller time on the source's clock.

        Raises:
            KeyError: if the source was never synced.
        """
        at, offsets = self._offsets[source]
        nearest = int(np.argmin(np.abs(at + offsets - t_ns)))
        return t_ns - int(offsets[nearest])

    def event_ns(self, event: Event, source: str) -> int:
        """When it happened by the source's clock; when it was heard of, if that is not known."""
        t_src_ns = event.data.get("t_src_ns")
        if t_src_ns is None or not self.knows(source):
            return event.t_ns
        return int(self.controller_ns(source, t_src_ns))
