"""What the guest was told is on the medium, is.

Source: QEMU docs/devel/migration/CPR.rst, cpr-exec: assigned devices go on working through the update. So a
write that a disk completed lies on it, and neither old nor new QEMU makes it write anything else.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lab.checkers.findings import Findings
from lab.checkers.tables import Column, ascending, counts, pieces, whole
from lab.checkers.updates import completed, fresh_epoch
from lab.timeline import Event, Timeline
from lab.verdict import Verdict

_HEAD = 5
_WANTED = ("slot", "seq", "good")
Numbers = NDArray[np.uint64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class MediumIntact:
    """Every slot holds the last block that the guest was told is written, or one put later.

    Reads: tables <load>.write.sent, <load>.write.received and <load>.medium, read after the guest was gone;
        load.medium, .start, .stop, .unreachable; witness.blind; epoch; cpr.*.
    outcome: how updates must have ended: "ok", or "fail" where a refusal is what is expected
    """

    load: str
    outcome: str = "ok"

    @property
    def __name__(self) -> str:
        return f"medium_intact({self.load})"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        done = completed(found, timeline, self.outcome)
        complete = self._complete(found, timeline)
        reading = self._reading(found, timeline)
        sent = whole(found, timeline, f"{self.load}.write.sent")
        received = whole(found, timeline, f"{self.load}.write.received")
        medium = whole(found, timeline, f"{self.load}.medium", _WANTED)
        if sent is None or received is None or medium is None or reading is None:
            return found.verdict()
        fresh = counts(received["epoch"][received["good"] != 0])
        for update in done:
            epoch = fresh_epoch(found, timeline, update)
            if epoch is not None and not fresh[epoch]:
                found.gap(f"no write of epoch {epoch} was acknowledged after {update.name}", update.done)
        if not ascending(sent["seq"], strictly=True):
            found.gap("the sender's record is not strictly ascending")
            return found.verdict()
        acknowledged = received["seq"][received["good"] != 0]
        rows = _Rows(medium["slot"], medium["seq"], medium["good"] != 0)
        _judge(found, reading, rows, sent["seq"], acknowledged, complete)
        return found.verdict()

    def _complete(self, found: Findings, timeline: Timeline) -> bool:
        """Whether the load told all it did; a gap if not."""
        lost = timeline.of("load.unreachable", load=self.load)
        if lost:
            found.gap(f"lost contact with the load: {lost[0].data.get('reason', 'no reason given')}", lost[0])
        stops = timeline.of("load.stop", load=self.load)
        if not stops:
            found.gap("the load was never stopped: what was in flight at the end is not known")
        elif not stops[-1].data.get("drained"):
            found.gap("the load was not drained when it stopped", stops[-1])
        elif not lost:
            return True
        return False

    def _reading(self, found: Findings, timeline: Timeline) -> Event | None:
        """The event that tells of the reading; None, and a gap, if there is none to rely on."""
        told = timeline.of("load.medium", load=self.load)
        if not told:
            blind = timeline.of("witness.blind", witness=f"medium-{self.load}")
            why = f": {blind[0].data.get('reason', 'no reason given')}" if blind else ""
            found.gap("nobody read the medium" + why, *blind[:1])
            return None
        stops = timeline.of("load.stop", load=self.load)
        if stops and told[-1].index < stops[-1].index:
            found.gap("the medium was read while the load still ran", told[-1])
            return None
        slots = told[-1].data.get("slots")
        if not isinstance(slots, int) or slots < 1:
            found.gap("nobody told how many slots the medium has", told[-1])
            return None
        starts = timeline.of("load.start", load=self.load)
        if starts and starts[-1].data.get("slots", slots) != slots:
            text = f"the load had {starts[-1].data['slots']} slots, and the medium was read as if {slots}"
            found.gap(text, starts[-1], told[-1])
            return None
        return told[-1]


@dataclass(frozen=True)
class _Rows:
    """What was read: of each row the slot, the block, and whether it is right in every bit."""

    slot: Column
    seq: Column
    good: Mask


def _judge(
    found: Findings, reading: Event, rows: _Rows, sent: Column, acknowledged: Column, complete: bool
) -> None:
    """complete: whether the load's record is; else what was put last may be missing from it."""
    slots = int(reading.data["slots"])
    if reading.data.get("read") != len(rows.slot):
        found.gap(f"{reading.data.get('read')} slots were read but {len(rows.slot)} recorded", reading)
    if int(rows.slot.max()) >= slots:
        found.gap(f"the record names slot {int(rows.slot.max())} of {slots}", reading)
        return
    # numbers plus one, so that 0 is "none"
    told, asked = _last(acknowledged, slots), _last(sent, slots)
    if not told.any():
        found.gap("no write was acknowledged")
        return
    here, last, put = rows.seq.astype(np.uint64) + np.uint64(1), told[rows.slot], asked[rows.slot]
    known = _among(rows.seq, sent)
    _wrong(found, reading, rows, ~rows.good & (put > 0), put > last, complete)
    stale = rows.good & (here < last)
    if stale.any():
        text = f"{_count(stale)} slots hold an older block than the guest was told is written: "
        found.defect(text + _listed(rows, stale), reading)
    _strange(found, reading, rows, rows.good & ~known & ~stale, complete)
    unread = told > 0
    unread[rows.slot] = False
    if unread.any():
        head = ", ".join(map(str, np.flatnonzero(unread)[:_HEAD].tolist()))
        found.gap(f"{_count(unread)} slots with an acknowledged write were not read: slot {head}", reading)
    later = _count(rows.good & known & (here > last))
    found.fact(f"{_count(told > 0)} slots hold what the guest was told is written", reading)
    if later:
        found.fact(f"in {later} lies a block that was put later and never acknowledged", reading)


