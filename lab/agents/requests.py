"""One stream of requests to a device, put by several threads."""

import threading
import time
from typing import Any

from .blocks import Anomalies, BlockRows
from .rpc import Wire


class Requests:
    """Tells of each request when it was put and when the device said it was done.

    Guarantees: both tables ascend in time, `sent` strictly ascends in number; a request has a row in
    `received` if and only if the device answered it, good only if nothing is wrong with the answer.
    """

    def __init__(self, out: Wire, load: str, stream: str) -> None:
        self._sent = BlockRows(out, f"{load}.{stream}.sent")
        self._received = BlockRows(out, f"{load}.{stream}.received")
        self._anomalies = Anomalies(out, load, stream)
        self._lock = threading.Lock()
        self._next = self._under_way = 0
        self._started_ns = self._seen_ns = time.monotonic_ns()
        self._busy_ns = self._waited_ns = 0
        self._closed = False

    def begin(self, epoch: int, number: int | None = None) -> int:
        """A request is put now; its number, by default the next one."""
        with self._lock:
            number = self._next if number is None else number
            if not self._closed:
                self._next = number + 1
                self._sent.add(number, epoch, self._now_ns(), 1)
                self._under_way += 1
            return number

    def end(self, number: int, epoch: int, what: str = "", detail: dict[str, Any] | None = None) -> None:
        """The device answered a request; `what` is wrong with the answer."""
        with self._lock:
            if not self._closed:
                self._received.add(number, epoch, self._now_ns(), int(not what))
                self._under_way -= 1
                if what:
                    self._anomalies.seen(what, number, detail or {})

    def failed(self, detail: dict[str, Any]) -> None:
        """Something else that was asked of the device failed."""
        with self._lock:
            self._anomalies.seen("error", None, detail)

    def flush(self) -> None:
        """Send the rows that were collected."""
        with self._lock:
            self._sent.flush()
            self._received.flush()

    def close(self) -> None:
        """From now on nothing is told: what comes back, or is put, came too late."""
        with self._lock:
            self._closed = True

    def totals(self, missed: int = 0) -> dict[str, Any]:
        """What was put and answered up to now, all its rows on their way.

        missed:         blocks left out because the requests before them took too long
        rate_hz:        that was reached, from the first request to the last answer, like what follows
        busy_share:     of the time in which some request was under way
        mean_in_flight: how many were, on the average
        """
        self.flush()
        with self._lock:
            elapsed_ns = max(1, self._seen_ns - self._started_ns)
            return {
                "sent": self._sent.blocks,
                "received": self._received.blocks,
                "missed_slots": missed,
                "rate_hz": round(self._sent.blocks * 1e9 / elapsed_ns, 1),
                "under_way": self._under_way,
                "busy_share": round(self._busy_ns / elapsed_ns, 3),
                "mean_in_flight": round(self._waited_ns / elapsed_ns, 1),
                "anomalies": dict(self._anomalies.counts),
            }

    def _now_ns(self) -> int:
        """The time, up to which the requests under way are accounted for."""
        now_ns = time.monotonic_ns()
        passed_ns, self._seen_ns = now_ns - self._seen_ns, now_ns
        self._busy_ns += passed_ns if self._under_way else 0
        self._waited_ns += passed_ns * self._under_way
        return now_ns
