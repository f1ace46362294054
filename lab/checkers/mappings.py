"""The IOMMU's mappings are never torn down while QEMU is replaced.

Source: Linux include/trace/events/iommu.h: iommu:unmap is emitted for every unmapped range,
iommu:io_page_fault for every access without a mapping.
"""

from lab.checkers.findings import Findings
from lab.checkers.updates import Update, completed, seeing
from lab.timeline import Event, Timeline
from lab.verdict import Verdict

EXEC = "sched:sched_process_exec"
UNMAP = "iommu:unmap"
FAULT = "iommu:io_page_fault"


def mappings_kept(timeline: Timeline) -> Verdict:
    """No range was unmapped during an update, and no access ever faulted.

    Reads: trace.open, trace.close {counts, lost}, trace.event; cpr.*.
    That the trace shows the exec of new QEMU proves that it was looking.
    """
    found = Findings("mappings_kept")
    done = completed(found, timeline)
    seeing(found, timeline, "trace")
    if faults := timeline.of("trace.event", name=FAULT):
        found.defect(f"{len(faults)} IOMMU page faults: {_fields(faults[0])}", *faults[:3])
    for update in done:
        _update(found, timeline, update)
    return found.verdict()


def _update(found: Findings, timeline: Timeline, update: Update) -> None:
    opened = timeline.of("trace.open", update=update.number)
    closed = timeline.of("trace.close", update=update.number)
    if not opened or opened[0].index > update.invoke.index:
        found.gap(f"the trace was not open when {update.name} began", update.invoke)
        return
    if not closed or closed[-1].index < update.done.index:
        found.gap(f"the trace was not closed after {update.name}, so its end was not seen", update.done)
        return
    start, end = opened[0], closed[-1]
    traced = [e for e in timeline.events[start.index : end.index] if e.kind == "trace.event"]
    _judge(found, update, start, end, traced)


def _judge(found: Findings, update: Update, start: Event, end: Event, traced: list[Event]) -> None:
    counts = end.data.get("counts", {})
    unmaps = [e for e in traced if e.data.get("name") == UNMAP]
    unmapped = max(int(counts.get(UNMAP, 0)), len(unmaps))
    faults = max(int(counts.get(FAULT, 0)), sum(e.data.get("name") == FAULT for e in traced))
    execs = [e for e in traced if e.data.get("name") == EXEC]
    if unmapped:
        detail = f": {_fields(unmaps[0])}" if unmaps else ""
        found.defect(f"{unmapped} ranges were unmapped during {update.name}{detail}", *unmaps[:3], end)
    if faults:
        found.defect(f"{faults} IOMMU page faults during {update.name}", end)
    if int(end.data.get("lost", 1)):
        found.gap(f"the trace lost {end.data.get('lost', 'an unknown number of')} events", end)
    if not execs and not int(counts.get(EXEC, 0)):
        found.gap(f"the trace of {update.name} shows no exec, so it was not looking", start, end)
    found.fact(f"no unmap and no fault traced during {update.name}", start, *execs, end)


def _fields(event: Event) -> str:
    fields = event.data.get("fields", {})
    return str(fields.get("text") or ", ".join(f"{k}={v}" for k, v in fields.items()))
