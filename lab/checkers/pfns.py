"""Guest memory stays in the same page frames of the host.

Source: Linux Documentation/admin-guide/mm/pagemap.rst. A device writes to page frames; if the
guest's pages moved, pinned or not, its DMA goes to somebody else's memory.
"""

from lab.checkers.findings import Findings
from lab.checkers.updates import Update, completed, seeing
from lab.timeline import Event, Timeline
from lab.verdict import Verdict

_NEEDED = 8


def pfns_unchanged(timeline: Timeline) -> Verdict:
    """Every sampled guest page has the same frame, in the same file, before and after.

    Reads: host.pfns {when, update, pages [[ram_offset, pfn, file_inode]]}; cpr.*.
    A page that the file does not hold (PFN below 1) is not compared; at least 8 must be.
    """
    found = Findings("pfns_unchanged")
    done = completed(found, timeline)
    seeing(found, timeline, "pfns")
    for update in done:
        pair = before_and_after(found, timeline, "host.pfns", update)
        if pair is not None:
            _compare(found, update, *pair)
    return found.verdict()


def before_and_after(
    found: Findings, timeline: Timeline, kind: str, update: Update, **data: object
) -> tuple[Event, Event] | None:
    """The last snapshot before an update and the first after it; a gap if one is missing."""
    before = [e for e in timeline.of(kind, when="before", **data) if e.index < update.invoke.index]
    after = [e for e in timeline.of(kind, when="after", **data) if update.done.index < e.index < update.until]
    previous = [e for e in before if e.data.get("update") == update.number]
    if previous and after:
        return previous[-1], after[0]
    found.gap(f"no {kind} was recorded {'after' if previous else 'before'} {update.name}", *update.events)
    return None


def _compare(found: Findings, update: Update, before: Event, after: Event) -> None:
    old = {int(offset): (int(pfn), inode) for offset, pfn, inode in before.data["pages"]}
    new = {int(offset): (int(pfn), inode) for offset, pfn, inode in after.data["pages"]}
    both = [o for o in old if o in new and old[o][0] > 0 and new[o][0] > 0]
    if moved := [o for o in both if old[o][0] != new[o][0]]:
        o = moved[0]
        found.defect(
            f"{len(moved)} of {len(both)} sampled pages moved at {update.name}: "
            f"offset {o:#x} from frame {old[o][0]:#x} to {new[o][0]:#x}",
            before,
            after,
        )
    if others := [o for o in both if old[o][1] != new[o][1]]:
        found.defect(f"guest memory is another file since {update.name} ({len(others)} pages)", before, after)
    if gone := [o for o in old if old[o][0] > 0 and new.get(o, (1, 0))[0] < 1]:
        found.defect(f"{len(gone)} sampled pages are gone after {update.name}", before, after)
    if len(both) < _NEEDED:
        found.gap(f"only {len(both)} pages could be compared over {update.name}", before, after)
    found.fact(f"{len(both)} sampled pages kept their frames over {update.name}", before, after)
