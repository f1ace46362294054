"""dma_intact of streams that begin and end in the guest, such as a disk's: truth tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.checkers import dma_intact

from .story import MS, Story
from .timelines import INVOKE, PERIOD_MS, RESUME, STOP, at, epoch_at, guest_ns, healthy
from .truth import FAIL, PASS, UNKNOWN, hold, row

SENT, RECEIVED = "nvme.write.sent", "nvme.write.received"
LATENCY_MS = 60


def disk(story: Story, latency_ms: float = LATENCY_MS, **declared: Any) -> Story:
    """A disk under load beside the NIC: a block every 10 ms, done `latency_ms` later, or twice that."""
    facts = {"sender": "guest", "receiver": "guest", "ordered": False, "in_flight": True} | declared
    story.add(0, "load.start", load="nvme", kind="block", streams={"write": facts}, rate_hz=100)
    ms = np.arange(100, at(story.updates, 3000), 10, dtype=np.float64)
    rest = ms % PERIOD_MS
    ms = ms[(rest < STOP) | (rest >= RESUME)]
    seq, good = np.arange(len(ms)), np.ones(len(ms))
    done_ns = guest_ns(ms) + np.int64(latency_ms * MS) * (1 + seq % 2)
    order = np.argsort(done_ns, kind="stable")
    story.table(SENT, seq=seq, epoch=epoch_at(ms), t_ns=guest_ns(ms), good=good)
    story.table(RECEIVED, seq=seq[order], epoch=epoch_at(ms)[order], t_ns=done_ns[order], good=good)
    last = at(story.updates, 3450)
    totals = {"write": {"blocks": len(ms)}}
    return story.add(last, "load.stop", load="nvme", totals=totals, drained=True)


def lose(row: int) -> Any:
    return lambda s: s.without_rows(RECEIVED, row)


INSIDE = [
    row(
        "all blocks come back", PASS, r"^\d+ blocks nvme.write intact; [5-9] in flight .* and \d+ after", disk
    ),
    row("two updates", PASS, r"in flight through the pause and \d+ after update 2", disk, updates=2),
    row("one is lost", FAIL, "1 of .* nvme.write lost", disk, lose(40)),
    row("one holds wrong bytes", FAIL, "wrong bytes", disk, lambda s: s.set_rows(RECEIVED, "good", 40, 0)),
    row(
        "one comes twice",
        FAIL,
        "came again",
        disk,
        lambda s: s.with_order(RECEIVED, 41, 40, at=41, of=1),
    ),
    row(
        "overtaken blocks of a stream in order",
        FAIL,
        "came late",
        lambda s: disk(s, ordered=True),
    ),
    row(
        "nothing was in flight when the guest was paused",
        UNKNOWN,
        "no block was surely in flight when the guest was paused in update 1",
        lambda s: disk(s, latency_ms=0.5),
    ),
    row(
        "a stream that need not have blocks in flight",
        PASS,
        r"\d+ inside and",
        lambda s: disk(s, latency_ms=0.5, in_flight=False),
    ),
    row(
        "nobody knows when the guest was paused",
        UNKNOWN,
        "nobody knows when the guest was paused in update 1",
        disk,
        lambda s: s.drop("qmp.event", name="STOP"),
    ),
    row(
        "QEMU's clock was never compared",
        UNKNOWN,
        "nobody knows when the guest was paused",
        disk,
        lambda s: s.drop("clock.sync", source="host-wall"),
    ),
    row(
        "the load slept before the update",
        UNKNOWN,
        "no block passed in the 1000 ms before update 1",
        disk,
        lambda s: _quiet(s, -2000, INVOKE),
    ),
    row(
        "its last block before the update is old",
        UNKNOWN,
        "no block passed in the 1000 ms before update 2",
        lambda s: disk(s, in_flight=False),
        lambda s: _quiet(s, 3700, 5000),
        updates=2,
    ),
    row(
        "it is near for a clock that is only known to within 0.6 s",
        PASS,
        "after update 2",
        lambda s: disk(s, in_flight=False),
        lambda s: _quiet(s, 3700, 5000),
        lambda s: s.change("clock.sync", {"source": "guest"}, error_ns=600 * MS),
        updates=2,
    ),
    row("nothing after the update", UNKNOWN, "no block of epoch 2", disk, lambda s: _quiet(s, RESUME, 9999)),
    row("the load does not exist", UNKNOWN, "no load declares the stream nvme.write"),
    row(
        "another load's trouble",
        PASS,
        "intact",
        disk,
        lambda s: s.add(2000, "load.stalled", load="nic", stream="to-guest", epoch=2, blocks=0),
        lambda s: s.add(2000, "load.anomaly", load="nic", stream="to-guest", what="torn", seq=1),
    ),
    row(
        "an anomaly of its own",
        FAIL,
        "1 error blocks reported",
        disk,
        lambda s: s.add(2000, "load.anomaly", load="nvme", stream="write", what="error", seq=1),
    ),
]


def beside(story: Story, latency_ms: float) -> Story:
    """The same load has a stream of reads, with blocks in flight or without."""
    disk(story, latency_ms=0.5)
    facts = {"sender": "guest", "receiver": "guest", "ordered": False, "in_flight": True}
    story.change("load.start", {"load": "nvme"}, streams={"write": facts, "read": facts})
    story.tables["nvme.read.sent"] = dict(story.tables[SENT])
    received = dict(story.tables[SENT])
    received["t_ns"] = received["t_ns"] + np.int64(latency_ms * MS)
    story.tables["nvme.read.received"] = received
    return story


def test_another_stream_of_the_load_may_have_the_blocks_in_flight(tmp_path: Path) -> None:
    says = "0 in flight through the pause"
    hold(dma_intact("nvme.write"), tmp_path / "a", (lambda s: beside(s, 60),), 1, PASS, says)
    says = "no block was surely in flight"
    hold(dma_intact("nvme.write"), tmp_path / "b", (lambda s: beside(s, 0.5),), 1, UNKNOWN, says)


def _quiet(story: Story, start_ms: float, end_ms: float) -> Story:
    """Nothing was sent or received in this time of the guest's life."""
    before = len(story.tables[SENT]["seq"])
    start_ns, end_ns = int(guest_ns(max(0, start_ms))), int(guest_ns(end_ms))
    gone = story.tables[SENT]["seq"][_within(story.tables[SENT]["t_ns"], start_ns, end_ns)]
    for name in (SENT, RECEIVED):
        story.keep_rows(name, lambda t: ~np.isin(t["seq"], gone))
    counted = before - len(gone)
    return story.change("load.stop", {"load": "nvme"}, totals={"write": {"blocks": counted}})


def _within(t_ns: Any, start_ns: int, end_ns: int) -> Any:
    return (t_ns >= start_ns) & (t_ns < end_ns)


@pytest.mark.parametrize("spoil, outcome, says, updates", INSIDE)
def test_inside(tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(dma_intact("nvme.write"), tmp_path, spoil, updates, outcome, says)


def test_the_healthy_story_has_one_load() -> None:
    assert SENT not in healthy().tables
