"""The container that QEMU runs in: what it is, what it uses, and its agent's connection to the outside."""

from dataclasses import dataclass
from typing import Any

from lab.drivers.agent import HostAgent
from lab.errors import OutcomeUnknown
from lab.link import AgentRefusal
from lab.timeline import Recorder
from lab.witnesses.blind import blind_if_refused
from lab.witnesses.chardev import ChardevStream, GuestEnd, HostEnd

STREAM = "container"
_PORT = "cprlab.container"


@dataclass(frozen=True)
class ContainerLink:
    """The agent in a container, asked by way of the host agent: an `epochs.Agent`."""

    agent: HostAgent
    container: str

    @property
    def name(self) -> str:
        return f"agent in container {self.container}"

    def call(self, call: str, timeout_s: float = 30.0, **args: Any) -> Any:
        """Raises OutcomeUnknown if it does not answer: it ends with its container, and that is evidence."""
        try:
            return self.agent.container_call(self.container, call, timeout_s, args)
        except AgentRefusal as refusal:
            raise OutcomeUnknown(str(refusal)) from refusal


def container(agent: HostAgent, recorder: Recorder, name: str, pid: int, *, when: str, update: int) -> None:
    """Record `host.container`, `when` "before" or "after" an update; `pid` is QEMU's.

    {id, init, init_start_ticks, pid_namespace, cgroup, status, inside, qemu {pid, pid_inside, pid_namespace,
    cgroup}, memory {current, peak, max, events}, most {qemus, descriptors}}: peaks are since the last
    `before`
    """
    with blind_if_refused(recorder, "container"):
        seen = agent.container_look(name, pid, begin=when == "before")
        recorder.record("host.container", when=when, update=update, **seen)


def container_stream(agent: HostAgent, link: ContainerLink, recorder: Recorder) -> ChardevStream:
    """Numbered lines between the host agent and the agent in the container, begun now."""
    agent.stream_open(STREAM, "fd")
    link.call("streams_start", names=[_PORT])
    return ChardevStream(STREAM, HostEnd(agent, STREAM), GuestEnd(link, _PORT), recorder)
