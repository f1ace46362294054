"""dma_intact at its edges: other loads beside this one, moments to the nanosecond, what goes unsaid."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.checkers import dma_intact
from lab.checkers.flight import in_flight, paused_at, paused_on_host
from lab.checkers.updates import updates

from .spoilers import BEFORE, TO, TO_RECEIVED, TO_SENT, counted, lose_last, quiet
from .story import MS, START_NS, Story
from .test_checker_dma_inside import beside, disk
from .timelines import INVOKE, OK, RESUME, STOP, far_ns, healthy
from .truth import FAIL, PASS, UNKNOWN, hold, row


def another(story: Story) -> Story:
    """A load beside this one, which knows nothing of itself, ends last."""
    return story.add(3460, "load.stop", load="gpu", totals={}, drained=False)


def last_before(ns: int) -> Any:
    """Of the blocks before the update all but one are too old to be near; that one was sent then."""

    def spoil(story: Story) -> None:
        story.set_rows(TO_SENT, "t_ns", slice(0, 179), far_ns(-2))
        story.set_rows(TO_SENT, "t_ns", 179, ns)

    return spoil


def lose_inside(story: Story) -> None:
    inside = (story.tables[TO_RECEIVED]["seq"] >= 181) & (story.tables[TO_RECEIVED]["seq"] <= 321)
    counted("guest-socket", drops=7 + int(inside.sum()))(story)
    story.keep_rows(TO_RECEIVED, lambda _: ~inside)


def torn(story: Story) -> None:
    for seq in range(7):
        story.add(1500 + seq, "load.anomaly", load="nic", stream=TO, what="torn", seq=seq)


EDGES = [
    row("another load was not drained", PASS, "intact", another),
    row("a block is lost, and another load was not drained", FAIL, "lost: seq 640", lose_last(1), another),
    row(
        "the sender's record lacks blocks, and another load ends last",
        UNKNOWN,
        "counted 640 blocks but recorded 630",
        lose_last(10, TO_SENT),
        another,
    ),
    row(
        "the load does not say how many blocks it sent",
        PASS,
        "640 blocks nic.to-guest intact",
        lambda s: s.drop("load.stop").add(3450, "load.stop", load="nic", drained=True),
    ),
    row(
        "many blocks hold wrong bytes",
        FAIL,
        "10 blocks hold wrong bytes: seq 51, 52, 53, 54, 55$",
        lambda s: s.set_rows(TO_RECEIVED, "good", slice(BEFORE, BEFORE + 10), 0),
    ),
    row("many blocks are torn", FAIL, "^7 torn blocks reported", torn),
    row(
        "contact with the load is lost, and nobody knows why",
        UNKNOWN,
        "lost contact with the load: no reason given$",
        lambda s: s.add(2000, "load.unreachable", load="nic"),
    ),
    row(
        "the load stalls in an update that never ends",
        UNKNOWN,
        "the load stalled before the update",
        lambda s: s.drop("cpr.ok").add(2000, "load.stalled", load="nic", stream=TO, epoch=2, blocks=0),
    ),
    row(
        "the last block before the update is surely before it",
        PASS,
        "intact",
        last_before(far_ns(INVOKE) - 1 * MS - 1),
    ),
    row(
        "it may have been sent as the update began",
        UNKNOWN,
        "no block passed in the 1000 ms before update 1",
        last_before(far_ns(INVOKE) - 1 * MS),
    ),
    row(
        "the sender stands still for just as long as it may",
        PASS,
        "intact",
        quiet(STOP, RESUME + 94, TO_SENT, TO_RECEIVED),
    ),
    row(
        "the far clock jumps by an hour",
        UNKNOWN,
        "far clock jumped by 3600000 ms",
        lambda s: s.add(
            2700, "clock.sync", source="far", offset_ns=START_NS - far_ns(-3_600_000), error_ns=0
        ),
    ),
    row(
        "all blocks sent inside the update are dropped by the lab's own socket",
        UNKNOWN,
        "none of the blocks sent inside update 1 was received",
        lose_inside,
    ),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", EDGES)
def test_edges(tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(dma_intact(f"nic.{TO}"), tmp_path, spoil, updates, outcome, says)


def test_what_the_sender_counted_is_shown_by_its_own_end(tmp_path: Path) -> None:
    story = healthy()
    lose_last(10, TO_SENT)(story)
    timeline = another(story).timeline(tmp_path)
    [own] = timeline.of("load.stop", load="nic")
    assert own.index in dma_intact(f"nic.{TO}")(timeline).evidence
    assert timeline.of("load.stop", load="gpu")[0].index not in dma_intact(f"nic.{TO}")(timeline).evidence


def elsewhere(story: Story) -> None:
    """A load beside this one has blocks in flight, in a stream of another name; this one has none."""
    disk(story, latency_ms=60)
    facts = {"sender": "guest", "receiver": "guest", "ordered": False, "in_flight": True}
    totals = {"read": {"blocks": len(story.tables["nvme.write.sent"]["seq"])}}
    story.change("load.start", {"load": "nvme"}, load="other", streams={"read": facts})
    story.change("load.stop", {"load": "nvme"}, load="other", totals=totals)
    for name in ("sent", "received"):
        story.tables[f"other.read.{name}"] = story.tables.pop(f"nvme.write.{name}")
    disk(story, latency_ms=0.5)
    story.change("load.start", {"load": "nvme"}, streams={"write": facts})


def unheard(story: Story) -> None:
    """The load has a stream of reads of which the record is missing."""
    beside(story, 60).tables.pop("nvme.read.received")


def late_clock(story: Story) -> None:
    """The guest's clock was compared after the update alone: it has stood still since nobody knows when."""
    disk(story)
    story.events = [e for e in story.events if e[1] != "clock.sync" or e[2]["source"] != "guest" or e[0] > OK]


