"""An assigned function as the host sees it: configuration space and driver."""

from lab.drivers.agent import HostAgent
from lab.timeline import Recorder
from lab.witnesses.blind import blind_if_refused


def device(agent: HostAgent, recorder: Recorder, bdf: str, *, when: str, update: int) -> None:
    """Record `host.device`: what a reset would clear, and the resets that the kernel's log knows of."""
    with blind_if_refused(recorder, "device"):
        recorder.record("host.device", when=when, update=update, **agent.device(bdf))
