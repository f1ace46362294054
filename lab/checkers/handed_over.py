"""QEMU is replaced by another process, which has what it needs of the old one's descriptors.

Source: QEMU docs/devel/migration/CPR.rst, cpr-transfer: descriptors are sent over the cpr channel; the
old process stays in postmigrate until it is ended.
"""

from dataclasses import dataclass

from lab.checkers.findings import Findings
from lab.checkers.process import grown, kept, processes, right_version
from lab.checkers.updates import Update
from lab.timeline import Event, Timeline
from lab.verdict import Verdict


@dataclass(frozen=True)
class HandedOver:
    """Another process runs the guest, with as many descriptors of each kind; the old one ended by itself.

    Reads: host.process {pid, start_ticks, exe, version, fds [[fd, link, inode]]}; qemu.left {pid, update};
        host.exit {pid, status}; versions {qemu_new}; cpr.*.
    growth: descriptors that may come to stay, over all updates
    holds: what QEMU must have held before the update, or there was nothing to hand over
    """

    growth: int = 0
    holds: str = "/dev/vfio"

    @property
    def __name__(self) -> str:
        return "handed_over"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        seen = processes(found, timeline)
        for update, (before, after) in seen:
            _another(found, timeline, update, before, after)
            kept(found, update, before, after, self.holds)
            _old_is_gone(found, timeline, update, before)
        if seen:
            grown(found, seen[0][1][0], seen[-1][1][1], self.growth)
        return found.verdict()


def _another(found: Findings, timeline: Timeline, update: Update, before: Event, after: Event) -> None:
    version = right_version(found, timeline, update, after)
    old, new = before.data["pid"], after.data["pid"]
    if old == new:
        found.defect(
            f"PID {old} ran the guest before {update.name} and after it: nothing was handed over", after
        )
    else:
        found.fact(f"PID {old} gave way to PID {new} ({version or after.data['exe']})", before, after)


def _old_is_gone(found: Findings, timeline: Timeline, update: Update, before: Event) -> None:
    pid = before.data["pid"]
    left = timeline.of("qemu.left", pid=pid, update=update.number)
    gone = timeline.of("host.exit", pid=pid)
    if not left or not gone:
        found.gap(f"nobody saw the end of PID {pid} after {update.name}", update.done)
    elif gone[0].data.get("signal"):
        found.defect(f"old QEMU ended with {gone[0].data['signal']} after {update.name}", left[0], gone[0])
