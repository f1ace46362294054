"""The display goes on showing what the guest draws, also while QEMU is replaced.

Source: QEMU docs/devel/migration/CPR.rst, cpr-exec: VFIO devices keep their kernel state. A display
device that was reset shows nothing; one that has lost its DMA mappings shows old or foreign pictures.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lab.checkers.findings import Findings
from lab.checkers.losses import about
from lab.checkers.tables import Column, ascending, counts, whole
from lab.checkers.updates import Update, completed, fresh_epoch, seeing, updates
from lab.streams import StreamFacts, stream
from lab.timeline import Event, Timeline
from lab.verdict import Verdict

_NS_PER_MS = 1_000_000
_SHOWN = 5
Columns = Mapping[str, Column]


@dataclass(frozen=True)
class FramesShown:
    """What is seen on the display is always a picture the guest drew, every pixel right, never an old one.

    Screenshots are samples: not every picture need be seen, but one shortly before every update, one
    inside it, and one of the new epoch after it.

    Reads: load.start, which declares the stream <load>.frame; its tables .sent (guest clock) and
        .received (t_ns: the controller's clock before the shot was asked for; the shot was over at the
        next row); load.anomaly, .stop, .stalled, .unreachable; witness.blind of screen-<load>;
        clock.sync of the guest; epoch; cpr.*.
    near_ms:  a picture must have been seen this shortly before the update
    stale_ms: a picture is an old one if a newer one was surely on its way for so long; it is counted
        from the update's begin as long as the guest may stand still
    outcome:  how updates must have ended: "ok", or "fail" where a refusal is what is expected
    """

    load: str = "gpu"
    near_ms: int = 1000
    stale_ms: int = 2000
    outcome: str = "ok"

    @property
    def __name__(self) -> str:
        return f"frames_shown({self.load})"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        done = completed(found, timeline, self.outcome)
        facts = stream(timeline, f"{self.load}.frame")
        if facts is None:
            found.gap(f"no load declares the stream {self.load}.frame")
            return found.verdict()
        _anomalies(found, timeline, facts)
        _load(found, timeline, facts)
        received = whole(found, timeline, facts.received)
        sent = whole(found, timeline, facts.sent)
        if received is not None:
            _content(found, received)
            self._seen(found, timeline, done, received)
        if received is not None and sent is not None:
            self._drawn(found, timeline, facts, sent, received)
        return found.verdict()

    def _seen(self, found: Findings, timeline: Timeline, done: list[Update], received: Columns) -> None:
        """Pictures were seen before, inside and after every update, one after the other."""
        if not ascending(received["t_ns"]):
            found.gap("the controller's clock runs backwards in its own record")
            return
        good = received["good"] != 0
        seq = received["seq"][good].astype(np.int64)
        if len(back := np.flatnonzero(np.diff(seq) < 0)):
            pairs = ", ".join(f"{seq[i + 1]} after {seq[i]}" for i in back[:_SHOWN])
            found.defect(f"{len(back)} times the display went back to an older picture: seq {pairs}")
        found.fact(f"{len(seq)} pictures seen, every pixel right")
        fresh = counts(received["epoch"][good])
        for update in done:
            epoch = fresh_epoch(found, timeline, update)
            if epoch is not None and not fresh[epoch]:
                found.gap(f"no picture of epoch {epoch} was seen after {update.name}", update.done)
            inside = self._around(found, update, received["t_ns"], good)
            after = fresh[epoch] if epoch is not None else 0
            found.fact(f"{inside} inside and {after} after {update.name}", *update.events)

    def _around(self, found: Findings, update: Update, begun: Column, good: Column) -> int:
        """How many good pictures were surely taken inside an update."""
        # a shot was over when the next one began; of the last nobody knows
        over = np.append(begun[1:], np.iinfo(np.int64).max)
        start, end = update.invoke.t_ns, update.done.t_ns
        before = good & (begun >= start - self.near_ms * _NS_PER_MS) & (over <= start)
        inside = good & (begun >= start) & (over <= end)
        if not before.any():
            found.gap(f"no picture was seen in the {self.near_ms} ms before {update.name}", update.invoke)
        if not inside.any():
            found.gap(f"no picture was seen inside {update.name}", *update.events)
        return int(np.count_nonzero(inside))

    def _drawn(
        self, found: Findings, timeline: Timeline, facts: StreamFacts, sent: Columns, received: Columns
    ) -> None:
        """Every picture seen was drawn, and is not an old one."""
        if not (ascending(sent["seq"], strictly=True) and ascending(sent["t_ns"])):
            found.gap("the guest's record of its pictures is not in order")
            return
        good = received["good"] != 0
        seq, epoch, begun = (received[column][good] for column in ("seq", "epoch", "t_ns"))
        place = np.minimum(np.searchsorted(sent["seq"], seq), len(sent["seq"]) - 1)
        drawn = (sent["seq"][place] == seq) & (sent["epoch"][place] == epoch)
        unknown = ~drawn & (seq > sent["seq"][-1])
        if len(foreign := seq[~drawn & ~unknown]):
            found.defect(f"{len(foreign)} pictures seen were never drawn: seq {_listed(foreign)}")
        if unknown.any():
            _beyond(found, timeline, facts, seq[unknown])
        self._not_stale(found, timeline, sent, seq, begun)

    def _not_stale(
        self, found: Findings, timeline: Timeline, sent: Columns, seq: Column, begun: Column
    ) -> None:
        by = self._due(timeline, begun)
        limit = _surely_before(found, timeline, by)
        if limit is None:
            return
        newest = np.searchsorted(sent["t_ns"], limit, "right") - 1
        wanted = np.where(newest >= 0, sent["seq"][newest], 0)
        if len(stale := np.flatnonzero(seq < wanted)):
            pairs = ", ".join(f"{seq[i]} in place of {wanted[i]}" for i in stale[:_SHOWN])
            found.defect(f"{len(stale)} pictures seen were over {self.stale_ms} ms old: seq {pairs}")

    def _due(self, timeline: Timeline, begun: Column) -> NDArray[np.int64]:
        """By when a picture had to be on its way to be seen, by the controller's clock."""
        stale_ns = self.stale_ms * _NS_PER_MS
        by = begun.astype(np.int64) - stale_ns
        for update in updates(timeline):
            end_ns = update.end.t_ns + stale_ns if update.end else np.iinfo(np.int64).max
            paused = (begun >= update.invoke.t_ns) & (begun <= end_ns)
            by[paused] = np.minimum(by[paused], update.invoke.t_ns - stale_ns)
        return by


