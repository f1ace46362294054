"""The exec itself fails: what cpr-exec-command names cannot be executed.

Source: QEMU docs/devel/migration/CPR.rst, cpr-exec; migration/cpr-exec.c: if execvp fails, the migration
fails and the guest is resumed. So it is without a VFIO device (testcases/test_qemu_update.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from lab.cpr import Mode
from lab.cpr.cpr_exec import CprExec
from lab.failures import LOST, Failure, Scene

SOURCE = "migration/cpr-exec.c: when execvp fails the migration fails, and the guest is resumed"
REASON = "QEMU 11.1.3: a failed exec with a VFIO device ends in SIGSEGV (reproductions/vfio-failed-exec.sh)"
KNOWN: Mapping[str, Mapping[str, str]] = {"11.1": {q: a for q, a in LOST.items() if q != "unpinned"}}


def ordinary(scene: Scene) -> CprExec:
    """An update that would go well."""
    guest = scene.guest
    command = guest.command(scene.qemu)
    return CprExec(guest.monitor, command, guest.config.state_file, scene.timeout_s)


def program(path: str) -> Callable[[Scene], Mode]:
    """The same with another program than QEMU."""

    def does(scene: Scene) -> Mode:
        good = ordinary(scene)
        return replace(good, command=[path, *good.command[1:]])

    return does


def _failure(name: str, title: str, does: Callable[[Scene], Mode], says: str, *words: str) -> Failure:
    return Failure(name, title, does, says, SOURCE, known=KNOWN, reason=REASON, words=words)


MISSING = _failure(
    "exec-missing",
    "exec of a program that is not there",
    program("/nonexistent/qemu"),
    r"execvp /nonexistent/qemu failed: No such file or directory",
)
FORBIDDEN = _failure(
    "exec-no-permission",
    "exec of a program without permission",
    program("/etc/passwd"),
    r"execvp /etc/passwd failed: Permission denied",
)
SANDBOX = _failure(
    "exec-sandbox",
    "a sandbox that forbids exec (-sandbox on,spawn=deny)",
    ordinary,
    r"execvp .* failed: Operation not permitted",
    *("-sandbox", "on,spawn=deny"),
)
