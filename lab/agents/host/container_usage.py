"""What a container uses: memory by its cgroup, processes and descriptors by looking, again and again.

Source: Linux Documentation/admin-guide/cgroup-v2.rst: memory.peak is reset for one descriptor by
writing to it (since 6.12); memory.events counts.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

_PERIOD_S = 0.02


class Usage:
    """Looks until `close`.

    first: the container's own agent, which is no guest's QEMU

    Raises:
        AgentError, OSError: the kernel has no such files.
    """

    def __init__(self, cgroup: Path, first: int) -> None:
        self._cgroup, self._first = cgroup, first
        self._peak = os.open(cgroup / "memory.peak", os.O_RDWR | os.O_CLOEXEC)
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._most = (0, 0)
        self._thread = threading.Thread(target=self._run, name="container", daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Count peaks anew from now on."""
        with self._lock:
            os.write(self._peak, b"reset")
            self._most = _qemus(self._cgroup, self._first)

    def report(self) -> dict[str, Any]:
        """{memory {current, peak, max, events}, most {qemus, descriptors}}; max None: no limit.

        most: processes beside the agent that were there at once, and the descriptors that they had open
        """
        limit = (self._cgroup / "memory.max").read_text().strip()
        events = (self._cgroup / "memory.events").read_text().split()
        with self._lock:
            qemus, descriptors = self._most
            peak = int(os.pread(self._peak, 64, 0))
        return {
            "memory": {
                "current": int((self._cgroup / "memory.current").read_text()),
                "peak": peak,
                "max": None if limit == "max" else int(limit),
                "events": dict(zip(events[::2], map(int, events[1::2]), strict=True)),
            },
            "most": {"qemus": qemus, "descriptors": descriptors},
        }

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5.0)
        os.close(self._peak)

    def _run(self) -> None:
        while not self._stop.wait(_PERIOD_S):
            with self._lock, suppress(OSError):  # the container has ended: what was seen stays
                seen = _qemus(self._cgroup, self._first)
                self._most = max(self._most[0], seen[0]), max(self._most[1], seen[1])


def _qemus(cgroup: Path, first: int) -> tuple[int, int]:
    """How many processes there are beside the first, and how many descriptors they have open."""
    found, descriptors = 0, 0
    for pid in (cgroup / "cgroup.procs").read_text().split():
        if int(pid) != first:
            with suppress(FileNotFoundError, ProcessLookupError):  # ended meanwhile
                descriptors += sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
                found += 1
    return found, descriptors
