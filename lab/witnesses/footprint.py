"""What must not add up over many updates."""

from lab.drivers.agent import HostAgent
from lab.timeline import Recorder
from lab.witnesses.blind import blind_if_refused


def footprint(agent: HostAgent, recorder: Recorder, pid: int, *, update: int) -> None:
    """Record `host.footprint`, as lab/agents/host/footprint.py gives it, after an update; 0: before any."""
    with blind_if_refused(recorder, "footprint"):
        recorder.record("host.footprint", update=update, **agent.footprint(pid))
