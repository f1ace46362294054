"""Interrupts of an assigned function, as the host's kernel counts them."""

from lab.drivers.agent import HostAgent
from lab.timeline import Recorder
from lab.witnesses.blind import blind_if_refused


def interrupts(agent: HostAgent, recorder: Recorder, bdf: str, *, when: str, update: int) -> None:
    """Record `host.interrupts` {vectors: {name: count}}; no vectors at all means that none is set up."""
    with blind_if_refused(recorder, "interrupts"):
        recorder.record("host.interrupts", when=when, update=update, bdf=bdf, vectors=agent.interrupts(bdf))
