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
HANG_S = 8.0
"""Longer than new QEMU needs: it answered within 2 s of the exec on a busy bench host."""
KILLER = Path(__file__).with_name("killer.py")


def _with(change: Callable[[list[str]], list[str]]) -> Callable[[Scene], Mode]:
    def does(scene: Scene) -> Mode:
        good = ordinary(scene)
        return replace(good, command=change(list(good.command)))

    return does


def _unknown_option(argv: list[str]) -> list[str]:
    return [*argv, "-no-such-option"]


def without_vfio(argv: list[str]) -> list[str]:
    """A command line without its functions assigned by VFIO."""
    kept: list[str] = []
    words = iter(argv)
    for word in words:
        pair = [word, next(words)] if word == "-device" else [word]
        if not pair[-1].startswith("vfio-pci"):
            kept += pair
    return kept


def signalled(signal: str, phase: str, timeout_s: float | None = None) -> Callable[[Scene], Mode]:
    """New QEMU gets a signal in a phase of its start: see lab/failures/killer.py."""

    def does(scene: Scene) -> Mode:
        good = ordinary(scene)
        killer = ["/usr/bin/python3", scene.host.put_blob(KILLER), signal, phase]
        return replace(good, command=[*killer, *good.command], timeout_s=timeout_s or good.timeout_s)

    return does


def _lost(name: str, title: str, does: Callable[[Scene], Mode], says: str) -> Failure:
    return Failure(name, title, does, says, SOURCE, promised=LOST)


BAD_ARGV = _lost(
    "new-rejects-argv",
    "new QEMU rejects its argv",
    _with(_unknown_option),
    r"-no-such-option: invalid option",
)
LACKS_DEVICE = _lost(
    "new-lacks-device",
    "new QEMU's argv lacks the VFIO device",
    _with(without_vfio),
    r"Unknown section or instance|Unknown savevm section|load of migration failed",
)
CRASHES = _lost(
    "new-crashes",
    "new QEMU crashes in initialisation (SIGSEGV when it has its processors and no devices)",
    signalled("SEGV", "vcpu"),
    r"killed by signal SIGSEGV; it said last: SIGSEGV at vcpu",
)
HANGS = Failure(
    "new-hangs",
    "new QEMU hangs in initialisation (SIGSTOP when it has its processors and no devices)",
    signalled("STOP", "vcpu", HANG_S),
    r"SIGSTOP at vcpu",
    f"{SOURCE}; new QEMU has its descriptors, so the device goes on, and interrupts nobody",
    promised={**LOST, "update": "hung", "guest": "silent", "interrupts": "flow"},
)
