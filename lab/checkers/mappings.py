"""The IOMMU's mappings of guest RAM are never torn down while QEMU is replaced.

Source: Linux include/trace/events/iommu.h: iommu:unmap is emitted for every unmapped range,
iommu:io_page_fault for every access without a mapping.
"""

import re
from dataclasses import dataclass

from lab.checkers.clocks import Span
from lab.checkers.findings import Findings
from lab.checkers.flight import paused_on_host
from lab.checkers.updates import Update, awake, completed, seeing
from lab.timeline import Event, Timeline
from lab.verdict import Verdict

EXEC = "sched:sched_process_exec"
UNMAP = "iommu:unmap"
FAULT = "iommu:io_page_fault"
LOGGED = re.compile(r"\bDMAR: \[.*\bfault\b|\bIO_PAGE_FAULT\b|arm-smmu.*\bfault\b", re.IGNORECASE)
"""Faults of those IOMMUs whose drivers log them and trace nothing (Linux drivers/iommu/intel/dmar.c)."""
HOLE = range(0xC000_0000, 0x1_0000_0000)
"""Never RAM of a q35 machine (hw/i386/pc_q35.c: at most 2.75 GiB below 4 GiB), but BARs and firmware."""
VCPU, UNKNOWN_TASK = "CPU ", "<...>"
"""The names of QEMU's threads that run the guest, and of what the trace had no name for yet."""


@dataclass(frozen=True)
class MappingsKept:
    """No range of guest RAM was unmapped during an update, and no access ever faulted.

    Reads: trace.open, trace.close {counts, lost}, trace.event {fields: iova, size, task}; log {where: host};
        cpr.*; with `own_iommu` also qmp.event STOP and RESUME, and clock.sync.
    That the trace shows the exec of new QEMU proves that it was looking. Where a PC has no RAM lie BARs of
    devices, which QEMU maps for peers; it takes that mapping away at each INTx that it handles itself.
    own_iommu: the guest has an IOMMU of its own and unmaps as it likes while it runs: what its
        processors' threads do is not held against QEMU, unless the guest was paused
    """

    own_iommu: bool = False

    @property
    def __name__(self) -> str:
        return "mappings_kept"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        done = completed(found, timeline)
        seeing(found, timeline, "trace")
        if faults := timeline.of("trace.event", name=FAULT):
            found.defect(f"{len(faults)} IOMMU page faults: {_fields(faults[0])}", *faults[:3])
        awake(found, timeline, "kmsg-host")
        if said := [
            e for e in timeline.of("log", where="host") if LOGGED.search(str(e.data.get("text", "")))
        ]:
            found.defect(f"the host's kernel says: {said[0].data['text']}", *said[:3])
        for update in done:
            self._update(found, timeline, update)
        return found.verdict()

    def _update(self, found: Findings, timeline: Timeline, update: Update) -> None:
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
        # with an IOMMU of its own the guest uses such addresses for its memory
        excused = (
            self._own(found, timeline, update, traced)
            if self.own_iommu
            else [e for e in traced if e.data.get("name") == UNMAP and _is_bar(e)]
        )
        _judge(found, update, start, end, traced, excused)

    def _own(self, found: Findings, timeline: Timeline, update: Update, traced: list[Event]) -> list[Event]:
        """The unmaps that the guest asked for."""
        paused = paused_on_host(timeline, update)
        if paused is None:
            found.gap(f"nobody knows when the guest was paused in {update.name}", *update.events)
            return []
        return [e for e in traced if e.data.get("name") == UNMAP and _by_guest(e, paused)]


def _is_bar(event: Event) -> bool:
    fields = event.data.get("fields", {})
    try:
        start = int(str(fields.get("iova")), 0)
        return start >= HOLE.start and start + int(str(fields.get("size")), 0) <= HOLE.stop
    except ValueError:
        return False


def _by_guest(event: Event, paused: Span) -> bool:
    task = str(event.data.get("fields", {}).get("task", ""))
    t_ns = int(event.data.get("t_src_ns", 0))
    surely_paused = paused.start_ns + paused.error_ns <= t_ns <= paused.end_ns - paused.error_ns
    return not surely_paused and (task.startswith(VCPU) or task == UNKNOWN_TASK)


def _judge(
    found: Findings, update: Update, start: Event, end: Event, traced: list[Event], excused: list[Event]
) -> None:
    counts = end.data.get("counts", {})
    unmaps = [e for e in traced if e.data.get("name") == UNMAP]
    # those that were counted and not told of are held against QEMU
    unmapped = max(int(counts.get(UNMAP, 0)), len(unmaps)) - len(excused)
    faults = max(int(counts.get(FAULT, 0)), sum(e.data.get("name") == FAULT for e in traced))
    execs = [e for e in traced if e.data.get("name") == EXEC]
    if unmapped:
        others = [e for e in unmaps if e not in excused]
        detail = f": {_fields(others[0])}" if others else ""
        found.defect(f"{unmapped} ranges were unmapped during {update.name}{detail}", *others[:3], end)
    if faults:
        found.defect(f"{faults} IOMMU page faults during {update.name}", end)
    if int(end.data.get("lost", 1)):
        found.gap(f"the trace lost {end.data.get('lost', 'an unknown number of')} events", end)
    if not execs and not int(counts.get(EXEC, 0)):
        found.gap(f"the trace of {update.name} shows no exec, so it was not looking", start, end)
    but = f" but {len(excused)} of BARs or by the guest itself" if excused else ""
    found.fact(f"no unmap{but} and no fault traced during {update.name}", start, *execs, end)


def _fields(event: Event) -> str:
    fields = event.data.get("fields", {})
    return str(fields.get("text") or ", ".join(f"{k}={v}" for k, v in fields.items()))
