"""The guest's pause stays below a bound.

Source: the claim of the case; QEMU gives no figure of its own after cpr-exec (query-migrate has
no downtime then), and STOP to running by QMP overstates the pause 2 to 4 times.
"""

from dataclasses import dataclass

from lab.checkers.clocks import span, steady
from lab.checkers.findings import Findings
from lab.checkers.pauses import BEFORE_NS, SETTLE_NS, pauses, table_pause
from lab.checkers.tables import ascending, counts, longest_gap_ns, whole
from lab.checkers.updates import Update, completed, fresh_epoch
from lab.timeline import Timeline
from lab.verdict import Verdict

_TABLE = "nic.from-guest.received"
_NAME = "frames from the guest"


@dataclass(frozen=True)
class GuestPauseBelow:
    """Between two frames from the guest never passes so long, by the far end's clock.

    Reads: table nic.from-guest.received (and nic.to-guest.sent: if the far end itself stood
        still, its clock proves nothing); all that lab/checkers/pauses.py reads, to report.
    """

    seconds: float

    @property
    def __name__(self) -> str:
        return f"guest_pause_below({self.seconds:g} s)"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        done = completed(found, timeline)
        steady(found, timeline, "far")
        columns = whole(found, timeline, _TABLE)
        if columns is None:
            return found.verdict()
        if not ascending(columns["t_ns"]):
            found.gap("the far end's clock runs backwards in its own record")
            return found.verdict()
        received = counts(columns["epoch"])
        for update in done:
            epoch = fresh_epoch(found, timeline, update)
            if epoch is not None and not received[epoch]:
                found.gap(f"no frame of epoch {epoch} came from the guest after {update.name}", update.done)
            self._update(found, timeline, update)
        return found.verdict()

    def _update(self, found: Findings, timeline: Timeline, update: Update) -> None:
        pause = table_pause(timeline, update, "far", _TABLE, _NAME)
        if pause is None:
            found.gap(f"the frames from the guest do not span {update.name}", *update.events)
            return
        others = [p for p in pauses(timeline, update) if p.name != _NAME]
        told = ", ".join(f"{p.name} {p.seconds:.2f} s ({p.clock} clock)" for p in others)
        text = f"{pause.seconds:.2f} s without a frame from the guest (far clock) at {update.name}"
        if pause.seconds < self.seconds:
            found.fact(text + (f"; by other clocks: {told}" if told else ""), *update.events)
        elif _far_stood_still(timeline, update, self.seconds):
            found.gap(f"{text}, but the far end sent nothing either for as long", *update.events)
        else:
            found.defect(f"{text}, not below {self.seconds:g} s", *update.events)


def _far_stood_still(timeline: Timeline, update: Update, seconds: float) -> bool:
    columns = whole(Findings(""), timeline, "nic.to-guest.sent")
    at = span(timeline, "far", update.invoke.t_ns - BEFORE_NS, update.done.t_ns + SETTLE_NS)
    if columns is None or at is None or not ascending(columns["t_ns"]):
        return False
    gap_ns = longest_gap_ns(columns["t_ns"], at.start_ns, at.end_ns)
    return gap_ns is not None and gap_ns >= seconds * 1e9
