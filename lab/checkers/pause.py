"""The guest's pause stays below a bound.

Source: the claim of the case; QEMU gives no figure of its own after cpr-exec (query-migrate has
no downtime then), and STOP to running by QMP overstates the pause 2 to 4 times.
"""

from dataclasses import dataclass

from lab.checkers.clocks import span, steady
from lab.checkers.findings import Findings
from lab.checkers.pauses import (
    BEFORE_NS,
    SETTLE_NS,
    SignOfLife,
    pauses,
    sign_of_life,
    table_pause,
)
from lab.checkers.tables import Times, ascending, counts, longest_gap_ns, whole
from lab.checkers.updates import Update, completed, fresh_epoch
from lab.timeline import Timeline
from lab.verdict import Verdict


@dataclass(frozen=True)
class GuestPauseBelow:
    """Between two signs of life from the guest never passes so long, by a clock outside it.

    Reads: the table of `watched` (and one that its observer fills without the guest: if it stood
        still itself, it proves nothing); all that lab/checkers/pauses.py reads, to report.
    watched: a stream that a far end receives from the guest; or chardev.stream-fd, 50 lines a second as the
        host agent receives them, where there is no far end
    """

    seconds: float
    watched: str = "nic.from-guest"

    @property
    def __name__(self) -> str:
        return f"guest_pause_below({self.seconds:g} s)"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        done = completed(found, timeline)
        sign = sign_of_life(timeline, self.watched)
        if sign is None:
            found.gap(f"no load declares the stream {self.watched}, or nobody outside the guest receives it")
            return found.verdict()
        steady(found, timeline, sign.clock)
        columns = whole(found, timeline, sign.table)
        if columns is None:
            return found.verdict()
        times = Times(timeline)
        if times.of(sign.table) is None:
            found.gap(f"the {sign.clock} clock runs backwards in its own record")
            return found.verdict()
        received = counts(columns["epoch"])
        for update in done:
            epoch = fresh_epoch(found, timeline, update)
            if epoch is not None and not received[epoch]:
                found.gap(
                    f"no {sign.one} of epoch {epoch} came from the guest after {update.name}", update.done
                )
            self._update(found, times, update, sign)
        return found.verdict()

    def _update(self, found: Findings, times: Times, update: Update, sign: SignOfLife) -> None:
        pause = table_pause(times, update, sign.clock, sign.table, sign.name)
        if pause is None:
            found.gap(f"the {sign.name} do not span {update.name}", *update.events)
            return
        others = [p for p in pauses(times.timeline, update, times) if p.name != sign.name]
        told = ", ".join(f"{p.name} {p.seconds:.2f} s ({p.clock} clock)" for p in others)
        text = (
            f"{pause.seconds:.2f} s without a {sign.one} from the guest ({sign.clock} clock) at {update.name}"
        )
        if pause.seconds < self.seconds:
            found.fact(text + (f"; by other clocks: {told}" if told else ""), *update.events)
        elif _stood_still(times.timeline, update, sign, self.seconds):
            found.gap(f"{text}, but its observer stood still for as long", *update.events)
        else:
            found.defect(f"{text}, not below {self.seconds:g} s", *update.events)


def _stood_still(timeline: Timeline, update: Update, sign: SignOfLife, seconds: float) -> bool:
    columns = whole(Findings(""), timeline, sign.control, ("t_ns",))
    at = span(timeline, sign.clock, update.invoke.t_ns - BEFORE_NS, update.done.t_ns + SETTLE_NS)
    if columns is None or at is None or not ascending(columns["t_ns"]):
        return False
    gap_ns = longest_gap_ns(columns["t_ns"], at.start_ns, at.end_ns)
    return gap_ns is not None and gap_ns >= seconds * 1e9
