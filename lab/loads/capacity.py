"""What a load's path carries here and now: the load itself, run too fast for a moment, unrecorded."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from lab.loads import Agent, Epoch, Load
from lab.loads.running import Running

PROBE_S = 1.5
"""Long enough for some hundred blocks under emulation, and a few of a slow DMA engine."""
FIRST_TIMEOUT_S = 30.0


class Unrecorded:
    """A receiver that forgets what it gets."""

    def event(self, kind: str, data: Mapping[str, Any]) -> None: ...

    def rows(self, table: str, columns: Mapping[str, NDArray[Any]]) -> None: ...


def measured_hz(load: Load, guest: Agent, epoch: Epoch) -> float:
    """Blocks per second in the slowest of its streams, asked for more than that; 0 if none passed.

    Raises:
        BenchError: it could not be started.
    """
    probe = replace(load, name=f"{load.name}-probe", rate_hz=load.probe_hz)  # type: ignore[type-var]
    with probe.running(guest, Unrecorded(), epoch) as running:
        assert isinstance(running, Running)
        running.settle(blocks=1, timeout_s=FIRST_TIMEOUT_S)
        before, start_s = running.passed(), time.monotonic()
        time.sleep(PROBE_S)  # not for a condition: what passes in this time is what is measured
        after, took_s = running.passed(), time.monotonic() - start_s
    return min(after[stream] - before[stream] for stream in after) / took_s
