"""The bench host's kernel log."""

from collections.abc import Iterator
from contextlib import contextmanager

from lab.drivers.agent import HostAgent
from lab.timeline import Recorder
from lab.witnesses.blind import blind_if_refused, working


@contextmanager
def kmsg(agent: HostAgent, recorder: Recorder) -> Iterator[None]:
    """Every message from now on as `log` {where: host}, as the host agent reads it."""
    agent.watch_kmsg()
    with working(recorder, "kmsg-host"):
        try:
            yield
        finally:
            agent.stop_watch("kmsg")


def prove_awake(agent: HostAgent, recorder: Recorder) -> None:
    """Have `witness.blind` recorded if the log was not read until now: a reader that died says nothing.

    The same of what QEMU prints.
    """
    with blind_if_refused(recorder, "kmsg-host"):
        agent.link.call("prove_awake")
