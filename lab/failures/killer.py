"""Executes new QEMU, and sends it a signal in a phase of its start: on the bench host, standard library only.

python3 killer.py SIGNAL PHASE QEMU ARG...

Old QEMU execs it as it would exec new QEMU. A child, which keeps none of the descriptors, watches what the
process opens, and says so before it sends the signal. Phases: `exec` at once, in the place of new QEMU;
`socket` when it listens for its monitor; `vcpu` when it has a processor; `state` when it has opened the file
it loads the guest from.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

PATIENCE_S = 60.0
MARKS = {"vcpu": "anon_inode:kvm-vcpu", "state": "/vm.state"}


def opened(pid: int) -> list[str]:
    """What a process has open."""
    found = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # closed meanwhile
                found.append(str(fd.readlink()))
    return found


Which = tuple[int, int]
NONE: Which = (0, 0)


def named(path: str) -> Which:
    """Which file a path names now: the number of an inode may come again."""
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        return NONE
    return found.st_ino, found.st_ctime_ns


def reached(pid: int, phase: str, monitor: str, before: Which) -> bool:
    """Whether it has come so far."""
    if phase == "socket":
        return named(monitor) not in (NONE, before)
    return any(MARKS[phase] in link for link in opened(pid))


def monitor_of(argv: Sequence[str]) -> str:
    """The path of its monitor's socket."""
    return argv[list(argv).index("-qmp") + 1].removeprefix("unix:").split(",")[0]


def watch(pid: int, number: signal.Signals, phase: str, monitor: str, before: Which) -> None:
    """Send it the signal when it is there."""
    os.closerange(3, min(os.sysconf("SC_OPEN_MAX"), 1 << 16))
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and os.getppid() == pid:
        if reached(pid, phase, monitor, before):
            say(number, phase)
            os.kill(pid, number)
            return


def say(number: signal.Signals, phase: str) -> None:
    """On standard error, which is QEMU's."""
    os.write(2, f"{number.name} at {phase}\n".encode())


def main(name: str, phase: str, *argv: str) -> None:
    number = signal.Signals[f"SIG{name}"]
    if phase == "exec":
        say(number, phase)
        os.kill(os.getpid(), number)
    monitor = monitor_of(argv)
    before, pid = named(monitor), os.getpid()
    if os.fork() == 0:
        try:
            watch(pid, number, phase, monitor, before)
        finally:
            os._exit(0)
    os.execv(argv[0], argv)


if __name__ == "__main__":
    main(*sys.argv[1:])
