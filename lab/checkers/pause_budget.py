"""The pause itself: its phases are known and add up, and it stays within the bench's budget."""

from dataclasses import dataclass

from lab.checkers.findings import Findings
from lab.checkers.host_clock import standstill
from lab.checkers.pauses import pauses
from lab.checkers.phases import REBOOT, Phase, asleep, known, phases, vcpu_gap
from lab.checkers.updates import Update, completed
from lab.timeline import Timeline
from lab.verdict import Verdict

QMP, NAP = "QMP STOP to RESUME", "QMP SUSPEND to WAKEUP"
TIMED = {"kernel", "vcpus", "qemu"}
"""Witnesses without which an update has no phases: one that they do not all watch is not asked for any."""
STAMPING_S = 0.05
"""Between what QEMU does and its stamp another process may have run: 16 ms were seen under emulation."""


@dataclass(frozen=True)
class PhasesAddUp:
    """Every phase of every traced update is known, and clocks that know nothing of each other agree.

    Reads: cpr.*; trace.vcpu_gap, trace.event; qemu.trace; qmp.event; clock.sync; guest.heartbeat;
        pause.sample.
    The stretch that QEMU's STOP and RESUME enclose is that of the phases within; and the guest's own gap
    with the time for which its clock stood still is no shorter than the pause.
    """

    @property
    def __name__(self) -> str:
        return "phases_add_up"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        bare = {e.data["update"] for e in timeline.of("pause.sample") if TIMED - set(e.data["witnesses"])}
        for update in completed(found, timeline):
            if update.number not in bare:
                self._update(found, timeline, update)
        return found.verdict()

    def _update(self, found: Findings, timeline: Timeline, update: Update) -> None:
        parts = phases(timeline, update)
        unknown = [phase.name for phase in parts if phase.whole and phase.seconds is None]
        if unknown or not parts:
            found.gap(f"{update.name}: nobody knows {', '.join(unknown) or 'any phase'}", *update.events)
            return
        told = known([phase for phase in parts if phase.whole])
        if any(seconds < 0 for seconds in told.values()):
            found.defect(f"{update.name}: a phase ends before it begins: {_words(told)}", *update.events)
            return
        self._qmp(found, timeline, update, parts)
        self._guest(found, timeline, update)

    def _qmp(self, found: Findings, timeline: Timeline, update: Update, parts: list[Phase]) -> None:
        every, name = known(parts), NAP if asleep(parts) else QMP
        told = known([phase for phase in parts if phase.whole])
        qmp = next((p.seconds for p in pauses(timeline, update) if p.name == name), None)
        if qmp is None:
            found.gap(f"{update.name}: QEMU did not tell {name.removeprefix('QMP ')}", *update.events)
            return
        # what goes on before the vCPUs stand still, and after QEMU has said that they run
        outside = ("suspend", "wake", "resume")
        within = sum(seconds for phase, seconds in told.items() if phase not in outside)
        within += every.get("wake: QEMU", 0.0)
        least, most = within - told["stop"] - STAMPING_S, within + STAMPING_S
        text = f"{update.name}: {sum(told.values()):.3f} s = {_words(told)}; {name} {qmp:.3f} s"
        if least <= qmp <= most:
            found.fact(text, *update.events)
        else:
            found.defect(f"{text}, not {least:.3f} to {most:.3f} s", *update.events)

    def _guest(self, found: Findings, timeline: Timeline, update: Update) -> None:
        gap, still = vcpu_gap(timeline, update), standstill(timeline, update)
        own = next((p for p in pauses(timeline, update) if p.name == "guest heartbeat"), None)
        if gap is None or still is None or own is None:
            found.gap(f"{update.name}: the guest's own clock cannot be compared", *update.events)
            return
        text = (
            f"{update.name}: the guest missed {own.seconds:.3f} s by its own clock, which stood still for "
            f"{still[0]:.3f} s (+-{still[1]:.3f}), in a pause of {gap.seconds:.3f} s"
        )
        if own.seconds + still[0] + still[1] + STAMPING_S >= gap.seconds:
            found.fact(text, *update.events)
        else:
            found.defect(text, *update.events)


@dataclass(frozen=True)
class PauseWithin:
    """The guest's vCPUs stood still for less than `seconds` at each update, by the bench host's kernel.

    Reads: cpr.*; trace.vcpu_gap; where nothing was traced, QEMU's own STOP and RESUME.
    asleep_s: by cpr-reboot, which ends QEMU and starts it anew; None for the same as by the other modes
    """

    seconds: float
    asleep_s: float | None = None

    @property
    def __name__(self) -> str:
        return "pause_within"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        for update in completed(found, timeline):
            rebooted = update.invoke.data.get("mode") == REBOOT
            limit_s = self.asleep_s if rebooted and self.asleep_s is not None else self.seconds
            gap = vcpu_gap(timeline, update)
            qmp = next((p.seconds for p in pauses(timeline, update) if p.name == QMP), None)
            lasted = gap.seconds if gap else qmp
            by = "the host's kernel" if gap else "QEMU"
            if lasted is None:
                found.gap(f"nobody knows how long the guest was paused at {update.name}", *update.events)
            elif lasted < limit_s:
                found.fact(f"{update.name}: paused for {lasted:.2f} s by {by}", *update.events)
            else:
                found.defect(
                    f"{update.name}: paused for {lasted:.2f} s by {by}, not below {limit_s:g} s",
                    *update.events,
                )
        return found.verdict()


def _words(told: dict[str, float]) -> str:
    return " + ".join(f"{name} {seconds:.3f}" for name, seconds in told.items())
