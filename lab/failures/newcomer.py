"""New QEMU is executed, and does not get as far as running the guest.

Source: QEMU docs/devel/migration/CPR.rst, cpr-exec: old QEMU is gone once the exec succeeds; there is nothing
to go back to. So the loss of the guest is promised; asked for is that the host gets everything back.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lab.cpr import Mode
from lab.failures import LOST, Failure, Scene
from lab.failures.exec import ordinary

SOURCE = "docs/devel/migration/CPR.rst, cpr-exec: after the exec there is no old QEMU to go back to"
KILLER = Path(__file__).with_name("killer.py")


def _with(change: Callable[[list[str]], list[str]]) -> Callable[[Scene], Mode]:
    def does(scene: Scene) -> Mode:
        good = ordinary(scene)
        return replace(good, command=change(list(good.command)))

    return does


def _unknown_option(argv: list[str]) -> list[str]:
    return [*argv, "-no-such-option"]


def killed(signal: str, phase: str) -> Callable[[Scene], Mode]:
    """New QEMU is killed in a phase of its start: see lab/failures/killer.py."""

    def does(scene: Scene) -> Mode:
        good = ordinary(scene)
        killer = ["/usr/bin/python3", scene.host.put_blob(KILLER), signal, phase]
        return replace(good, command=[*killer, *good.command])

    return does


def _lost(name: str, title: str, does: Callable[[Scene], Mode], says: str) -> Failure:
    return Failure(name, title, does, says, SOURCE, promised=LOST)


BAD_ARGV = _lost(
    "new-rejects-argv",
    "new QEMU rejects its argv",
    _with(_unknown_option),
    r"-no-such-option: invalid option",
)
KILLED = (
    _lost(
        "kill-at-exec", "SIGKILL right after the exec", killed("KILL", "exec"), r"killed by signal SIGKILL"
    ),
    _lost(
        "kill-at-devices",
        "SIGKILL when new QEMU has its processors and no devices",
        killed("KILL", "vcpu"),
        r"killed by signal SIGKILL",
    ),
    _lost(
        "kill-at-load",
        "SIGKILL when new QEMU loads the state",
        killed("KILL", "state"),
        r"killed by signal SIGKILL",
    ),
)
