"""What a load's path carries here and now: the load itself, run too fast for a moment, unrecorded."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
    """A receiver that keeps of the blocks nothing but their times, and of the load how it was started."""

    def __init__(self) -> None:
        self.started: Mapping[str, Any] = {}
        self._t_ns: dict[str, list[int]] = defaultdict(list)

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        if kind == "load.start":
            self.started = data

    def rows(self, table: str, columns: Mapping[str, NDArray[Any]]) -> None:
        self._t_ns[table] += columns["t_ns"].tolist()

    def rate_hz(self, table: str) -> float:
        """Rows per second, by the clock of who saw them; a busy guest tells of them late."""
        t_ns = self._t_ns[table]
        return (len(t_ns) - 1) * 1e9 / max(1, max(t_ns) - min(t_ns)) if len(t_ns) > 1 else 0.0


@dataclass(frozen=True)
class Carried:
    """What passed while a load ran too fast.

    rates_hz: blocks per second by stream
    started:  data of its event load.start
    """

    rates_hz: Mapping[str, float]
    started: Mapping[str, Any]


def carried(load: Load, guest: Agent, epoch: Epoch, wait: Callable[[Running], None]) -> Carried:
    """Run a load unrecorded at its `probe_hz`, while `wait` does not return.

    Raises:
        BenchError: it could not be started; and what `wait` raises.
    """
    probe = replace(load, name=f"{load.name}-probe", rate_hz=load.probe_hz)  # type: ignore[type-var]
    stamps = Stamps()
    with probe.running(guest, stamps, epoch) as running:
        assert isinstance(running, Running)
        wait(running)
    ends = {s.name: "sent" if s.sampled else "received" for s in load.streams}
    rates = {stream: stamps.rate_hz(f"{probe.name}.{stream}.{end}") for stream, end in ends.items()}
    return Carried(rates, stamps.started)


def measured_hz(load: Load, guest: Agent, epoch: Epoch) -> float:
    """Blocks per second in the slowest of its streams, which are asked for more than that.

    Raises:
        BenchError: it could not be started, or nothing passed.
    """
    return min(carried(load, guest, epoch, _wait).rates_hz.values())


def _wait(running: Running) -> None:
    end_s = time.monotonic() + PROBE_S

    def enough() -> bool:
        least = min(running.passed().values())
        return least >= (PROBE_BLOCKS if time.monotonic() < end_s else FEWEST_BLOCKS)

    what = f"a block of every stream of {running.load.name}"
    wait_until(enough, PROBE_TIMEOUT_S, what, error=BenchError)
