"""The guest kernel's log as events."""

import os
import time

from ..loop import Loop
from ..rpc import Wire

RECORDS_A_TURN = 16
WARNING = 4


class KernelLog:
    """Sends what the kernel logs from now on, and of what it logged before, warnings and worse.

    `t_src_ns` is the kernel's time stamp (microseconds since boot).
    Source: Documentation/ABI/testing/dev-kmsg.
    """

    def __init__(self, loop: Loop, out: Wire, path: str = "/dev/kmsg") -> None:
        self._out, self._started_us = out, time.monotonic_ns() // 1000
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        loop.watch(self._fd, self._read)

    def _read(self, _: int) -> None:
        for _ in range(RECORDS_A_TURN):
            try:
                record = os.read(self._fd, 8192)
            except BlockingIOError:
                return
            except BrokenPipeError:
                reason = "the kernel's log was overwritten before it was read"
                self._out.event("witness.blind", witness="kmsg-guest", reason=reason, where="guest")
                continue
            if not record:  # a file in place of the kernel's log, in a test
                return
            self._tell(record.decode("utf-8", "replace"))

    def _tell(self, record: str) -> None:
        prefix, _, text = record.partition(";")
        priority, _, time_us, *_ = prefix.split(",")
        level = int(priority) & 7
        if level <= WARNING or int(time_us) >= self._started_us:
            line = text.split("\n")[0]
            self._out.event("log", where="guest", level=level, text=line, t_src_ns=int(time_us) * 1000)
