"""What one end of a load saw of its blocks: rows in batches, anomalies as events."""

import time
from array import array
from typing import Any

from .rpc import Wire

EVENTS_OF_A_KIND = 100
"""Anomalies told one by one; more of the same kind are only counted."""


class BlockRows:
    """Collects the rows of one table of blocks and sends them when told to."""

    def __init__(self, out: Wire, table: str) -> None:
        self.blocks = 0
        self._out, self._table = out, table
        self._clear()

    def add(self, seq: int, epoch: int, t_ns: int, good: int) -> None:
        self._seq.append(seq)
        self._epoch.append(epoch)
        self._t_ns.append(t_ns)
        self._good.append(good)

    def flush(self) -> None:
        """Send what was collected, if anything."""
        if not self._seq:
            return
        self.blocks += len(self._seq)
        columns = {"seq": self._seq, "epoch": self._epoch, "t_ns": self._t_ns, "good": self._good}
        self._clear()
        self._out.rows(self._table, **columns)

    def _clear(self) -> None:
        self._seq, self._epoch = array("Q"), array("I")
        self._t_ns, self._good = array("q"), array("B")


class Anomalies:
    """Tells and counts what is not as it should be in one stream."""

    def __init__(self, out: Wire, load: str, stream: str) -> None:
        self.counts: dict[str, int] = {}
        self._out, self._load, self._stream = out, load, stream

    def seen(self, what: str, seq: int | None, detail: dict[str, Any]) -> None:
        self.counts[what] = count = self.counts.get(what, 0) + 1
        if count > EVENTS_OF_A_KIND:
            return
        data = {"load": self._load, "stream": self._stream, "what": what, "seq": seq, "detail": detail}
        self._out.event("load.anomaly", **data, t_src_ns=time.monotonic_ns())
