"""The device's interrupts keep coming after QEMU was replaced.

Source: Linux Documentation/filesystems/proc.rst, /proc/interrupts; drivers/vfio/pci/vfio_pci_intrs.c.
"""

import re
from collections.abc import Mapping

from lab.checkers.findings import Findings
from lab.checkers.pfns import before_and_after
from lab.checkers.updates import Update, completed, seeing, updates
from lab.timeline import Event, Timeline
from lab.verdict import Verdict

LOST = re.compile(
    r"NETDEV WATCHDOG|Tx Unit Hang|transmit queue \d+ timed out|\btime(d )?out\b", re.IGNORECASE
)


def interrupts_flow(timeline: Timeline) -> Verdict:
    """No vector of the device disappears or starts anew, and some count rises after the update.

    Reads: host.interrupts {bdf, vectors}; log {where: guest}; guest.booted; cpr.*.
    Two snapshots after the update are needed: between the one before and the one after it,
    the interrupts of old QEMU alone would raise the count.
    """
    found = Findings("interrupts_flow")
    done = completed(found, timeline)
    seeing(found, timeline, "interrupts")
    seeing(found, timeline, "kmsg-guest")
    if not timeline.of("guest.booted"):
        found.gap("the guest's agent never came up, so nobody read the guest's log")
    for update in done:
        bdfs = sorted({str(e.data["bdf"]) for e in timeline.of("host.interrupts")})
        if not bdfs:
            found.gap(f"no host.interrupts was recorded around {update.name}", *update.events)
        for bdf in bdfs:
            pair = before_and_after(found, timeline, "host.interrupts", update, bdf=bdf)
            if pair is not None:
                _kept(found, update, bdf, *pair)
                _rises(found, timeline, update, bdf)
    _log(found, timeline)
    return found.verdict()


def _kept(found: Findings, update: Update, bdf: str, before: Event, after: Event) -> None:
    old, new = before.data["vectors"], after.data["vectors"]
    if not any(old.values()):
        found.gap(f"{bdf} had raised no interrupt before {update.name}", before)
    if gone := sorted(set(old) - set(new)):
        found.defect(f"{len(gone)} vectors of {bdf} are gone since {update.name}: {gone[0]}", before, after)
    if anew := sorted(v for v in old if v in new and int(new[v]) < int(old[v])):
        v = anew[0]
        found.defect(f"{v} counts anew since {update.name}: from {old[v]} to {new[v]}", before, after)


def _rises(found: Findings, timeline: Timeline, update: Update, bdf: str) -> None:
    later = [e for e in timeline.of("host.interrupts", bdf=bdf) if e.index > update.done.index]
    until = [e for e in later if e.index < update.until]
    if len(until) < 2:
        found.gap(
            f"only {len(until)} snapshot of {bdf}'s interrupts after {update.name}: "
            "take one right after it and one when the load has settled",
            *until,
        )
        return
    first, last = until[0], until[-1]
    risen = _risen(first.data["vectors"], last.data["vectors"])
    if not risen:
        found.defect(f"no interrupt of {bdf} came after {update.name}", first, last)
    found.fact(f"{sum(risen.values())} interrupts of {bdf} after {update.name}", first, last)


def _risen(old: Mapping[str, int], new: Mapping[str, int]) -> dict[str, int]:
    return {v: int(new[v]) - int(old.get(v, 0)) for v in new if int(new[v]) > int(old.get(v, 0))}


def _log(found: Findings, timeline: Timeline) -> None:
    begun = updates(timeline)
    first = begun[0].invoke.index if begun else 0
    logs = [e for e in timeline.of("log", where="guest") if e.index > first]
    if said := [e for e in logs if LOST.search(str(e.data.get("text", "")))]:
        found.defect(f"the guest's kernel says: {said[0].data['text']}", *said[:5])