def _wrong(
    found: Findings, reading: Event, rows: _Rows, wrong: Mask, overwriting: Mask, complete: bool
) -> None:
    """Slots whose content is not right; a write that never ended may have left anything in its slot."""
    excused = wrong & (overwriting | (not complete))
    if (wrong & ~excused).any():
        text = f"{_count(wrong & ~excused)} slots hold wrong bytes: "
        found.defect(text + _listed(rows, wrong & ~excused), reading)
    if excused.any():
        why = "where a write was never acknowledged" if complete else "and the load's record is not complete"
        found.gap(f"{_count(excused)} slots hold wrong bytes, {why}: {_listed(rows, excused)}", reading)


def _strange(found: Findings, reading: Event, rows: _Rows, strange: Mask, complete: bool) -> None:
    if not strange.any():
        return
    text = f"{_count(strange)} slots hold a block that nobody wrote: {_listed(rows, strange)}"
    if complete:
        found.defect(text, reading)
    else:
        found.gap(f"{text}, but the load's record is not complete", reading)


def _last(seqs: Column, slots: int) -> Numbers:
    """Of each slot the last block in it, plus one; 0 if there is none."""
    last: Numbers = np.zeros(slots, np.uint64)
    for piece in (seqs[p].astype(np.uint64) for p in pieces(len(seqs))):
        np.maximum.at(last, piece % np.uint64(slots), piece + np.uint64(1))
    return last


def _among(seqs: Column, sent: Column) -> Mask:
    """Which of them are in a strictly ascending column."""
    places = np.minimum(np.searchsorted(sent, seqs), len(sent) - 1)
    there: Mask = sent[places] == seqs
    return there


def _listed(rows: _Rows, which: Mask) -> str:
    head = np.flatnonzero(which)[:_HEAD]
    return ", ".join(f"slot {int(rows.slot[i])} (seq {int(rows.seq[i])})" for i in head)


def _count(mask: Mask) -> int:
    return int(np.count_nonzero(mask))
