"""Which processor of the controller an emulated bench host is kept on."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.drivers.run_dirs import runtime_dir


@contextmanager
def one_processor(folder: Path | None = None) -> Iterator[int]:
    """A processor that no other bench of this user is kept on, while the context is open.

    If there are more benches than processors, one of them is shared.
    folder: where locks are, for tests
    """
    processors = sorted(os.sched_getaffinity(0))
    for number in processors:
        path = (folder or runtime_dir()) / f"cprlab-processor-{os.getuid()}-{number}"
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield number
            return
    yield processors[os.getpid() % len(processors)]
