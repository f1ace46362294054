"""No DMA is lost, doubled, reordered or damaged while QEMU is replaced.

Source: QEMU docs/devel/migration/CPR.rst, cpr-exec: VFIO devices keep working because their
descriptors, and with them the kernel's mappings, survive the exec.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lab.checkers.account import Account
from lab.checkers.clocks import steady, window
from lab.checkers.findings import Findings
from lab.checkers.flight import in_flight
from lab.checkers.losses import about, blocks, content
from lab.checkers.tables import Column, ascending, between, counts, whole
from lab.checkers.updates import Update, completed, fresh_epoch, updates
from lab.streams import GUEST, StreamFacts, stream, streams
from lab.timeline import Timeline
from lab.verdict import Verdict

_NS_PER_MS = 1_000_000
Columns = Mapping[str, Column]


@dataclass(frozen=True)
class DmaIntact:
    """Every block sent is received once, in order, with the right bytes; and DMA goes on.

    Reads: load.start, which declares the stream; its tables .sent and .received; load.stop, .anomaly,
        .counters, .stalled, .unreachable; clock.sync; epoch; cpr.*; qmp.event STOP.
    stream:  such as nic.to-guest. What is seen from outside the guest is judged by that clock, which runs on
        while the guest does not; what begins and ends in the guest by the guest's
    near_ms: blocks must have passed this shortly before the update
    hole_ms: longest pause of a sender outside the guest inside the update; one that stood still while
        the guest did would have tested nothing
    outcome: how updates must have ended: "ok", or "fail" where a refusal is what is expected
    """

    stream: str
    near_ms: int = 1000
    hole_ms: int = 500
    outcome: str = "ok"

    def __post_init__(self) -> None:
        if self.stream.count(".") != 1:
            raise ValueError(f"a stream is named LOAD.STREAM, such as nic.to-guest, not {self.stream!r}")

    @property
    def __name__(self) -> str:
        return f"dma_intact({self.stream})"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        done = completed(found, timeline, self.outcome)
        facts = stream(timeline, self.stream)
        if facts is None:
            found.gap(f"no load declares the stream {self.stream}")
            return found.verdict()
        _anomalies(found, timeline, facts)
        _load(found, timeline, facts)
        sent = whole(found, timeline, facts.sent)
        received = whole(found, timeline, facts.received)
        if received is not None:
            content(found, received)
        if sent is None or received is None:
            return found.verdict()
        result = blocks(found, timeline, facts, sent["seq"], received["seq"])
        if result is not None:
            found.fact(f"{result.received} blocks {self.stream} intact")
            self._ran(found, timeline, done, facts, result, sent, received)
        return found.verdict()

    def _ran(
        self,
        found: Findings,
        timeline: Timeline,
        done: list[Update],
        facts: StreamFacts,
        result: Account,
        sent: Columns,
        received: Columns,
    ) -> None:
        """The load ran before, during and after every update."""
        table, clock = facts.outside or (facts.sent, GUEST)
        seen = sent if table == facts.sent else received
        if not ascending(seen["t_ns"]):
            found.gap(f"the {clock} clock runs backwards in its own record")
            return
        if clock != GUEST:  # the guest's stands still with it
            steady(found, timeline, clock)
        sent_in, received_in = counts(sent["epoch"]), counts(received["epoch"])
        for update in done:
            epoch = fresh_epoch(found, timeline, update)
            if epoch is not None and not (sent_in[epoch] and received_in[epoch]):
                found.gap(f"no block of epoch {epoch} was received after {update.name}", update.done)
            during = self._around(found, timeline, update, facts.sender, clock, seen["t_ns"], result)
            if facts.in_flight and self.outcome == "ok":
                during = self._flying(found, timeline, update, facts, sent, received)
            if epoch is not None:
                found.fact(f"{during} and {received_in[epoch]} after {update.name}", *update.events)

    def _flying(
        self,
        found: Findings,
        timeline: Timeline,
        update: Update,
        facts: StreamFacts,
        sent: Columns,
        received: Columns,
    ) -> str:
        """How many blocks were in flight through the pause; a gap if there was none in all of the load."""
        own = in_flight(timeline, update, sent, received)
        if own is None:
            found.gap(f"nobody knows when the guest was paused in {update.name}", *update.events)
            return "an unknown number in flight"
        others = [
            s for s in streams(timeline) if s.load == facts.load and s.in_flight and s.name != facts.name
        ]
        if not own and not any(_others_in_flight(timeline, update, other) for other in others):
            found.gap(
                f"no block was surely in flight when the guest was paused in {update.name}", *update.events
            )
        return f"{own} in flight through the pause"

    def _around(
        self,
        found: Findings,
        timeline: Timeline,
        update: Update,
        sender: str,
        clock: str,
        seen: Column,
        result: Account,
    ) -> str:
        at = window(found, timeline, clock, update)
        if at is None:
            return "an unknown number"
        # a clock is known to within the error: count only what was surely before or inside. A guest on a busy
        # machine is slow to tell the time, so the error may be as large as what is near
        begun_ns = at.start_ns - at.error_ns
        before = between(seen, begun_ns - self.near_ms * _NS_PER_MS, begun_ns - 1)
        inside = between(seen, at.start_ns + at.error_ns, at.end_ns - at.error_ns)
        if before.stop <= before.start:
            found.gap(f"no block passed in the {self.near_ms} ms before {update.name}", update.invoke)
        if sender == GUEST:  # which sends nothing while it is paused
            return f"{max(0, inside.stop - inside.start)} inside"
        if inside.stop <= inside.start:
            found.gap(f"no block was sent inside {update.name}", *update.events)
            return "0 inside"
        edges = np.concatenate(([at.start_ns], seen[inside], [at.end_ns]))
        hole_ms = int(np.diff(edges).max()) / _NS_PER_MS
        if hole_ms > self.hole_ms:
            found.gap(
                f"the sender stood still for {hole_ms:.0f} ms inside {update.name}, over {self.hole_ms} ms",
                *update.events,
            )
        if not (arrived := result.arrived(inside.start, inside.stop)):
            found.gap(f"none of the blocks sent inside {update.name} was received", *update.events)
        return f"{arrived} inside"


def _others_in_flight(timeline: Timeline, update: Update, other: StreamFacts) -> int:
    sent, received = (whole(Findings(""), timeline, table) for table in (other.sent, other.received))
    return 0 if sent is None or received is None else in_flight(timeline, update, sent, received) or 0


def _anomalies(found: Findings, timeline: Timeline, facts: StreamFacts) -> None:
    seen = [e for e in timeline.of("load.anomaly") if about(e, facts)]
    for what in sorted({str(e.data.get("what")) for e in seen}):
        events = [e for e in seen if str(e.data.get("what")) == what]
        found.defect(f"{len(events)} {what} blocks reported by the load", *events[:5])


def _load(found: Findings, timeline: Timeline, facts: StreamFacts) -> None:
    """What the load itself says of its running."""
    begun = updates(timeline)
    first_end = next((u.end.index for u in begun if u.end), len(timeline.events))
    for stalled in (e for e in timeline.of("load.stalled") if about(e, facts)):
        if stalled.index > first_end:
            found.defect(f"no DMA {facts.name} after the update: the load stalled", stalled)
        else:
            found.gap("the load stalled before the update", stalled)
    for behind in (e for e in timeline.of("load.behind") if about(e, facts)):
        found.gap("the load could not keep up, and told of its blocks too late", behind)
    for lost in (e for e in timeline.of("load.unreachable") if about(e, facts)):
        found.gap(f"lost contact with the load: {lost.data.get('reason', 'no reason given')}", lost)
    stops = timeline.of("load.stop", load=facts.load)
    if not stops:
        found.gap("the load was never stopped: what was in flight at the end is not known")
    elif not stops[-1].data.get("drained"):
        found.gap("the load was not drained when it stopped", stops[-1])
