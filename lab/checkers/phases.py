"""The phases of one update's pause, from the traces of one run.

All on the bench host's monotonic clock: what its kernel traces, the gap of a vCPU that the kernel finds, and
QEMU's own trace, which is stamped by the wall clock and placed by the host's comparison of its two clocks. A
phase whose boundary is missing is unknown, and never guessed.

Source of the boundaries, QEMU 11.1.3: system/cpus.c do_vm_stop (vm_stop_flush_all), migration/cpr-exec.c,
migration/migration.c (vmstate_downtime_checkpoint, migrate_set_state), migration/cpr.c (cpr_state_load),
system/runstate.c (qemu_system_suspend, qemu_system_wakeup_request);
Linux 7.3.4: fs/exec.c (sched_prepare_exec, exec_mmap, sched_process_exec), virt/kvm/kvm_main.c
(kvm_destroy_vm, which runs when the last descriptor is closed, on the way back to the new program).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lab.checkers.host_clock import invoked, wall_to_host, woken
from lab.checkers.updates import Update
from lab.timeline import Event, Timeline

EXEC = "sched:sched_process_exec"
PREPARED = "sched:sched_prepare_exec"
RUNNING = r"new_state \d+ \(running\)"
ASLEEP = r"new_state \d+ \(suspended\)"
IN_PLACE = ("cpr-exec", "cpr-transfer")
"""Modes whose phases are all within the time in which the vCPUs stand still."""
REBOOT = "cpr-reboot"
"""The guest goes to sleep before that time, and is awake again after it."""
MODES = (*IN_PLACE, REBOOT)
"""Those whose boundaries are known here; all keep old and new QEMU on one host."""


@dataclass(frozen=True)
class Phase:
    """One part of the pause.

    name:       "save"; "exec: address space" is a part of the phase "exec"
    start_ns:   on the host's clock; None if nobody knows
    error_ns:   of either end
    """

    name: str
    start_ns: int | None
    end_ns: int | None
    clock: str = "host"
    error_ns: int = 0

    @property
    def seconds(self) -> float | None:
        """How long; None if an end is not known."""
        if self.start_ns is None or self.end_ns is None:
            return None
        return (self.end_ns - self.start_ns) / 1e9

    @property
    def whole(self) -> bool:
        """Whether it is a phase, and no part of one."""
        return ":" not in self.name


@dataclass(frozen=True)
class Gap:
    """The pause as the bench host's kernel saw it: the longest time the vCPU did not run.

    ordinary_ns: the longest such time in a moment without an update; None if none was seen
    """

    vcpu: int
    start_ns: int
    end_ns: int
    ordinary_ns: int | None

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9


def vcpu_gap(timeline: Timeline, update: Update) -> Gap | None:
    """The longest of all vCPUs; None if the kernel did not tell."""
    told = [e.data for e in timeline.of("trace.vcpu_gap", update=update.number)]
    if not told:
        return None
    longest = max(told, key=lambda gap: int(gap["gap_ns"]))
    ordinary = [int(gap["ordinary_ns"]) for gap in told if gap.get("ordinary_ns")]
    end_ns = int(longest["end_ns"])
    return Gap(
        int(longest["vcpu"]), end_ns - int(longest["gap_ns"]), end_ns, max(ordinary) if ordinary else None
    )


def phases(timeline: Timeline, update: Update) -> list[Phase]:
    """The phases in order, whole ones and their parts; empty for a mode that is not known here."""
    mode = str(update.invoke.data.get("mode"))
    if mode not in MODES or update.end is None:
        return []
    at = _Times(timeline, update)
    return {"cpr-exec": _by_exec, "cpr-transfer": _by_transfer, REBOOT: _by_reboot}[mode](at)


def asleep(found: list[Phase]) -> bool:
    """Whether the guest was put to sleep for the update."""
    return any(phase.name == "suspend" for phase in found)


def _by_exec(at: "_Times") -> list[Phase]:
    stopped, prepared, execed = at.qemu("vm_stop_flush_all"), at.kernel(PREPARED), at.kernel(EXEC)
    mmap = (
        at.within("cprlab:exit_mmap", prepared, execed),
        at.within("cprlab:exit_mmap_done", prepared, execed),
    )
    ended = (
        at.kernel("cprlab:kvm_destroy_vm", after=execed),
        at.kernel("cprlab:kvm_destroy_vm_done", after=execed),
    )
    # VFIO keeps a KVM: that of the update before goes while old QEMU, which saves, closes its KVM-VFIO device
    late = (
        at.within("cprlab:kvm_destroy_vm", stopped, prepared),
        at.within("cprlab:kvm_destroy_vm_done", stopped, prepared),
    )
    # a KVM that outlives its process, as with async-teardown, holds nothing up
    gone = ended[1] if ended[1] is not None else execed
    state = at.qemu("cpr_state_load", after=execed)
    incoming = at.qemu("migrate_set_state", "new state setup", after=state)
    running = at.qemu("runstate_set", RUNNING, after=incoming)
    parts = [
        at.phase("stop", at.gap_start, stopped),
        at.phase("save", stopped, prepared),
        at.phase("save: KVM", *late),
        at.phase("exec", prepared, gone),
        at.phase("exec: address space", *mmap),
        at.phase("exec: KVM", *ended),
        at.phase("start", gone, state),
        at.phase("realise", state, incoming),
        at.phase("load", incoming, running),
        at.phase("resume", running, at.gap_end),
    ]
    return [p for p in parts if p.whole or p.seconds is not None]


def _by_transfer(at: "_Times") -> list[Phase]:
    """New QEMU was started, and its devices realised, while the guest ran on."""
    stopped = at.qemu("vm_stop_flush_all")
    saved = at.qemu("vmstate_downtime_checkpoint", "src-downtime-end", after=stopped)
    running = at.qemu("runstate_set", RUNNING, after=stopped)
    return [
        at.phase("stop", at.gap_start, stopped),
        at.phase("save", stopped, saved),
        at.phase("load", saved, running),
        at.phase("resume", running, at.gap_end),
    ]


def _by_reboot(at: "_Times") -> list[Phase]:
    """The controller leads from each half to the next: its commands are in the phases, too."""
    slept, stopped = at.qemu("runstate_set", ASLEEP), at.qemu("vm_stop_flush_all", after=at.gap_start)
    saved = at.qemu("migrate_set_state", "new state completed", after=stopped)
    begun = at.kernel(EXEC, after=saved)
    waiting = at.qemu("runstate_set", r"new_state \d+ \(inmigrate\)", after=begun)
    told = at.qemu("migrate_set_state", "new state setup", after=begun)
    loaded = at.qemu("runstate_set", f"inmigrate.*({ASLEEP}|{RUNNING})", after=told)
    mm, mm_done, kvm, kvm_done = (
        at.within(f"cprlab:{name}", saved, begun, any_process=True)
        for name in ("exit_mmap", "exit_mmap_done", "kvm_destroy_vm", "kvm_destroy_vm_done")
    )
    parts = [
        at.phase("stop", at.gap_start, stopped),
        at.phase("save", stopped, saved),
        at.phase("quit", saved, begun),
        at.phase("quit: address space", mm, mm_done),
        at.phase("quit: KVM", kvm, kvm_done),
        at.phase("start", begun, told),
        at.phase("start: devices", waiting, told),
        at.phase("load", told, loaded),
    ]
    if slept is None:
        parts.append(at.phase("resume", loaded, at.gap_end))
    else:
        (begun, begun_error), (woken, woken_error) = (t or (None, 0) for t in (at.invoked, at.woken))
        parts.insert(0, at.phase("suspend", begun, at.gap_start, begun_error))
        parts.append(at.phase("wake", loaded, woken, woken_error))
        parts.append(at.phase("wake: QEMU", loaded, at.gap_end))
    return [p for p in parts if p.whole or p.seconds is not None]


def known(found: list[Phase]) -> dict[str, float]:
    """Name -> seconds of the phases that are known."""
    return {phase.name: phase.seconds for phase in found if phase.seconds is not None}


class _Times:
    """When something was traced during an update, on the host's clock; the first time it was."""

    def __init__(self, timeline: Timeline, update: Update) -> None:
        during = timeline.events[update.invoke.index : update.until]
        self._kernel = [e for e in during if e.kind == "trace.event"]
        self._qemu = [e for e in during if e.kind == "qemu.trace"]
        self._wall = wall_to_host(timeline, update)
        gap = vcpu_gap(timeline, update)
        self.gap_start = gap.start_ns if gap else None
        self.gap_end = gap.end_ns if gap else None
        self.invoked, self.woken = invoked(timeline, update), woken(timeline, update)
        self._pids = {str(e.data.get("pid")) for e in self._qemu}

    def kernel(self, name: str, after: int | None = 0, *, any_process: bool = False) -> int | None:
        """When QEMU's process was seen doing it; any_process: when any was."""
        whose = (lambda _: True) if any_process else self._of_qemu
        return self._first(self._kernel, lambda e: int(e.data["t_src_ns"]), name, "", after, whose)

    def within(
        self, name: str, start: int | None, end: int | None, *, any_process: bool = False
    ) -> int | None:
        """The same, if it was seen before another moment."""
        at = self.kernel(name, start, any_process=any_process)
        return at if at is not None and end is not None and at <= end else None

    def qemu(self, name: str, text: str = "", after: int | None = 0) -> int | None:
        """When QEMU itself said so."""
        if self._wall is None:
            return None
        to_host = self._wall[0]
        return self._first(
            self._qemu, lambda e: int(e.data["t_host_ns"]) + to_host, name, text, after, lambda _: True
        )

    def phase(self, name: str, start: int | None, end: int | None, error_ns: int = 0) -> Phase:
        error_ns += self._wall[1] if self._wall else 0
        return Phase(name, start, end, error_ns=error_ns + 1000)  # stamps are in whole microseconds

    def _first(
        self,
        events: list[Event],
        when: Callable[[Event], int],
        name: str,
        text: str,
        after: int | None,
        mine: Callable[[Event], bool],
    ) -> int | None:
        if after is None:
            return None
        times = [
            when(e)
            for e in events
            if e.data.get("name") == name and re.search(text, str(e.data.get("text", ""))) and mine(e)
        ]
        return min((t for t in times if t >= after), default=None)

    def _of_qemu(self, event: Event) -> bool:
        fields: Mapping[str, str] = event.data.get("fields", {})
        return str(fields.get("pid")) in self._pids
