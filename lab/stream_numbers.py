"""Numbers of one stream around one update: pure, and None where the timeline does not tell."""

from collections.abc import Mapping

import numpy as np

from lab.checkers.clocks import span
from lab.checkers.findings import Findings
from lab.checkers.flight import paused_at
from lab.checkers.tables import Column, ascending, between, pieces, whole
from lab.checkers.updates import Update
from lab.streams import GUEST, StreamFacts
from lab.timeline import Timeline

BIN_NS = 50_000_000
Columns = Mapping[str, Column]


def table(timeline: Timeline, name: str) -> Columns | None:
    """A table of blocks with rows in the order of its clock."""
    columns = whole(Findings(""), timeline, name)
    return columns if columns is not None and ascending(columns["t_ns"]) else None


def blocks_inside(timeline: Timeline, stream: StreamFacts, update: Update) -> int | None:
    """How many were received from the update's invoke to its end, by the receiver's clock."""
    columns = table(timeline, stream.received)
    at = span(timeline, stream.receiver, update.invoke.t_ns, update.done.t_ns)
    if columns is None or at is None:
        return None
    rows = between(columns["t_ns"], at.start_ns, at.end_ns)
    return max(0, int(rows.stop) - int(rows.start))


def share_with_dma(timeline: Timeline, stream: StreamFacts, update: Update) -> float | None:
    """Of the update's 50 ms bins, the share in which a block was completed, seen from outside the guest.

    Of a stream towards the guest a bin counts if in it a block was sent that arrived: while the guest is
    paused nobody there can tell when. None if both ends are in the guest, or samples are all there is.
    """
    outside = stream.outside
    if outside is None or stream.sampled:
        return None
    columns = table(timeline, outside[0])
    at = span(timeline, outside[1], update.invoke.t_ns, update.done.t_ns)
    if columns is None or at is None or at.end_ns - at.start_ns < BIN_NS:
        return None
    bins = (at.end_ns - at.start_ns) // BIN_NS
    rows = between(columns["t_ns"], at.start_ns, at.start_ns + bins * BIN_NS - 1)
    seq, t_ns = columns["seq"][rows], columns["t_ns"][rows]
    if stream.receiver == GUEST:
        arrived = _arrived(timeline, stream, seq)
        if arrived is None:
            return None
        t_ns = t_ns[arrived]
    return len(np.unique((t_ns - at.start_ns) // BIN_NS)) / bins


def in_flight_at_pause(timeline: Timeline, stream: StreamFacts, update: Update) -> int | None:
    """How many blocks were surely sent before the guest was paused, and received after it lived again.

    By the guest's clock, which stands still in between; None unless it stamps both ends.
    """
    if (stream.sender, stream.receiver) != (GUEST, GUEST):
        return None
    sent, received = table(timeline, stream.sent), table(timeline, stream.received)
    at = paused_at(timeline, update)
    if sent is None or received is None or at is None or not ascending(sent["seq"], strictly=True):
        return None
    begun = int(np.searchsorted(sent["t_ns"], at.start_ns - at.error_ns))
    ended = int(np.searchsorted(received["t_ns"], at.end_ns + at.error_ns, "right"))
    if not begun:
        return 0
    later = received["seq"][ended:]
    known = later[(later >= sent["seq"][0]) & (later <= sent["seq"][begun - 1])]
    return len(np.unique(known))


def _arrived(timeline: Timeline, stream: StreamFacts, seq: Column) -> Column | None:
    """Which of these numbers were received, sooner or later."""
    received = whole(Findings(""), timeline, stream.received)
    if received is None:
        return None
    if not len(seq):
        return np.zeros(0, np.bool_)
    low, high = seq.min(), seq.max()
    parts = [received["seq"][piece] for piece in pieces(len(received["seq"]))]
    return np.isin(seq, np.concatenate([part[(part >= low) & (part <= high)] for part in parts]))
