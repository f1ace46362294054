"""Which processor of the controller an emulated bench host is kept on."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROCESSORS = Path("/sys/devices/system/cpu")


@contextmanager
def one_processor(folder: Path = PROCESSORS) -> Iterator[int]:
    """A processor that no other bench on this machine is kept on, while the context is open.

    If there are more benches than processors, one of them is shared. The lock is on the processor's own
    folder in sysfs: nothing is left behind, and it ends with its holder.
    """
    processors = sorted(os.sched_getaffinity(0))
    for number in processors:
        lock = os.open(folder / f"cpu{number}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield number
            return
        finally:
            os.close(lock)
    yield processors[os.getpid() % len(processors)]
