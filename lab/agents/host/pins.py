"""The pins witness: pinned pages of the host and the accounting of one process, sampled at a steady rate.

Source: Linux mm/vmstat.c nr_foll_pin_acquired, nr_foll_pin_released: system-wide, they only grow.
"""

import os
import threading
import time
from array import array
from contextlib import suppress

from ..rpc import AgentError, Wire
from .epoch import Epoch

BATCH_NS = 250_000_000
GONE = -1
_VMSTAT_BYTES, _STATUS_BYTES = 1 << 14, 1 << 12


class PinSampler:
    """Sends rows "pins" (t_ns, epoch, pinned in pages, vmlck_kb, vmpin_kb) about four times a second.

    A sample that comes late is late by its own t_ns; samples that would all be late are left out.
    """

    def __init__(self, wire: Wire, epoch: Epoch, pid: int, period_ms: float = 10.0) -> None:
        self._wire, self._epoch, self._period_ns = wire, epoch, int(period_ms * 1e6)
        self._vmstat = _opened("/proc/vmstat")
        self._status = _opened(f"/proc/{pid}/status")
        self._stop, self._following = threading.Event(), threading.Lock()
        self._columns = _columns()
        self._sample()  # fails here, where the caller hears of it, if the kernel has no such counters
        self._thread = threading.Thread(target=self._run, name="pins", daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, int]:
        """End; all samples are sent when this returns."""
        self._stop.set()
        self._thread.join(5.0)
        return {}

    def follow(self, pid: int) -> None:
        """Sample the accounting of another process from now on."""
        fresh = _opened(f"/proc/{pid}/status")
        with self._following:
            self._status, old = fresh, self._status
        os.close(old)

    def abandon(self) -> None:
        """End without a word."""
        self._stop.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        _hurry()
        due = sent = time.monotonic_ns()
        try:
            while not self._stop.wait(max(0, due - time.monotonic_ns()) / 1e9):
                self._sample()
                now = time.monotonic_ns()
                due = max(due + self._period_ns, now - self._period_ns)
                if now - sent >= BATCH_NS:
                    self._send()
                    sent = now
            self._send()
        except (AgentError, OSError) as error:
            self._wire.event("witness.blind", witness="pins", reason=f"{error}")
        finally:
            os.close(self._vmstat)
            os.close(self._status)

    def _sample(self) -> None:
        vmstat, t_ns = os.pread(self._vmstat, _VMSTAT_BYTES, 0), time.monotonic_ns()
        pinned = counter(vmstat, b"\nnr_foll_pin_acquired ") - counter(vmstat, b"\nnr_foll_pin_released ")
        locked_kb, pinned_kb = self._accounting()
        for column, value in zip(
            self._columns.values(), (t_ns, self._epoch.number, pinned, locked_kb, pinned_kb), strict=True
        ):
            column.append(value)

    def _accounting(self) -> tuple[int, int]:
        try:
            with self._following:
                status = os.pread(self._status, _STATUS_BYTES, 0)
            # a zombie has no memory: the lines are missing
            return counter(status, b"\nVmLck:"), counter(status, b"\nVmPin:")
        except (ProcessLookupError, AgentError):
            return GONE, GONE

    def _send(self) -> None:
        columns, self._columns = self._columns, _columns()
        if columns["t_ns"]:
            self._wire.rows("pins", **columns)


def _hurry() -> None:
    """Run before ordinary threads: an update makes the host busy, and then the samples count most."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))  # 0 is this thread, not the process


def counter(text: bytes, name: bytes) -> int:
    """The number after `name`.

    Raises:
        AgentError: if it is not there.
    """
    if (at := text.find(name)) < 0:
        raise AgentError(f"this kernel shows no {name.decode().strip(' :' + chr(10))}")
    start = at + len(name)
    return int(text[start : text.index(b"\n", start)].split()[0])


def _columns() -> "dict[str, array[int]]":
    return {
        name: array(code)
        for name, code in zip(("t_ns", "epoch", "pinned", "vmlck_kb", "vmpin_kb"), "qIqqq", strict=True)
    }


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise AgentError(f"cannot sample pins: {error}") from None
