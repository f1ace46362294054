"""The block load on a file, with the guest's side in this process.

Claim: what the load records is what the disk did: a disk that works gives complete tables, each fault
planted below the load is seen for what it is, and a disk that hangs is evidence and holds nobody up.
"""

import errno
import inspect
import os
import threading
from collections.abc import Iterator
from mmap import mmap
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from lab.agents.direct import DirectFile
from lab.agents.guest.block import Block
from lab.agents.rpc import AgentError
from lab.checkers.account import account
from lab.errors import BenchError
from lab.loads.block import BlockLoad

from .block_bench import BYTES, DEPTH, SLOTS, STREAMS, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.undo.close()


# -- a disk that works


def test_a_disk_that_works(bench: Bench) -> None:
    with bench.load().running(bench.guest, bench.evidence, bench) as running:
        running.settle(blocks=3 * SLOTS)
        bench.open_epoch(2)
        running.settle(blocks=SLOTS)
    timeline = bench.finished()
    assert not timeline.of("load.anomaly")
    assert len(timeline.of("load.settled")) == 4
    stop = timeline.of("load.stop")[0].data
    assert stop["drained"]
    for stream in STREAMS:
        sent, received = bench.table(f"{stream}.sent"), bench.table(f"{stream}.received")
        result = account(sent["seq"], received["seq"])
        assert (result.lost, result.repeated, result.foreign) == (0, 0, 0)
        # on a busy machine a request may outlast a round of all slots, which costs its slot's next number
        assert (np.diff(sent["seq"]) > 0).all()
        assert received["good"].all()
        assert set(np.unique(received["epoch"]).tolist()) == {1, 2}
        for table in (sent, received):
            assert (np.diff(table["t_ns"]) >= 0).all()
        totals = stop["totals"][stream]
        assert totals["blocks"] == totals["received"] == len(sent["seq"])
        assert (totals["under_way"], totals["anomalies"]) == (0, {})
        assert 0 < totals["busy_share"] <= 1
        assert totals["bytes"] == totals["blocks"] * BYTES
    start = timeline.of("load.start")[0].data
    assert (start["kind"], start["slots"], start["depth"]) == ("block", SLOTS, DEPTH)
    assert start["disk"]["bytes"] == (SLOTS + 8) * BYTES
    flags = {"ordered": False, "in_flight": True, "sampled": False}
    assert list(start["streams"]) == list(STREAMS)
    assert all(s == {"sender": "guest", "receiver": "guest"} | flags for s in start["streams"].values())


def test_the_load_says_what_the_guest_understands() -> None:
    wanted = inspect.signature(Block.start).parameters
    assert set(BlockLoad().settings()) == set(wanted) - {"self", "path"}


def test_a_slow_disk_is_never_idle_and_blocks_are_left_out() -> None:
    asked = BlockLoad().sized(50.0)
    assert asked.rate_hz == 100.0
    assert BlockLoad(in_flight=False).sized(400.0).rate_hz == 100.0
    assert "100 blocks/s" in asked.sizing


def test_a_small_disk_has_fewer_slots(bench: Bench) -> None:
    bench.run(bench.load(slots=1000))
    assert bench.finished().of("load.start")[0].data["slots"] == SLOTS + 8


def test_the_rate_is_kept(bench: Bench) -> None:
    bench.run(bench.load(rate_hz=200.0), blocks=100)
    totals = bench.finished().of("load.stop")[0].data["totals"]["write"]
    assert 50 < totals["rate_hz"] < 220


class Together(DirectFile):
    """A disk that completes none of its first writes before as many are under way as there may be."""

    met = threading.Barrier(DEPTH)
    waited: ClassVar[set[int]] = set()

    def write(self, data: mmap, at: int) -> int:
        if len(data) == BYTES and at < DEPTH * BYTES and at not in self.waited:
            self.waited.add(at)
            self.met.wait(10)
        return super().write(data, at)


def test_as_many_as_asked_are_under_way_at_once(tmp_path: Path) -> None:
    timeline = Bench(tmp_path, Together).run().finished()
    assert (len(Together.waited), Together.met.broken) == (DEPTH, False)
    assert timeline.of("load.stop")[0].data["totals"]["write"]["mean_in_flight"] > 0


class Overtaken(DirectFile):
    """A disk on which the first block waits for the one in the slot after it."""

    later = threading.Event()

    def write(self, data: mmap, at: int) -> int:
        if len(data) == BYTES and at == 0:
            assert self.later.wait(10)
        count = super().write(data, at)
        if len(data) == BYTES and at == BYTES:
            self.later.set()
        return count


def test_requests_that_overtake_each_other_are_no_fault(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Overtaken).run()
    timeline = bench.finished()
    assert not timeline.of("load.anomaly")
    sent, received = bench.table("write.sent")["seq"], bench.table("write.received")["seq"]
    assert received.tolist().index(0) > received.tolist().index(1)
    result = account(sent, received)
    assert result.reordered > 0
    assert (result.lost, result.repeated, result.foreign) == (0, 0, 0)


# -- refusals


class CannotClear(DirectFile):
    def write(self, data: mmap, at: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"block_bytes": 1000}, "block_bytes must be a multiple of 512"),
    ({"block_bytes": 0}, "block_bytes must be a multiple of 512"),
    ({"block_bytes": 32768}, "at most 16384"),
    ({"depth": 0}, "not enough for 0 requests"),
    ({"depth": SLOTS + 1}, f"{SLOTS} slots fit, which is not enough for {SLOTS + 1} requests"),
    ({"slots": 0}, "0 slots fit"),
    ({"path": "/nowhere/disk"}, "could not open /nowhere/disk: No such file"),
]


@pytest.mark.parametrize("settings, says", REFUSALS, ids=[r[1] for r in REFUSALS])
def test_what_cannot_work_is_refused_in_one_line(bench: Bench, settings: dict[str, Any], says: str) -> None:
    before = bench.disk.read_bytes()
    given = bench.load().settings() | settings
    with pytest.raises(AgentError, match=says) as refusal:
        bench.guest.block.start(**given)
    assert "\n" not in str(refusal.value)
    assert bench.guest.block.stop() == {}
    assert bench.disk.read_bytes() == before


def test_no_disk_is_touched_unless_it_is_asked_for(bench: Bench) -> None:
    given = {name: v for name, v in bench.load().settings().items() if name not in ("path", "driver", "bdf")}
    with pytest.raises(AgentError, match="asked for"):
        bench.guest.block.start(**given)


def test_a_disk_that_cannot_be_cleared_is_the_benchs_fault(tmp_path: Path) -> None:
    bench = Bench(tmp_path, CannotClear)
    with pytest.raises(BenchError, match="could not be cleared: No space left"):
        bench.run()
    bench.undo.close()
