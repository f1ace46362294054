"""What a load's path carries here and now: the load itself, run too fast for a moment, unrecorded."""

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from lab.errors import BenchError
from lab.loads import Agent, Epoch, Load
from lab.loads.running import Running
from lab.waiting import wait_until

PROBE_BLOCKS = 100
PROBE_S = 4.0
"""A probe ends with so many blocks in every stream; after so long two are enough, as of a slow DMA engine."""
FEWEST_BLOCKS = 2
PROBE_TIMEOUT_S = 30.0


class Stamps:
    """A receiver that keeps of the blocks nothing but their times."""

    def __init__(self) -> None:
        self._t_ns: dict[str, list[int]] = defaultdict(list)

    def event(self, kind: str, data: Mapping[str, Any]) -> None: ...

    def rows(self, table: str, columns: Mapping[str, NDArray[Any]]) -> None:
        self._t_ns[table] += columns["t_ns"].tolist()

    def rate_hz(self, table: str) -> float:
        """Rows per second, by the clock of who saw them; a busy guest tells of them late."""
        t_ns = self._t_ns[table]
        return (len(t_ns) - 1) * 1e9 / max(1, max(t_ns) - min(t_ns)) if len(t_ns) > 1 else 0.0


def measured_hz(load: Load, guest: Agent, epoch: Epoch) -> float:
    """Blocks per second in the slowest of its streams, which are asked for more than that.

    Raises:
        BenchError: it could not be started, or nothing passed.
    """
    probe = replace(load, name=f"{load.name}-probe", rate_hz=load.probe_hz)  # type: ignore[type-var]
    stamps = Stamps()
    with probe.running(guest, stamps, epoch) as running:
        assert isinstance(running, Running)
        _wait(running)
    ends = {s.name: "sent" if s.sampled else "received" for s in load.streams}
    return min(stamps.rate_hz(f"{probe.name}.{stream}.{end}") for stream, end in ends.items())


def _wait(running: Running) -> None:
    end_s = time.monotonic() + PROBE_S

    def enough() -> bool:
        least = min(running.passed().values())
        return least >= (PROBE_BLOCKS if time.monotonic() < end_s else FEWEST_BLOCKS)

    what = f"a block of every stream of {running.load.name}"
    wait_until(enough, PROBE_TIMEOUT_S, what, error=BenchError)
