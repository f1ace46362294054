"""What lies on a disk that a guest wrote, read on the bench host after the guest is gone."""

import time
from array import array
from typing import Any

from ..blocks import Anomalies
from ..direct import DirectFile, buffer
from ..rpc import AgentError, Wire
from ..slots import Slots

BATCH_SLOTS = 1024
CHUNK_BYTES = 256 << 10


class _Rows:
    """The table <load>.medium: what lay in each slot."""

    def __init__(self, wire: Wire, table: str) -> None:
        self.count = self.empty = 0
        self._wire, self._table = wire, table
        self._clear()

    def add(self, slot: int, seq: int, epoch: int, good: int) -> None:
        self._slot.append(slot)
        self._seq.append(seq)
        self._epoch.append(epoch)
        self._t_ns.append(time.monotonic_ns())
        self._good.append(good)
        self.count += 1
        if len(self._slot) >= BATCH_SLOTS:
            self.flush()

    def flush(self) -> None:
        if self._slot:
            columns = {"slot": self._slot, "seq": self._seq, "epoch": self._epoch}
            columns |= {"t_ns": self._t_ns, "good": self._good}
            self._clear()
            self._wire.rows(self._table, **columns)

    def _clear(self) -> None:
        self._slot, self._seq = array("Q"), array("Q")
        self._epoch, self._t_ns, self._good = array("I"), array("q"), array("B")


def read_medium(
    wire: Wire,
    load: str,
    path: str,
    slots: int,
    block_bytes: int,
    seed: int,
    used: int | None = None,
) -> dict[str, Any]:
    """Read each slot, send table <load>.medium {slot, seq, epoch, t_ns, good} and the event load.medium.

    good is 1 if the slot holds a block of its own and every bit is right. A slot that holds something else
    has seq of the block it most probably was, or 0; one that cannot be read has no row. What is wrong is told
    as load.anomaly of the stream "medium", but for a slot of zeros, which may never have been written.
    It is not a page cache that answers: a disk is read with O_DIRECT, and its driver was bound anew since
    the guest had it. Only a file system in memory refuses O_DIRECT, whose cache is the medium itself.

    slots: that there are, as load.start tells
    used:  slots to read, those that may have been written: by default all
    Returns the data of load.medium: {load, path, slots, used, read, empty, anomalies, direct}

    Raises:
        AgentError: if the disk cannot be opened.
    """
    medium = Slots(seed, block_bytes, slots)
    rows, anomalies = _Rows(wire, f"{load}.medium"), Anomalies(wire, load, "medium")
    used = slots if used is None else min(used, slots)
    file = DirectFile.opened(path)
    try:
        if file.length() < medium.at(used):
            raise AgentError(f"{path} has {file.length()} bytes, {used} slots of {block_bytes} do not fit")
        step = max(1, CHUNK_BYTES // block_bytes)
        for first in range(0, used, step):
            _read(file, medium, range(first, min(first + step, used)), rows, anomalies)
    finally:
        file.close()
    rows.flush()
    told = {"load": load, "path": path, "slots": slots, "used": used, "read": rows.count}
    told |= {"empty": rows.empty, "anomalies": anomalies.counts, "direct": file.direct}
    wire.event("load.medium", **told)
    return told


def _read(file: DirectFile, medium: Slots, slots: range, rows: _Rows, anomalies: Anomalies) -> None:
    """Read neighbouring slots at once; one by one if that fails."""
    data = buffer(medium.at(len(slots)))
    data[:] = medium.poison * len(slots)
    try:
        count = file.read(data, medium.at(slots[0]))
    except OSError as error:
        count, reason = 0, error.strerror or str(error)
    else:
        reason = f"{count} of {len(data)} bytes came"
    if count == len(data):
        for index, slot in enumerate(slots):
            _look(medium, slot, data[medium.at(index) : medium.at(index + 1)], rows, anomalies)
    elif len(slots) > 1:
        for slot in slots:
            _read(file, medium, range(slot, slot + 1), rows, anomalies)
    else:
        anomalies.seen("error", None, {"slot": slots[0], "error": reason})


def _look(medium: Slots, slot: int, data: bytes, rows: _Rows, anomalies: Anomalies) -> None:
    look = medium.look(slot, data)
    rows.add(slot, look.seq or 0, look.epoch, int(not look.what))
    if look.what == "empty":  # as the load left it before its first block
        rows.empty += 1
    elif look.what:
        anomalies.seen(look.what, look.seq, look.detail | {"slot": slot})
