"""One builder per image: a lock that dies with its holder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.images.progress import Progress


@contextmanager
def held(path: Path, what: str, progress: Progress) -> Iterator[None]:
    """Hold the lock file, after waiting for whoever has it; says who that is.

    The kernel drops the lock when its holder ends, however it ends.  The file stays: removing it
    would let two builders hold two files of one name.
    """
    with path.open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            progress.note(f"waiting for process {file.read().strip() or 'unknown'}, which is building {what}")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
