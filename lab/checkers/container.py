"""The container outlives the update: the same one, within its limits, with QEMU still in it.

Source: cover letter of "Live update: cpr-exec" V3 (2025-08-14): exec needs no second container, and agents
keep their connections; Linux Documentation/admin-guide/cgroup-v2.rst.
"""

from dataclasses import dataclass

from lab.checkers.findings import Findings
from lab.checkers.pfns import before_and_after
from lab.checkers.updates import Update, completed, seeing
from lab.timeline import Event, Timeline
from lab.verdict import Verdict

SAME = ("id", "init", "init_start_ticks", "pid_namespace", "cgroup", "status")
SECOND_SET = 0.2
"""Share of one QEMU's descriptors: QEMU 11.1.3 had 3 of 107 more open in cpr-exec, and 44 in cpr-transfer."""
PLACE = ("pid_namespace", "cgroup")


@dataclass(frozen=True)
class ContainerKept:
    """The same container, PID namespace and cgroup, with QEMU in them; nothing killed, the limit not reached.

    Reads: host.container {id, init, init_start_ticks, pid_namespace, cgroup, status, qemu {pid, pid_inside,
        pid_namespace, cgroup}, memory {peak, max, events}, most {qemus, descriptors}}; cpr.*.
    qemus: how many QEMUs there must have been in it at once, at most: 1 by cpr-exec, 2 by cpr-transfer, which
        then have a second set of descriptors
    tight: the limit may be reached, so that the kernel takes pages of files back; nothing may be killed
    """

    qemus: int = 1
    tight: bool = False

    @property
    def __name__(self) -> str:
        return "container_kept"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        done = completed(found, timeline)
        seeing(found, timeline, "container")
        for update in done:
            pair = before_and_after(found, timeline, "host.container", update)
            if pair is not None:
                _same(found, update, *pair)
                self._limits(found, update, *pair)
                self._used(found, update, *pair)
        return found.verdict()

    def _limits(self, found: Findings, update: Update, before: Event, after: Event) -> None:
        old, new = before.data["memory"], after.data["memory"]
        if new["max"] is None:
            found.gap("the container has no memory limit", after)
        elif new["peak"] > new["max"]:
            found.defect(f"{new['peak']} bytes were charged in {update.name}, more than the limit", after)
        for name in ("oom", "oom_kill", *(() if self.tight else ("max",))):
            if more := new["events"].get(name, 0) - old["events"].get(name, 0):
                found.defect(
                    f"the memory limit was hit in {update.name}: {name} rose by {more}", before, after
                )

    def _used(self, found: Findings, update: Update, before: Event, after: Event) -> None:
        most, memory = after.data["most"], after.data["memory"]
        if most["qemus"] != self.qemus:
            text = f"{most['qemus']} QEMUs were in the container at once in {update.name}, not {self.qemus}"
            found.defect(text, after)
        held = before.data["most"]["descriptors"]
        more = most["descriptors"] - held
        if (more > held * SECOND_SET) != (self.qemus > 1):
            text = f"{more} descriptors more than the {held} before were open at once in {update.name}"
            found.defect(f"{text}: {'no' if self.qemus > 1 else 'a'} second set", before, after)
        idle = before.data["memory"]["current"]
        found.fact(
            f"{update.name} in container {after.data['id']}: {_mib(memory['peak'])} MiB charged at most, "
            f"{_mib(idle)} before it, of {_mib(memory['max'] or 0)}; "
            f"{most['descriptors']} descriptors at most in {most['qemus']} QEMUs",
            before,
            after,
        )


def _same(found: Findings, update: Update, before: Event, after: Event) -> None:
    for name in SAME:
        if before.data[name] != after.data[name]:
            old, new = before.data[name], after.data[name]
            text = f"the container's {name} was {old} and is {new} since {update.name}"
            found.defect(text, before, after)
    for seen in (before, after):
        qemu = seen.data["qemu"]
        if outside := [name for name in PLACE if qemu[name] != seen.data[name]]:
            when = f"{seen.data['when']} {update.name}"
            found.defect(f"QEMU is in another {outside[0]} than its container {when}", seen)


def _mib(count: int) -> str:
    return f"{count / (1 << 20):.0f}"
