"""QEMU is replaced in place: another program in the same process, with the same descriptors.

Source: QEMU docs/devel/migration/CPR.rst, cpr-exec; proc(5): an exec keeps PID and start time.
"""

import re
from collections import Counter
from dataclasses import dataclass

from lab.checkers.findings import Findings
from lab.checkers.guest import ended
from lab.checkers.mappings import EXEC
from lab.checkers.pfns import before_and_after
from lab.checkers.updates import Update, completed, seeing
from lab.timeline import Event, Timeline
from lab.verdict import Verdict

KEPT = re.compile(
    r"^/dev/(vfio|iommu|kvm|vhost)|^anon_inode:(\[vfio|\[iommu|kvm-v[mc])"
    r"|^/memfd:.*(backend|ram\d)"
)
"""Descriptors that must be there after the update: by what they are, for QEMU may number them anew."""


@dataclass(frozen=True)
class ReplacedInPlace:
    """Same PID and start time, new program, no descriptor lost, none leaked.

    Reads: host.process {pid, start_ticks, exe, version, fds [[fd, link, inode]]}; trace.event of
        the exec; qmp.connected; versions {qemu_new}; host.exit; cpr.*.
    exe: what /proc/PID/exe must be; None: not asked (the version still is, when it is known)
    growth: descriptors that may come to stay, over all updates
    holds: what QEMU must have held before the update, or there was nothing to keep
    """

    exe: str | None = None
    growth: int = 0
    holds: str = "/dev/vfio"

    @property
    def __name__(self) -> str:
        return "replaced_in_place"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        seen = processes(found, timeline)
        for update, (before, after) in seen:
            self._same(found, timeline, update, before, after)
            kept(found, update, before, after, self.holds)
        if seen:
            grown(found, seen[0][1][0], seen[-1][1][1], self.growth)
        return found.verdict()

    def _same(self, found: Findings, timeline: Timeline, update: Update, before: Event, after: Event) -> None:
        for name, word in (("pid", "PID"), ("start_ticks", "start time")):
            if before.data[name] != after.data[name]:
                text = f"{word} was {before.data[name]} and is {after.data[name]} since {update.name}"
                found.defect(text, before, after)
        if self.exe is not None and str(after.data["exe"]).removesuffix(" (deleted)") != self.exe:
            found.defect(f"{after.data['exe']} runs after {update.name}, not {self.exe}", after)
        version = right_version(found, timeline, update, after)
        proof = _new_program(timeline, update, int(after.data["pid"]))
        if proof is None:
            found.gap(f"neither an exec nor a greeting of new QEMU was seen in {update.name}", *update.events)
        else:
            what = f"PID {after.data['pid']} runs {version or after.data['exe']} since {update.name}"
            found.fact(what, before, proof, after)


def processes(found: Findings, timeline: Timeline) -> list[tuple[Update, tuple[Event, Event]]]:
    """QEMU's process before and after each update that completed; a lost guest is a defect."""
    done = completed(found, timeline)
    ended(found, timeline)
    seeing(found, timeline, "process")
    pairs = ((update, before_and_after(found, timeline, "host.process", update)) for update in done)
    return [(update, pair) for update, pair in pairs if pair is not None]


def right_version(found: Findings, timeline: Timeline, update: Update, after: Event) -> str | None:
    """The version that runs after an update; a defect if it is known to be another than it must be."""
    wanted = [e.data["qemu_new"] for e in timeline.of("versions") if e.data.get("qemu_new")]
    version = after.data.get("version")
    if wanted and version is not None and version != wanted[-1]:
        found.defect(f"{version} runs after {update.name}, not {wanted[-1]}", after)
    return None if version is None else str(version)


def grown(found: Findings, first: Event, last: Event, growth: int) -> None:
    """No more descriptors at last than at first, but for so many."""
    old, new = kinds(first), kinds(last)
    more = len(last.data["fds"]) - len(first.data["fds"])
    if more > growth:
        listed = ", ".join(f"{n} {kind}" for kind, n in (new - old).most_common(4))
        found.defect(f"{more} descriptors more than before the first update: {listed}", first, last)
    found.fact(f"{len(first.data['fds'])} descriptors at first, {len(last.data['fds'])} at last")


def kinds(process: Event) -> Counter[str]:
    """Descriptors by what they are; numbers that differ from open to open are left out."""
    return Counter(re.sub(r"\[\d+\]|:\d+$", "", str(link)) for _, link, *_ in process.data["fds"])


def kept(found: Findings, update: Update, before: Event, after: Event, holds: str) -> None:
    """What must outlive the update is there after it."""
    old, new = kinds(before), kinds(after)
    gone = {kind: n - new[kind] for kind, n in old.items() if KEPT.search(kind) and new[kind] < n}
    if gone:
        listed = ", ".join(f"{n} {kind}" for kind, n in sorted(gone.items()))
        found.defect(f"descriptors lost at {update.name}: {listed}", before, after)
    if not any(kind.startswith(holds) for kind in old):
        found.gap(f"QEMU held no descriptor of {holds} before {update.name}", before)


def _new_program(timeline: Timeline, update: Update, pid: int) -> Event | None:
    """The event that proves that another program runs: the exec itself, or a greeting of new QEMU."""
    during = timeline.events[update.invoke.index : update.until]
    for event in during:
        if event.kind == "trace.event" and event.data.get("name") == EXEC:
            fields = event.data.get("fields", {})
            if str(fields.get("pid")) == str(pid):
                return event
    return next((e for e in during if e.kind == "qmp.connected" and e.data.get("side") == "new"), None)
