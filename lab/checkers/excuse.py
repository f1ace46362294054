"""When a loss is the load's own fault: an overrun ring, or the lab's own socket.

A loss so explained is UNKNOWN, not FAIL: the load was too fast to test anything. Without
counters that account for every lost block there is no excuse.
"""

from dataclasses import dataclass

from lab.checkers.clocks import Span, span
from lab.checkers.findings import Findings
from lab.checkers.tables import ascending, longest_gap_ns, whole
from lab.checkers.updates import updates
from lab.streams import GUEST, StreamFacts, streams
from lab.timeline import Event, Timeline

RING_COUNTERS = {
    "rx_no_buffer_count": "igb, ixgbe",
    "rx_missed_errors": "igb, ixgbe: their FIFO was full",
    "rx_fifo_errors": "igb: the two above, once more",
    "rx_no_dma_resources": "ixgbe: no descriptor",
    "rx_dropped": "ice: of its own VSI",
    "rx_out_of_buffer": "mlx5: of its own queues",
}
"""How drivers name frames of the function itself that met no buffer (`ethtool -S`), and which do.

What counts the whole port is left out (mlx5: rx_discards_phy, ice: rx_dropped.nic): the losses of other
functions are no excuse. Source: Linux drivers/net/ethernet. Of these drivers igb alone was run.
"""
_MARGIN_NS = 1_000_000_000
_NS_PER_S = 1e9


@dataclass(frozen=True)
class Excuse:
    """Why a loss proves nothing, with the arithmetic and the events it rests on."""

    text: str
    events: tuple[Event, ...]


def excuse(timeline: Timeline, stream: StreamFacts, lost: int) -> Excuse | None:
    """What explains the loss of so many blocks; None if nothing does."""
    socket = "guest-socket" if stream.receiver == GUEST else "far-socket"
    dropped, sockets = _growth(timeline, stream.load, (socket, "wire-socket"), "drop")
    if dropped >= lost:
        return Excuse(f"lost in the lab's own socket, which dropped {dropped}", sockets)
    if stream.receiver != GUEST or stream.sender == GUEST:
        return None  # only what comes from outside meets a ring that a paused guest does not empty
    missed, nic = _ring_growth(timeline, stream.load)
    if missed + dropped < lost:
        return None
    start = next(iter(timeline.of("load.start", load=stream.load)), None)
    gap_s = _pause_s(timeline, stream.load)
    if start is None or gap_s is None:
        return None
    rate, ring = float(start.data.get("rate_hz", 0)), int(start.data.get("ring_blocks", 0))
    if not ring or rate * gap_s <= ring:
        return None
    return Excuse(
        f"{rate:g} blocks/s for {gap_s:.2f} s are {rate * gap_s:.0f}, more than the ring's {ring}, "
        f"and the NIC counted {missed} without a buffer",
        (start, *nic),
    )


def _growth(
    timeline: Timeline, load: str, places: tuple[str, ...], word: str
) -> tuple[int, tuple[Event, ...]]:
    """How much all counters with a word in their name grew in these places, start to end."""
    total, events = 0, dict[int, Event]()
    for place in places:
        for name, grown, pair in _grown(timeline, load, place):
            if word in name and grown > 0:
                total += grown
                events |= {event.index: event for event in pair}
    return total, tuple(events.values())


def _ring_growth(timeline: Timeline, load: str) -> tuple[int, tuple[Event, ...]]:
    """The largest growth of the NIC's counters of frames without a buffer.

    Not their sum: drivers report one loss under several names (igb: rx_fifo_errors repeats
    rx_no_buffer_count), and a sum would excuse blocks that were truly lost.
    """
    rows = [row for row in _grown(timeline, load, "guest-nic") if row[0] in RING_COUNTERS]
    if not rows:
        return 0, ()
    _, grown, pair = max(rows, key=lambda row: row[1])
    return max(0, grown), tuple(pair)


def _grown(timeline: Timeline, load: str, where: str) -> list[tuple[str, int, list[Event]]]:
    starts = timeline.of("load.counters", load=load, where=where, when="start")
    ends = timeline.of("load.counters", load=load, where=where, when="end")
    if not starts or not ends:
        return []
    before, after = starts[0].data["counters"], ends[-1].data["counters"]
    both = [name for name in after if name in before]
    return [(name, int(after[name]) - int(before[name]), [starts[0], ends[-1]]) for name in both]


def _pause_s(timeline: Timeline, load: str) -> float | None:
    """The longest silence around any update, as one end of the load saw it."""
    gaps = []
    for stream in (s for s in streams(timeline) if s.load == load):
        columns = whole(Findings("excuse"), timeline, stream.received)
        if columns is None or not ascending(columns["t_ns"]):
            continue
        spans = _around(timeline, stream.receiver)
        gaps += [longest_gap_ns(columns["t_ns"], at.start_ns, at.end_ns) for at in spans]
    known = [gap for gap in gaps if gap is not None]
    return max(known) / _NS_PER_S if known else None


def _around(timeline: Timeline, source: str) -> list[Span]:
    spans = [
        span(timeline, source, u.invoke.t_ns, u.end.t_ns + _MARGIN_NS) for u in updates(timeline) if u.end
    ]
    return [at for at in spans if at is not None]
