"""A load while it runs: starting, settling, draining, counters, totals. The same for every device."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from lab.errors import BenchError, SutError
from lab.link import AgentRefusal, Receiver
from lab.loads import Agent, Epoch, Load, Stream
from lab.loads.meter import BlockCounts, Meter

QUIET_S = 1.5
"""Rows come four times a second: when none came for so long, nothing is in flight."""
DRAIN_TIMEOUT_S = 30.0
START_TIMEOUT_S = 60.0
REACH_TIMEOUT_S = 20.0
"""A guest that lives may need so long: 17 s were seen to stop a load, nested on a controller under load."""
LOST_TIMEOUT_S = 1.0
"""For an agent that did not answer last time."""
SETTLED_S = 2.0
PATIENCE = 4
"""So many times longer is waited for a load to settle while its blocks keep coming."""
FEWEST_BLOCKS, MOST_BLOCKS = 4, 64
"""Blocks that make a load settled: those of two seconds, within bounds."""


class GuestSide:
    """The end of a load that the guest drives; it may stop answering at any time."""

    def __init__(self, load: Load, guest: Agent, evidence: Receiver) -> None:
        self._load, self._guest, self._evidence = load, guest, evidence
        self._patience_s = REACH_TIMEOUT_S

    def start(self) -> dict[str, Any]:
        """Start it; facts of the device.

        Raises:
            BenchError: it could not be started.
        """
        args = {"load": self._load.name, "kind": self._load.kind, "settings": self._load.settings()}
        try:
            facts: dict[str, Any] = self._guest.call("load_start", timeout_s=START_TIMEOUT_S, **args)
        except SutError as error:
            raise BenchError(f"the guest did not start the load {self._load.name}: {error}") from error
        return facts

    @property
    def gone(self) -> bool:
        """Whether it will never answer again."""
        return bool(self._guest.gone())

    def ask(self, call: str) -> Any:
        """The guest's answer; None, and load.unreachable on record, if it does not give one."""
        try:
            return self._guest.call(call, timeout_s=self._patience_s, load=self._load.name)
        except (SutError, AgentRefusal) as error:
            # a refusal: the guest or its agent is a new one and knows of no load
            self._patience_s = LOST_TIMEOUT_S
            data = {"load": self._load.name, "reason": str(error), "call": call}
            self._evidence.event("load.unreachable", data)
            return None

    def out_of_reach(self) -> str:
        """Why the guest cannot be asked; empty if it answers. Its answer comes behind all its rows."""
        try:
            self._guest.call("clock", timeout_s=self._patience_s)
        except SutError as error:
            self._patience_s = LOST_TIMEOUT_S
            return str(error)
        self._patience_s = REACH_TIMEOUT_S
        return ""


class FarSide:
    """The end of a load outside the guest; this one is of loads that have none."""

    def counters(self) -> dict[str, dict[str, int]]:
        """Counters by layer."""
        return {}

    def stop_sending(self) -> None:
        """Begin no new block."""

    def stop(self) -> Mapping[str, Mapping[str, Any]]:
        """Stop; what it counted, by stream."""
        return {}


