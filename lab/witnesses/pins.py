"""Pinned pages, sampled through the update."""

from collections.abc import Iterator
from contextlib import contextmanager

from lab.drivers.agent import HostAgent
from lab.timeline import Recorder
from lab.witnesses.blind import working

PERIOD_MS = 60.0
"""Each 15 ms made a pause on an emulated bench host 23% longer (4 pairs, 95%: 12 to 111). The checker allows
a hole of 250 ms."""


@contextmanager
def pins(agent: HostAgent, recorder: Recorder, pid: int, *, period_ms: float = PERIOD_MS) -> Iterator[None]:
    """Rows of table `pins` every `period_ms`, with the VmLck and VmPin of one process.

    Raises:
        AgentRefusal: on entry, if the kernel has no pin counters or there is no such process.
    """
    agent.watch_pins(pid, period_ms)
    with working(recorder, "pins"):
        try:
            yield
        finally:
            agent.stop_watch("pins")
