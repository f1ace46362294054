"""Who a QEMU process is, what it holds open, and the memory it is charged for."""

from lab.drivers.agent import HostAgent
from lab.timeline import Recorder
from lab.witnesses.blind import blind_if_refused


def process(agent: HostAgent, recorder: Recorder, pid: int, *, when: str, update: int) -> None:
    """Record `host.process`, `when` "before" or "after" an update.

    start_ticks and PID tell whether it is the same process, exe whether it was replaced, the inodes of its
    descriptors whether they are the same files. version is what the executable answers to --version.
    """
    with blind_if_refused(recorder, "process"):
        seen = agent.process(pid)
        # a replaced file reads "… (deleted)"; /proc/PID/exe still runs the one that is at work
        version = agent.qemu_version(f"/proc/{pid}/exe")
        recorder.record("host.process", when=when, update=update, version=version, **seen)
