"""dma_intact: truth tables for both directions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.checkers import dma_intact

from .spoilers import (
    BEFORE,
    FROM,
    INSIDE,
    TO,
    TO_RECEIVED,
    TO_SENT,
    lose,
    lose_last,
    not_drained,
    quiet,
)
from .story import START_NS
from .timelines import INVOKE, OK, RESUME, STOP, far_ns, healthy
from .truth import FAIL, PASS, UNKNOWN, hold, row

TO_GUEST = [
    row("everything arrives", PASS, r"^640 blocks nic.to-guest intact; 1\d\d inside and 310 after update 1$"),
    row("two updates in a row", PASS, "after update 2", updates=2),
    row("one block is lost before the update", FAIL, "1 of 640 .* nic.to-guest lost: seq 51$", lose(BEFORE)),
    row("one block is lost inside the update", FAIL, "lost: seq 201$", lose(INSIDE)),
    row("the last block is lost", FAIL, "1 of 640 blocks nic.to-guest lost: seq 640", lose_last(1)),
    row("the first block is lost", FAIL, "lost: seq 1$", lose(0)),
    row("many blocks are lost", FAIL, r"10 of 640 .*seq 1, 2, 3, 4, 5$", lose(*range(10))),
    row("a block is lost at the second update", FAIL, "1 of 1440", lose(1000), updates=2),
    row(
        "a block holds wrong bytes",
        FAIL,
        "^1 blocks hold wrong bytes: seq 51$",
        lambda s: s.set_rows(TO_RECEIVED, "good", BEFORE, 0),
    ),
    row(
        "wrong bytes, and no update at all",
        FAIL,
        "wrong bytes",
        lambda s: s.set_rows(TO_RECEIVED, "good", BEFORE, 0).drop("cpr.invoke").drop("cpr.ok"),
    ),
    row(
        "wrong bytes, and the sender's record is missing",
        FAIL,
        "wrong bytes",
        lambda s: s.set_rows(TO_RECEIVED, "good", BEFORE, 0).tables.pop(TO_SENT),
    ),
    row(
        "a block comes twice in a row",
        FAIL,
        "^1 blocks came again: seq 51$",
        lambda s: s.with_order(TO_RECEIVED, BEFORE, BEFORE, at=BEFORE, of=1),
    ),
    row(
        "a block comes twice, much later",
        FAIL,
        "^1 blocks came again: seq 51$",
        lambda s: s.with_order(TO_RECEIVED, 300, BEFORE, at=300, of=1),
    ),
    row(
        "two blocks change places",
        FAIL,
        "^1 blocks came late: seq 51$",
        lambda s: s.with_order(TO_RECEIVED, BEFORE + 1, BEFORE, at=BEFORE, of=2),
    ),
    row(
        "a block that nobody sent",
        FAIL,
        "1 blocks were received that nobody sent: seq 9999",
        lambda s: s.set_rows(TO_RECEIVED, "seq", 639, 9999),
    ),
    row(
        "a block numbered below the first",
        FAIL,
        "nobody sent: seq 0",
        lambda s: s.set_rows(TO_RECEIVED, "seq", 0, 0),
    ),
    row(
        "blocks that the sender's record lacks at its end, and it counted them",
        UNKNOWN,
        "the sender counted 640 blocks but recorded 630.*record is not complete",
        lose_last(10, TO_SENT),
    ),
    row(
        "blocks that the sender's record lacks, and the load was not drained",
        UNKNOWN,
        "not drained.*record is not complete",
        lose_last(10, TO_SENT),
        lambda s: s.change("load.stop", drained=False, totals={}),
    ),
    row(
        "the load reports a torn block",
        FAIL,
        "^1 torn blocks reported",
        lambda s: s.add(1500, "load.anomaly", load="nic", stream=TO, what="torn", seq=9),
    ),
    row(
        "the load reports damage in the other direction",
        PASS,
        "intact",
        lambda s: s.add(1500, "load.anomaly", load="nic", stream=FROM, what="damaged", seq=9),
    ),
    row(
        "the load stalls after the update",
        FAIL,
        "no DMA to-guest after the update",
        lambda s: s.add(2000, "load.stalled", load="nic", stream=TO, epoch=2, blocks=0),
    ),
    row(
        "the load stalls before the update",
        UNKNOWN,
        "stalled before the update",
        lambda s: s.add(800, "load.stalled", load="nic", stream=TO, epoch=1, blocks=0),
    ),
    row(
        "the load is behind",
        UNKNOWN,
        "could not keep up",
        lambda s: s.add(2000, "load.behind", load="nic", stream=TO, epoch=2, blocks=3, wanted=64),
    ),
    row(
        "the other direction stalls",
        PASS,
        "intact",
        lambda s: s.add(2000, "load.stalled", load="nic", stream=FROM, epoch=2, blocks=0),
    ),
    row(
        "contact with the load is lost",
        UNKNOWN,
        "lost contact with the load: gone",
        lambda s: s.add(2000, "load.unreachable", load="nic", reason="gone"),
    ),
    row(
        "contact is lost and with it the last blocks",
        UNKNOWN,
        "lost contact.*last 100 blocks sent is not known",
        lambda s: s.add(2800, "load.unreachable", load="nic", reason="gone"),
        lose_last(100),
    ),
    row(
        "contact is lost, and a block before that",
        FAIL,
        "1 of 640 blocks nic.to-guest lost: seq 51",
        lambda s: s.add(2800, "load.unreachable", load="nic", reason="gone"),
        lose(BEFORE),
    ),
    row("the load was not drained", UNKNOWN, "not drained", not_drained),
    row("not drained, the tail is missing", UNKNOWN, "last 5 blocks sent", not_drained, lose_last(5)),
    row("not drained, a block in the middle lost", FAIL, "lost: seq 51", not_drained, lose(BEFORE)),
    row("the load was never stopped", UNKNOWN, "never stopped", lambda s: s.drop("load.stop")),
    row("no received table", UNKNOWN, "no table nic.to-guest.received", lambda s: s.tables.pop(TO_RECEIVED)),
    row("no sent table", UNKNOWN, "no table nic.to-guest.sent", lambda s: s.tables.pop(TO_SENT)),
    row("an empty table", UNKNOWN, "is empty", lambda s: s.keep_rows(TO_RECEIVED, lambda _: slice(0))),
    row(
        "the sender numbers twice",
        UNKNOWN,
        "not strictly ascending",
        lambda s: s.set_rows(TO_SENT, "seq", 5, 5),
    ),
    row(
        "the far clock runs backwards",
        UNKNOWN,
        "runs backwards",
        lambda s: s.set_rows(TO_SENT, "t_ns", 5, 0),
    ),
    row("the far clock was never compared", UNKNOWN, "far clock was never", lambda s: s.drop("clock.sync")),
    row(
        "the far clock jumps",
        UNKNOWN,
        "far clock jumped by 999",
        lambda s: s.add(2700, "clock.sync", source="far", offset_ns=-far_ns(-999) + START_NS, error_ns=0),
    ),
    row("no epoch after the update", UNKNOWN, "no new epoch", lambda s: s.drop("epoch", number=2)),
    row(
        "only late lines after the update",
        UNKNOWN,
        "no block of epoch 2 was received",
        lambda s: s.set_rows(TO_RECEIVED, "epoch", slice(None), 1),
    ),
    row(
        "nothing fresh was sent",
        UNKNOWN,
        "no block of epoch 2",
        lambda s: s.set_rows(TO_SENT, "epoch", slice(None), 1),
    ),
    row(
        "nothing was sent shortly before the update",
        UNKNOWN,
        "no block passed in the 1000 ms before",
        quiet(0, INVOKE, TO_SENT, TO_RECEIVED),
    ),
    row(
        "nothing was sent inside the update",
        UNKNOWN,
        "no block was sent inside update 1",
        quiet(INVOKE, OK, TO_SENT, TO_RECEIVED),
    ),
    row(
        "the sender stands still while the guest does",
        UNKNOWN,
        r"stood still for 5\d\d ms inside update 1, over 500 ms",
        quiet(STOP, RESUME + 120, TO_SENT, TO_RECEIVED),
    ),
    row(
        "the sender stands still for less than that",
        PASS,
        "intact",
        quiet(STOP, RESUME + 80, TO_SENT, TO_RECEIVED),
    ),
    row(
        "all blocks sent inside the update are lost",
        FAIL,
        "blocks nic.to-guest lost",
        lambda s: s.keep_rows(TO_RECEIVED, lambda t: (t["seq"] < INVOKE / 5 - 20) | (t["seq"] > OK / 5)),
    ),
    row(
        "the update was refused",
        UNKNOWN,
        "did not complete .refused: no",
        lambda s: s.drop("cpr.ok").add(OK, "cpr.fail", mode="cpr-exec", update=1, reason="no"),
    ),
    row(
        "the update's end is not known",
        UNKNOWN,
        "nobody knows",
        lambda s: s.drop("cpr.ok").add(OK, "cpr.info", mode="cpr-exec", update=1, reason="?"),
    ),
    row("the recording ends in the update", UNKNOWN, "recording ends in it", lambda s: s.drop("cpr.ok")),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", TO_GUEST)
def test_to_guest(tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(dma_intact(f"nic.{TO}"), tmp_path, spoil, updates, outcome, says)


def test_a_damaged_table_is_unknown(tmp_path: Path) -> None:
    timeline = healthy().timeline(tmp_path)
    column = tmp_path / TO_RECEIVED / "seq.npy"
    column.write_bytes(column.read_bytes()[:-100])
    verdict = dma_intact(f"nic.{TO}")(timeline)
    assert verdict.outcome is UNKNOWN and "damaged" in verdict.summary
    (tmp_path / TO_RECEIVED / "good.npy").unlink()
    column.write_bytes(np.zeros(3, np.uint64).tobytes())
    assert dma_intact(f"nic.{TO}")(timeline).outcome is UNKNOWN