def _surely_before(found: Findings, timeline: Timeline, by: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Controller times on the guest's clock, as early as they can be; None and a gap if nobody knows.

    The guest's clock may stand still but never jumps ahead: a comparison made later puts a moment
    of it no earlier than it was. After an update that none followed nothing is known.
    """
    syncs = timeline.of("clock.sync", source="guest")
    if not syncs:
        found.gap("the guest clock was never compared with the controller's")
        return None
    for update in updates(timeline):
        if update.invoke.t_ns > syncs[-1].t_ns:
            found.gap(f"the guest clock was not compared after {update.name}", update.invoke)
            by = np.minimum(by, syncs[-1].t_ns)
            break
    later = np.searchsorted(np.array([sync.t_ns for sync in syncs]), by)
    chosen = np.minimum(later, len(syncs) - 1)
    offset = np.array([int(sync.data["offset_ns"]) + int(sync.data.get("error_ns", 0)) for sync in syncs])
    limit: NDArray[np.int64] = by - offset[chosen]
    return limit


def _anomalies(found: Findings, timeline: Timeline, facts: StreamFacts) -> None:
    seen: dict[str, list[Event]] = {}
    for event in timeline.of("load.anomaly"):
        if about(event, facts):
            seen.setdefault(str(event.data.get("what")), []).append(event)
    for what, events in sorted(seen.items()):
        words = (
            "times the guest could not show a picture"
            if what == "error"
            else f"{what} pictures on the display"
        )
        found.defect(f"{len(events)} {words}", *events[:_SHOWN])


def _content(found: Findings, received: Columns) -> None:
    if len(wrong := received["seq"][received["good"] == 0]):
        found.defect(f"{len(wrong)} pictures hold wrong pixels: seq {_listed(wrong)}")


def _load(found: Findings, timeline: Timeline, facts: StreamFacts) -> None:
    """What the load itself says of its running."""
    sees = seeing(found, timeline, f"screen-{facts.load}")
    first_end = next((u.end.index for u in updates(timeline) if u.end), len(timeline.events))
    for stalled in (e for e in timeline.of("load.stalled") if about(e, facts)):
        if stalled.index < first_end:
            found.gap("the load stalled before the update", stalled)
        elif sees:
            found.defect("the display showed no new pictures after the update: the load stalled", stalled)
    for behind in (e for e in timeline.of("load.behind") if about(e, facts)):
        found.gap("the load could not keep up, and told of its pictures too late", behind)
    for lost in (e for e in timeline.of("load.unreachable") if about(e, facts)):
        found.gap(f"lost contact with the load: {lost.data.get('reason', 'no reason given')}", lost)
    if not timeline.of("load.stop", load=facts.load):
        found.gap("the load was never stopped: its record may end too early")


def _beyond(found: Findings, timeline: Timeline, facts: StreamFacts, seq: Column) -> None:
    """Pictures newer than any that the guest told of."""
    stops = timeline.of("load.stop", load=facts.load)
    text = f"{len(seq)} pictures seen are newer than the guest's record: seq {_listed(seq)}"
    if stops and stops[-1].data.get("drained"):
        found.defect(text, stops[-1])
    else:
        found.gap(text)


def _listed(numbers: Column) -> str:
    return ", ".join(str(number) for number in np.unique(numbers)[:_SHOWN].tolist())
