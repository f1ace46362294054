"""SIGKILL in each phase of an update: of old QEMU until the exec, of new QEMU from there on.

Source: kill(2): a process can do nothing against it, so the guest is lost with it; asked for is that the host
gets everything back, though descriptors went from one program to the other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lab.cpr import Mode
from lab.cpr.cpr_exec import CprExec
from lab.cpr.steps import wait_for_agent
from lab.errors import Refused, SutError
from lab.failures import LOST, Failure, Scene, killed
from lab.failures.exec import ordinary
from lab.failures.held import Held
from lab.failures.newcomer import signalled
from lab.qemu.monitor import Monitor
from lab.timeline import Recorder

SOURCE = "kill(2): nothing can be done against SIGKILL; the kernel gives back what the process had"
SAVED_BYTES = 20_000
"""So much of the state has come when old QEMU is killed; a guest with a NIC has 80 kB and more."""
HEARD_S = 20.0


class Killed(Held):
    """Old QEMU is killed while the update is held."""

    def then(self, recorder: Recorder, monitor: Monitor) -> None:
        raise Refused(f"old QEMU {killed(self.guest, self.guest.pid)}")


def kill_amid(pid: int) -> str:
    """A command that takes a part of the state, and kills who sends it; for /bin/sh."""
    said = "echo SIGKILL while it saves >&2"
    return f"test $(head -c {SAVED_BYTES} | wc -c) = {SAVED_BYTES} && {said} && kill -KILL {pid}"


def saving(scene: Scene) -> Mode:
    """Old QEMU gives the state to such a command; docs/devel/migration/CPR.rst names exec: beside file:."""

    def begin(monitor: Monitor, command: Sequence[str], _: str) -> None:
        parameters = {"mode": CprExec.mode, "cpr-exec-command": list(command)}
        monitor.execute("migrate-set-parameters", parameters)
        monitor.execute("migrate", {"uri": f"exec:{kill_amid(scene.guest.pid)}"})

    return replace(ordinary(scene), begin=begin)


@dataclass(frozen=True)
class KilledRunning:
    """An update that goes well; new QEMU is killed as soon as the guest answers in it."""

    scene: Scene
    mode = "cpr-exec"

    def apply(self, recorder: Recorder, update: int) -> None:
        """Do it once; recorded as any update."""
        guest = self.scene.guest
        ordinary(self.scene).apply(recorder, update)
        try:
            wait_for_agent(guest, HEARD_S, "the guest in new QEMU")
        except SutError as trouble:
            recorder.record("failure.said", said=str(trouble))
        else:
            how = killed(guest, guest.pid)
            recorder.record("failure.said", said=f"the guest answered in new QEMU, which {how}")


def _kill(phase: str, when: str, does: Callable[[Scene], Mode], says: str, update: str = "died") -> Failure:
    promised = {**LOST, "update": update}
    return Failure(f"kill-at-{phase}", f"SIGKILL {when}", does, says, SOURCE, promised=promised)


def _start(phase: str, mark: str, when: str) -> Failure:
    says = rf"killed by signal SIGKILL; it said last: SIGKILL at {mark}"
    return _kill(phase, when, signalled("KILL", mark), says)


KILLS: Sequence[Failure] = (
    _kill(
        "pre-switchover",
        "of old QEMU at pre-switchover",
        lambda scene: Killed(scene.guest, ordinary(scene).command, scene.timeout_s),
        r"old QEMU was killed by signal SIGKILL",
    ),
    _kill("save", "of old QEMU while it saves the state", saving, r"SIGKILL while it saves"),
    _start("exec", "exec", "right after the exec"),
    _start("devices", "vcpu", "when new QEMU has its processors and no devices"),
    _start("load", "state", "when new QEMU loads the state"),
    _kill(
        "running",
        "of new QEMU as soon as the guest answers in it",
        KilledRunning,
        r"the guest answered in new QEMU, which was killed by signal SIGKILL",
        update="done",
    ),
)
"""In the order of the phases."""