class Running:
    """See `lab.loads.RunningLoad`; made by `run`."""

    def __init__(
        self,
        load: Load,
        guest: GuestSide,
        far: FarSide,
        evidence: Receiver,
        epoch: Epoch,
        counts: BlockCounts,
    ) -> None:
        self.load, self.guest, self.far, self.evidence = load, guest, far, evidence
        # for rows that neither end tells, but the controller
        self.receiver: Receiver = Meter(counts, load.name, evidence, evidence)
        self._epoch, self._counts = epoch, counts
        self._names = [stream.name for stream in load.streams]

    def settle(self, *, blocks: int | None = None, timeout_s: float = 30.0) -> None:
        """See `lab.loads.RunningLoad.settle`."""
        epoch, wanted = self._epoch.number, blocks or self._settled_blocks()

        def received(stream: str) -> int:
            return self._counts.good(self._table(stream, "received"), epoch)

        behind = {s.name for s in self.load.streams if not self._settled(s, epoch, wanted, timeout_s)}
        short = [stream for stream in self._names if received(stream) < wanted]
        reason = self.guest.out_of_reach() if short else ""
        for stream in self._names:
            data = {"load": self.load.name, "stream": stream, "epoch": epoch, "blocks": received(stream)}
            # asking took a while and brought all rows: what came by then has come
            if received(stream) >= wanted:
                self.evidence.event("load.settled", data)
            elif reason:
                self.evidence.event("load.unreachable", data | {"reason": reason})
            elif stream in behind:
                self.evidence.event("load.behind", data | {"wanted": wanted})
            else:
                self.evidence.event("load.stalled", data | {"wanted": wanted, "timeout_s": timeout_s})

    def _settled(self, stream: Stream, epoch: int, wanted: int, timeout_s: float) -> bool:
        """Wait until it has, or nothing comes any more; False if blocks still come after PATIENCE times that.

        An agent of a busy guest is behind: what it tells of first was sent long before. That a display is
        looked at again and again is no progress.
        """
        table = self._table(stream.name, "received")

        def settled() -> bool:
            return self._counts.good(table, epoch) >= wanted or self.guest.gone

        if stream.sampled:
            self._counts.wait_for(settled, timeout_s)
            return True
        return self._counts.wait_for_or_quiet(settled, timeout_s, (table,), PATIENCE * timeout_s)

    def passed(self) -> dict[str, int]:
        """Blocks received up to now, by stream; of a stream that is only sampled, those sent."""
        ends = {stream.name: "sent" if stream.sampled else "received" for stream in self.load.streams}
        return {stream: self._counts.blocks(self._table(stream, end)) for stream, end in ends.items()}

    def wait_for_first(self, stream: str, timeout_s: float) -> bool:
        """Whether the first block of a stream was sent in time."""
        table = self._table(stream, "sent")
        return self._counts.wait_for(lambda: self._counts.blocks(table) > 0, timeout_s)

    def tell_start(self, facts: Mapping[str, Any]) -> None:
        """Record what was started, and the counters it starts from."""
        load = self.load
        streams = {
            stream.name: {k: v for k, v in asdict(stream).items() if k != "name"} for stream in load.streams
        }
        data = {"load": load.name, "kind": load.kind, "streams": streams, "rate_hz": load.rate_hz}
        data |= {"block_bytes": load.block_bytes, "seed": load.seed, "sizing": load.sizing}
        self.evidence.event("load.start", data | dict(facts))
        self.record_counters("start")

    def record_counters(self, when: str) -> None:
        """Record the counters of all layers: "start" or "end"."""
        for where, values in ((self.guest.ask("load_counters") or {}) | self.far.counters()).items():
            data = {"load": self.load.name, "where": where, "when": when, "counters": values}
            self.evidence.event("load.counters", data)

    def finish(self) -> None:
        """Stop the senders, wait for what is in flight, record counters and totals."""
        guest_stopped = self.guest.ask("load_stop_sending")
        self.far.stop_sending()
        quiet = self._drain()
        self.record_counters("end")
        near, far = self.guest.ask("load_stop"), self.far.stop()
        told = {name: (near or {}).get(name, {}) | far.get(name, {}) for name in self._names}
        unread = any(one.pop("unread", False) for one in told.values())
        drained = quiet and not unread and None not in (guest_stopped, near)
        totals = {name: self._totals(one) for name, one in told.items()}
        self.evidence.event("load.stop", {"load": self.load.name, "totals": totals, "drained": drained})

    def _drain(self) -> bool:
        """Wait until all that was sent has arrived, or nothing arrives any more."""
        watched = [stream.name for stream in self.load.streams if not stream.sampled]

        def all_in() -> bool:
            return all(self._arrived(stream) for stream in watched)

        tables = tuple(self._table(stream, "received") for stream in watched)
        return self._counts.wait_for_or_quiet(all_in, QUIET_S, tables, DRAIN_TIMEOUT_S)

    def _arrived(self, stream: str) -> bool:
        sent, received = (self._counts.blocks(self._table(stream, end)) for end in ("sent", "received"))
        return received >= sent

    def _table(self, stream: str, end: str) -> str:
        return f"{self.load.name}.{stream}.{end}"

    def _settled_blocks(self) -> int:
        return round(min(MOST_BLOCKS, max(FEWEST_BLOCKS, self.load.rate_hz * SETTLED_S)))

    def _totals(self, told: dict[str, Any]) -> dict[str, Any]:
        """One stream's totals: `blocks` and `bytes` as the sender counted them; empty if it told nothing."""
        if "sent" not in told:
            return {}
        blocks = int(told.pop("sent"))
        return {"blocks": blocks, "bytes": blocks * self.load.block_bytes} | told


@contextmanager
def metered(
    load: Load, evidence: Receiver, epoch: Epoch, guest: Agent, far: tuple[Agent, FarSide] | None = None
) -> Iterator[Running]:
    """A load about to be started, whose blocks are counted; stopped and drained when the context is left.

    While it is open the links' receivers are the load's; what is not its own they pass on.
    """
    counts, links = BlockCounts(), [guest, *([far[0]] if far else [])]
    before = [link.receiver for link in links]
    for link in links:
        link.receiver = Meter(counts, load.name, evidence, link.receiver or evidence)
    side = far[1] if far else FarSide()
    running = Running(load, GuestSide(load, guest, evidence), side, evidence, epoch, counts)
    try:
        try:
            yield running
        finally:
            running.finish()
    finally:
        for link, receiver in zip(links, before, strict=True):
            link.receiver = receiver


@contextmanager
def run(load: Load, guest: Agent, evidence: Receiver, epoch: Epoch) -> Iterator[Running]:
    """Run a load that lives in the guest alone.

    Raises:
        BenchError: it could not be started. Once it runs, nothing the guest does raises.
    """
    with metered(load, evidence, epoch, guest) as running:
        running.tell_start(running.guest.start())
        yield running
