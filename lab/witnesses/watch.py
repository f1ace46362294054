"""All witnesses of a case together: some watch throughout, some are asked around an update."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from lab.drivers.agent import HostAgent
from lab.epochs import Agent, Epochs
from lab.guest import Guest
from lab.incarnation import Incarnation
from lab.qemu.argv import STREAM_FD, STREAM_PATH
from lab.timeline import Recorder
from lab.witnesses.chardev import ChardevStream, GuestEnd, HostEnd
from lab.witnesses.clock import sync
from lab.witnesses.container import ContainerLink, container, container_stream
from lab.witnesses.device import device
from lab.witnesses.farends import FarEnds, Reported
from lab.witnesses.footprint import footprint
from lab.witnesses.interrupts import interrupts
from lab.witnesses.kmsg import kmsg, prove_awake
from lab.witnesses.memory import balloon, memory
from lab.witnesses.pfns import pfns
from lab.witnesses.pins import pins
from lab.witnesses.process import process
from lab.witnesses.trace import trace

LINES_HZ = 50.0
"""So many numbered lines a second go over each chardev, each way."""
BEHIND_S = 20.0
"""A guest on a busy machine was 9 s behind with the lines of its chardevs."""


@dataclass(frozen=True)
class Watch:
    """The witnesses of one guest.

    functions: BDFs on the bench host
    far:       far-end agents, by the name of their clock
    """

    agent: HostAgent
    guest: Guest
    far: Mapping[str, Agent]
    functions: Sequence[str]
    recorder: Recorder
    epochs: Epochs
    streams: Sequence[Reported]
    connections: FarEnds

    @classmethod
    @contextmanager
    def watching(
        cls,
        agent: HostAgent,
        guest: Guest,
        far: Mapping[str, Agent],
        functions: Sequence[str],
        recorder: Recorder,
        tick_ms: float = 10,
        stream_hz: float = LINES_HZ,
    ) -> Iterator["Watch"]:
        """Start everything that watches throughout, and open the first epoch.

        tick_ms:   period of the ticks of the guest's heart
        stream_hz: lines a second through each of the lab's own chardevs, each way
        """
        inside = [ContainerLink(agent, name)] if (name := guest.config.container) else []
        epochs = Epochs(recorder, [agent.link, guest.link, *inside, *far.values()], guest.epochs)
        with ExitStack() as stack:
            stack.enter_context(kmsg(agent, recorder))
            stack.enter_context(pins(agent, recorder, guest.pid))
            guest.link.call("heartbeat_start", tick_ms=tick_ms)
            streams: list[Reported] = [*_streams(agent, guest, recorder, stream_hz)]
            streams += [container_stream(agent, link, recorder) for link in inside]
            connections = FarEnds(agent, guest, recorder)
            watch = cls(agent, guest, far, functions, recorder, epochs, streams, connections)
            guest.followers.append(watch.follow)
            epochs.open_next()
            watch.sync_clocks()
            yield watch
            guest.epochs = epochs.number

    def follow(self, now: Incarnation) -> None:
        """Another process runs the guest: look at that one from now on."""
        self.agent.follow_pins(now.pid)
        self.agent.stream_move("stream-fd", "fd")
        self.agent.stream_move("stream-path", "path", now.config.stream_path)
        self.connections.follow(now.config)

    @contextmanager
    def update(self, number: int) -> Iterator[None]:
        """Ask the witnesses before an update, and after it once the load has settled inside."""
        self._snapshots("before", number)
        if number == 1:
            footprint(self.agent, self.recorder, self.guest.pid, update=0)
        yield
        self.report_streams(update=number, drain=False)
        self._snapshots("after", number)
        footprint(self.agent, self.recorder, self.guest.pid, update=number)

    @contextmanager
    def briefly(self, number: int) -> Iterator[None]:
        """As `update`, but for what every update is asked: interrupts and chardevs alone."""
        yield
        self.report_streams(update=number, drain=False, wait_s=BEHIND_S)
        self._interrupts("after", number)

    @contextmanager
    def traced(self, number: int) -> Iterator[None]:
        """Trace the bench host's kernel while new QEMU replaces the old one, then open a new epoch."""
        with trace(self.agent, self.recorder, update=number), self.connections.dense():
            yield
        self.renew(number)
        self.sync_clocks()

    def renew(self, number: int) -> None:
        """Open a new epoch after an update: what is seen of it is of afterwards."""
        self.connections.find_again()
        self.epochs.open_next()
        # counts that rise from here to the snapshots after the load settled rise in new QEMU
        self._interrupts("after", number)

    def sync_clocks(self) -> None:
        sources: dict[str, Agent] = {"host": self.agent.link, "guest": self.guest.link, **self.far}
        for source, link in sources.items():
            sync(self.recorder, source, link.call)
        sync(self.recorder, "host-wall", self.agent.link.call, "wall_clock")

    def report_streams(self, *, update: int, drain: bool, wait_s: float = 5.0) -> None:
        for stream in self.streams:
            stream.report(update=update, drain=drain, wait_s=wait_s)
        self.connections.report(update=update, drain=drain)

    def last_words(self) -> None:
        """What can be said only at the end: that no byte of a stream is missing, that the log was read."""
        self.report_streams(update=self.epochs.number - self.epochs.used - 1, drain=True)
        prove_awake(self.agent, self.recorder)

    def _snapshots(self, when: str, update: int) -> None:
        of, size_mib = self.guest.config.memory, self.guest.config.memory_mib
        process(self.agent, self.recorder, self.guest.pid, when=when, update=update)
        pid = self.guest.pid
        pfns(self.agent, self.recorder, pid, of, size_mib, when=when, update=update)
        memory(self.agent, self.recorder, pid, of, size_mib, when=when, update=update)
        if of.balloon:
            balloon(self.guest.monitor, self.recorder, when=when, update=update)
        if name := self.guest.config.container:
            container(self.agent, self.recorder, name, pid, when=when, update=update)
        self._interrupts(when, update)
        for bdf in self.functions:
            device(self.agent, self.recorder, bdf, when=when, update=update)

    def _interrupts(self, when: str, update: int) -> None:
        for bdf in self.functions:
            interrupts(self.agent, self.recorder, bdf, when=when, update=update)


def _streams(agent: HostAgent, guest: Guest, recorder: Recorder, stream_hz: float) -> list[ChardevStream]:
    # the processor of a guest on an emulated bench host has to do for all of them
    rate_hz = 2.0 if guest.config.chardevs else stream_hz
    ports = {"stream-fd": STREAM_FD, "stream-path": STREAM_PATH}
    if guest.kept:
        for chardev in ports:
            agent.link.call("stream_renew", chardev=chardev, rate_hz=rate_hz)
    else:
        agent.stream_open("stream-fd", "fd", rate_hz=rate_hz)
        agent.stream_open("stream-path", "path", guest.config.stream_path, rate_hz=rate_hz)
    guest.link.call("streams_start", names=list(ports.values()), rate_hz=rate_hz)
    if guest.kept:  # not before the guest has forgotten the numbers of the streams before
        for chardev in ports:
            agent.stream_begin(chardev)
    return [
        ChardevStream(chardev, HostEnd(agent, chardev), GuestEnd(guest.link, port), recorder)
        for chardev, port in ports.items()
    ]
