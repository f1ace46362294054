"""medium_intact: a truth table."""

import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.checkers.medium import MediumIntact
from lab.columns import MEDIUM
from lab.verdict import Outcome

from .spoilers import refused
from .story import Story
from .timelines import at, epoch_at, guest_ns, healthy, host_ns
from .truth import FAIL, PASS, UNKNOWN, hold, row

SLOTS, BLOCKS_EACH = 50, 6
SENT, RECEIVED, ROWS = "nvme.write.sent", "nvme.write.received", "nvme.medium"
SLOT = 7
LAST = SLOT + (BLOCKS_EACH - 1) * SLOTS
"""The last block of the slot."""


def disk(story: Story) -> None:
    """A disk whose every slot was written six times, and holds the last block of it."""
    end = at(story.updates, 0)
    blocks = SLOTS * BLOCKS_EACH
    ms = np.linspace(100, end + 3300, blocks)
    seq, good = np.arange(blocks), np.ones(blocks)
    story.table(SENT, seq=seq, epoch=epoch_at(ms), t_ns=guest_ns(ms), good=good)
    story.table(RECEIVED, seq=seq, epoch=epoch_at(ms), t_ns=guest_ns(ms + 1), good=good)
    last = seq[-SLOTS:]
    columns = {"slot": last % SLOTS, "seq": last, "epoch": epoch_at(ms[-SLOTS:]), "good": np.ones(SLOTS)}
    columns["t_ns"] = np.full(SLOTS, host_ns(end + 3850))
    story.tables[ROWS] = {name: np.asarray(columns[name], dtype) for name, dtype in MEDIUM.items()}
    story.add(0, "load.start", load="nvme", kind="block", slots=SLOTS)
    story.add(end + 3450, "load.stop", load="nvme", totals={}, drained=True)
    story.add(end + 3900, "load.medium", load="nvme", slots=SLOTS, used=SLOTS, read=SLOTS, anomalies={})


def holds(seq: int, *, good: int = 1, slot: int = SLOT) -> Any:
    """What a slot holds."""
    return lambda s: s.set_rows(ROWS, "seq", slot, seq).set_rows(ROWS, "good", slot, good)


def unanswered(*seqs: int) -> Any:
    """Blocks that were put and never acknowledged."""
    return lambda s: s.without_rows(RECEIVED, *seqs)


def failed(seq: int) -> Any:
    return lambda s: s.set_rows(RECEIVED, "good", seq, 0)


def never_put(*seqs: int) -> Any:
    """Blocks the load's record does not know."""
    return lambda s: s.without_rows(SENT, *seqs).without_rows(RECEIVED, *seqs)


def not_drained(story: Story) -> None:
    story.change("load.stop", {"load": "nvme"}, drained=False)


def lost_contact(story: Story) -> None:
    story.add(3000, "load.unreachable", load="nvme", reason="gone")


def reading(**data: Any) -> Any:
    return lambda s: s.change("load.medium", **data)


def empty(table: str) -> Any:
    return lambda s: s.keep_rows(table, lambda _: slice(0))