FLYING = [
    row("another load's blocks in flight say nothing of this one's", UNKNOWN, "no block was", elsewhere),
    row("a stream without a record had none in flight", UNKNOWN, "no block was surely in flight", unheard),
    row("the guest's clock was first compared after it", UNKNOWN, "nobody knows when the guest", late_clock),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", FLYING)
def test_flying(tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(dma_intact("nvme.write"), tmp_path, spoil, updates, outcome, says)


@pytest.mark.parametrize("early, late, surely", [(1, 1, 1), (0, 1, 0), (1, 0, 0)])
def test_a_block_at_the_edge_of_what_a_clock_tells_is_not_surely_in_flight(
    tmp_path: Path, early: int, late: int, surely: int
) -> None:
    timeline = healthy().timeline(tmp_path)
    at = paused_at(timeline, updates(timeline)[0])
    assert at is not None and at.error_ns == 2 * MS, "the errors of both comparisons"
    one = np.array([1], np.uint64)
    sent = {"seq": one, "t_ns": np.array([at.start_ns - at.error_ns - early])}
    received = {"seq": one, "t_ns": np.array([at.end_ns + at.error_ns + late])}
    assert in_flight(timeline, updates(timeline)[0], sent, received) == surely


def test_the_pause_on_the_host_is_told_by_the_comparison_nearest_to_each_end(tmp_path: Path) -> None:
    story = healthy()
    drifted = {"to_host_ns": START_NS + 100 * MS, "to_host_error_ns": 20_000}
    story.add(1510, "clock.sync", source="host-wall", offset_ns=START_NS, error_ns=MS, **drifted)
    strange = {"to_host_ns": 0, "to_host_error_ns": 0}
    story.add(1505, "clock.sync", source="strange", offset_ns=START_NS, error_ns=MS, **strange)
    first = {"to_host_ns": START_NS, "to_host_error_ns": 10_000}
    story.add(1095, "clock.sync", source="host-wall", offset_ns=START_NS, error_ns=MS, **first)
    timeline = story.timeline(tmp_path)
    at = paused_on_host(timeline, updates(timeline)[0])
    assert at is not None
    assert at.end_ns - at.start_ns == (RESUME - STOP + 100) * MS
    assert at.error_ns == 20_000
