"""The bench host's kernel log."""

from collections.abc import Iterator
from contextlib import contextmanager

from lab.drivers.agent import HostAgent
from lab.timeline import Recorder
from lab.witnesses.blind import working


@contextmanager
def kmsg(agent: HostAgent, recorder: Recorder) -> Iterator[None]:
    """Every message from now on as `log` {where: host}, as the host agent reads it."""
    agent.watch_kmsg()
    with working(recorder, "kmsg-host"):
        try:
            yield
        finally:
            agent.stop_watch("kmsg")
