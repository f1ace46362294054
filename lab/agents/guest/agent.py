"""The calls of the guest agent."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..loop import Loop
from ..rpc import Wire
from .heartbeat import Heartbeat
from .interfaces import all_interfaces
from .loads import Loads
from .programs import CALLS as PROGRAMS
from .streams import Streams
from .suspend import Suspend


def boot_id() -> str:
    """Differs from boot to boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class GuestAgent:
    """What the guest can be asked; see `calls`.

    wire: in place of a network interface of the NIC load, for tests
    """

    def __init__(self, loop: Loop, out: Wire, wire: str = "") -> None:
        self._loop, self._out = loop, out
        self.heartbeat = Heartbeat(loop, out, boot_id())
        self.loads, self.streams = Loads(loop, out, wire), Streams()
        self.calls: dict[str, Callable[..., Any]] = {
            "hello": self.hello,
            "clock": lambda: {"t_ns": time.monotonic_ns()},
            "epoch": self.epoch,
            "heartbeat_start": self.heartbeat.start,
            "interrupts": interrupts,
            "suspend": Suspend(loop, out).suspend,
            "memory_kb": memory_kb,
            "mishap_freeze": self.freeze,
            "mishap_heart": self.heartbeat.stop,
            **PROGRAMS,
            **self.loads.calls,
            **self.streams.calls,
        }

    def hello(self) -> dict[str, Any]:
        """{boot_id, kernel, t_ns, cmdline, ifaces}; also the event guest.booted."""
        t_ns, boot = time.monotonic_ns(), boot_id()
        kernel = Path("/proc/sys/kernel/osrelease").read_text(encoding="ascii").strip()
        self._out.event("guest.booted", boot_id=boot, kernel=kernel, t_src_ns=t_ns)
        cmdline = Path("/proc/cmdline").read_text(encoding="utf-8").strip()
        return {
            "boot_id": boot,
            "kernel": kernel,
            "t_ns": t_ns,
            "cmdline": cmdline,
            "ifaces": all_interfaces(),
        }

    def freeze(self, seconds: float) -> None:
        """Hang for so long: a fault, to see whether the lab notices."""
        # imported when asked for, as in loads.py
        from ..mishaps import freeze

        freeze(self._loop, seconds)

    def epoch(self, number: int) -> None:
        """What is sent, beats and streams carry it from now on."""
        for part in (self.loads, self.streams):
            part.epoch(number)
        self.heartbeat.epoch = number


def memory_kb() -> dict[str, int]:
    """{total, available}: what the kernel has, modules that were plugged included."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    fields = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return {"total": fields["MemTotal"], "available": fields["MemAvailable"]}


def interrupts() -> dict[str, int]:
    """Interrupts of each line of /proc/interrupts since boot, over all processors."""
    processors, *lines = Path("/proc/interrupts").read_text(encoding="utf-8").splitlines()
    columns = len(processors.split())
    counts: dict[str, int] = {}
    for line in lines:
        number, *fields = line.split()
        values = [int(field) for field in fields[:columns] if field.isdigit()]
        counts[f"{number} {' '.join(fields[len(values) :])}".strip()] = sum(values)
    return counts