EVERY = tuple(SLOT + n * SLOTS for n in range(BLOCKS_EACH))
"""All blocks of the slot."""
TABLE = [
    row("every slot holds its last block", PASS, "^50 slots hold what the guest was told is written$"),
    row("two updates", PASS, "^50 slots hold", updates=2),
    row(
        "a later block, which was never acknowledged",
        PASS,
        "^50 slots .*; in 1 lies a block that was put later and never acknowledged$",
        unanswered(LAST),
    ),
    row("a later one, which failed but lies there", PASS, "in 1 lies a block", failed(LAST)),
    row(
        "the last one was never acknowledged and is not there",
        PASS,
        "^50 slots hold what the guest was told is written$",
        unanswered(LAST),
        holds(LAST - SLOTS),
    ),
    row(
        "two were not, and the first of them lies there",
        PASS,
        "in 1 lies",
        unanswered(LAST - SLOTS, LAST),
        holds(LAST - SLOTS),
    ),
    row(
        "a slot of which nothing was acknowledged holds anything of it",
        PASS,
        "^49 slots",
        unanswered(*EVERY),
        holds(SLOT),
    ),
    row(
        "a slot that was never written holds no block", PASS, "^49 slots", never_put(*EVERY), holds(0, good=0)
    ),
    row(
        "acknowledged in the opposite order",
        PASS,
        "^50 slots hold what the guest was told is written$",
        lambda s: s.keep_rows(RECEIVED, lambda _: slice(None, None, -1)),
    ),
    row(
        "a slot read twice",
        PASS,
        "^50 slots",
        reading(read=SLOTS + 1),
        lambda s: s.with_order(ROWS, 3, 3, at=3, of=1),
    ),
    row(
        "another load is lost",
        PASS,
        "^50 slots",
        lambda s: s.add(3000, "load.unreachable", load="nic", reason="gone"),
    ),
    # -- defects
    row(
        "an older block",
        FAIL,
        r"^1 slots hold an older block than .* written: slot 7 \(seq 207\)$",
        holds(LAST - SLOTS),
    ),
    row("the oldest block", FAIL, r"older block .*: slot 7 \(seq 7\)", holds(SLOT)),
    row(
        "block 0 in place of a later one of slot 0",
        FAIL,
        r"older block .*: slot 0 \(seq 0\)",
        holds(0, slot=0),
    ),
    row(
        "many older blocks",
        FAIL,
        r"^50 slots hold an older .*slot 4 \(seq 204\)$",
        lambda s: s.set_rows(ROWS, "seq", slice(None), np.arange(200, 250)),
    ),
    row(
        "an older one, though the last was never acknowledged",
        FAIL,
        r"older block",
        unanswered(LAST),
        holds(LAST - 2 * SLOTS),
    ),
    row("an older one that was never acknowledged", FAIL, r"older block", unanswered(SLOT), holds(SLOT)),
    row("wrong bytes", FAIL, r"^1 slots hold wrong bytes: slot 7 \(seq 257\)$", holds(LAST, good=0)),
    row("nothing there", FAIL, r"^1 slots hold wrong bytes: slot 7 \(seq 0\)$", holds(0, good=0)),
    row(
        "wrong bytes in a slot whose unanswered write is not the last",
        FAIL,
        "wrong bytes: slot 7",
        unanswered(LAST - SLOTS),
        holds(LAST, good=0),
    ),
    row(
        "a block that nobody wrote",
        FAIL,
        r"^1 slots hold a block that nobody wrote: slot 7 \(seq 9957\)$",
        holds(9957),
    ),
    row(
        "a block that nobody wrote where nothing was written",
        FAIL,
        "nobody wrote: slot 7",
        never_put(*EVERY),
        holds(LAST),
    ),
    row(
        "an older block that nobody wrote",
        FAIL,
        "^1 slots hold an older block[^;]*$",
        never_put(SLOT),
        holds(SLOT),
    ),
    row("an older block, and the load was not drained", FAIL, "older block", not_drained, holds(SLOT)),
    row("an older block, and contact was lost", FAIL, "older block", lost_contact, holds(SLOT)),
    row(
        "an older block, and no update",
        FAIL,
        "older block",
        holds(SLOT),
        lambda s: s.drop("cpr.invoke").drop("cpr.ok"),
    ),
    row(
        "an older block in a slot read twice",
        FAIL,
        r"^1 slots hold an older block .*slot 7 \(seq 7\)",
        reading(read=SLOTS + 1),
        lambda s: s.with_order(ROWS, SLOT, SLOT, at=SLOT, of=1),
        lambda s: s.set_rows(ROWS, "seq", SLOT + 1, SLOT),
    ),
    # -- gaps
    row(
        "wrong bytes where a write was never acknowledged",
        UNKNOWN,
        "^1 slots hold wrong bytes, where a write was never acknowledged: slot 7",
        unanswered(LAST),
        holds(LAST, good=0),
    ),
    row(
        "wrong bytes where a write failed",
        UNKNOWN,
        "never acknowledged: slot 7",
        failed(LAST),
        holds(0, good=0),
    ),
    row(
        "wrong bytes, and the load was not drained",
        UNKNOWN,
        "not drained.*record is not complete: slot 7",
        not_drained,
        holds(0, good=0),
    ),
    row(
        "a block nobody wrote, and the load was not drained",
        UNKNOWN,
        "nobody wrote.*record is not complete",
        not_drained,
        holds(9957),
    ),
    row(
        "a block nobody wrote, and contact was lost",
        UNKNOWN,
        "lost contact.*nobody wrote.*not complete",
        lost_contact,
        holds(9957),
    ),
    row("not drained", UNKNOWN, "^the load was not drained when it stopped$", not_drained),
    row("contact was lost", UNKNOWN, "^lost contact with the load: gone$", lost_contact),
    row("never stopped", UNKNOWN, "never stopped", lambda s: s.drop("load.stop", load="nvme")),
    row(
        "another load's stop",
        UNKNOWN,
        "never stopped",
        lambda s: s.change("load.stop", {"load": "nvme"}, load="x"),
    ),
    row(
        "a slot was not read",
        UNKNOWN,
        r"^1 slots with an acknowledged write were not read: slot 7$",
        lambda s: s.without_rows(ROWS, SLOT),
        reading(read=SLOTS - 1),
    ),
    row(
        "rows are missing",
        UNKNOWN,
        "50 slots were read but 49 recorded",
        lambda s: s.without_rows(ROWS, SLOT),
    ),
    row("nobody read the medium", UNKNOWN, "^nobody read the medium", lambda s: s.drop("load.medium")),
    row(
        "the medium could not be read",
        UNKNOWN,
        "^nobody read the medium: no disk",
        lambda s: s.drop("load.medium").add(3900, "witness.blind", witness="medium-nvme", reason="no disk"),
    ),
    row("nobody read this medium", UNKNOWN, "nobody read the medium", reading(load="other")),
    row(
        "it was read too early",
        UNKNOWN,
        "read while the load still ran",
        lambda s: s.move("load.medium", 3000),
    ),
    row(
        "another number of slots",
        UNKNOWN,
        "the load had 50 slots, and the medium was read as if 40",
        reading(slots=40),
    ),
    row("a slot beyond the last", UNKNOWN, "names slot 50 of 50", lambda s: s.set_rows(ROWS, "slot", 3, 50)),
    row("no number of slots", UNKNOWN, "nobody told how many slots", reading(slots=None)),
    row("no slots", UNKNOWN, "nobody told how many slots", reading(slots=0)),
    row("no table of the medium", UNKNOWN, "no table nvme.medium", lambda s: s.tables.pop(ROWS)),
    row("an empty table of the medium", UNKNOWN, "nvme.medium is empty", empty(ROWS)),
    row("no table of what was put", UNKNOWN, "no table nvme.write.sent", lambda s: s.tables.pop(SENT)),
    row("no table of the answers", UNKNOWN, "no table nvme.write.received", lambda s: s.tables.pop(RECEIVED)),
    row(
        "nothing was acknowledged",
        UNKNOWN,
        "no write was acknowledged",
        lambda s: s.set_rows(RECEIVED, "good", slice(None), 0),
    ),
    row(
        "nothing was acknowledged after the update",
        UNKNOWN,
        "no write of epoch 2 was acknowledged after update 1",
        lambda s: s.set_rows(RECEIVED, "epoch", slice(None), 1),
    ),
    row(
        "what came after the update failed",
        UNKNOWN,
        "no write of epoch 2 was acknowledged",
        lambda s: s.set_rows(RECEIVED, "good", s.tables[RECEIVED]["epoch"] == 2, 0),
    ),
    row("no epoch after the update", UNKNOWN, "no new epoch", lambda s: s.drop("epoch", number=2)),
    row("the load numbers twice", UNKNOWN, "not strictly ascending", lambda s: s.set_rows(SENT, "seq", 5, 4)),
    row("no update", UNKNOWN, "no update was begun", lambda s: s.drop("cpr.invoke").drop("cpr.ok")),
    row("refused", UNKNOWN, "refused", refused),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", TABLE)
def test_medium_intact(tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(MediumIntact("nvme"), tmp_path, (disk, *spoil), updates, outcome, says)


def test_a_refusal_leaves_the_medium_alone(tmp_path: Path) -> None:
    expected = MediumIntact("nvme", outcome="fail")
    hold(expected, tmp_path / "a", (disk, refused), 1, PASS, "^50 slots")
    hold(expected, tmp_path / "b", (disk, refused, holds(SLOT)), 1, FAIL, "older block")
    hold(expected, tmp_path / "c", (disk,), 1, UNKNOWN, "was not refused")


WRITES, WIDE = 10_000_000, 1_000_000


def bulky(story: Story) -> None:
    """As if ten million writes had gone to a million slots, many at once."""
    disk(story)
    ms = np.linspace(100, 3300, WRITES)
    seq = np.arange(WRITES, dtype=np.uint64)
    columns = {"seq": seq, "epoch": epoch_at(ms), "t_ns": guest_ns(ms), "good": np.ones(WRITES, np.uint8)}
    story.tables[SENT] = columns
    mixed = seq.reshape(-1, 16)[:, ::-1].ravel()
    story.tables[RECEIVED] = columns | {"seq": mixed}
    last = seq[-WIDE:]
    story.tables[ROWS] = {
        "slot": last % np.uint64(WIDE),
        "seq": last,
        "epoch": columns["epoch"][-WIDE:],
        "t_ns": np.zeros(WIDE, np.int64),
        "good": np.ones(WIDE, np.uint8),
    }
    story.change("load.start", {"load": "nvme"}, slots=WIDE)
    story.change("load.medium", slots=WIDE, read=WIDE)


@pytest.mark.parametrize("held, outcome", [(9_000_003, Outcome.PASS), (8_000_003, Outcome.FAIL)])
def test_ten_million_writes(tmp_path: Path, held: int, outcome: Outcome) -> None:
    """The bounds are generous, for a machine that is busy with other things."""
    story = healthy()
    bulky(story)
    holds(held, slot=3)(story)
    timeline = story.timeline(tmp_path)
    start_s = time.monotonic()
    verdict = MediumIntact("nvme")(timeline)
    took_s = time.monotonic() - start_s
    tracemalloc.start()
    MediumIntact("nvme")(timeline)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"{took_s:.2f} s, {WRITES / took_s / 1e6:.0f} million writes/s, {peak / 1e6:.0f} MB")
    assert verdict.outcome is outcome, str(verdict)
    assert took_s < 10
    assert peak < 2 * 21 * WRITES  # the columns of both sides
