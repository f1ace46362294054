"""IOMMU mappings and execs, traced by the bench host's kernel."""

from collections.abc import Iterator
from contextlib import contextmanager

from lab.drivers.agent import HostAgent
from lab.timeline import Recorder
from lab.witnesses.blind import working


@contextmanager
def trace(
    agent: HostAgent, recorder: Recorder, *, update: int, events: bool = True, gaps: bool = True
) -> Iterator[None]:
    """`trace.open`, `trace.event`, `trace.vcpu_gap` and `trace.close` by the host agent, around one update.

    Raises:
        AgentRefusal: on entry, if the kernel does not trace.
    """
    agent.watch_trace(update, events=events, gaps=gaps)
    with working(recorder, "trace"):
        try:
            yield
        finally:
            agent.unwatch_trace(update)
