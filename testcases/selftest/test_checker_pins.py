"""pages_stayed_pinned: truth table."""

from pathlib import Path
from typing import Any

import pytest

from lab.checkers import pages_stayed_pinned

from .story import START_NS
from .timelines import AFTER, EXEC, HOST_NS, INVOKE, OK, PAGES, at, host_ns
from .truth import FAIL, PASS, UNKNOWN, hold, row


def level(start_ms: float, end_ms: float, pages: int) -> Any:
    """So many pages are pinned from one moment up to another."""

    def spoil(story: Any) -> None:
        t = story.tables["pins"]["t_ns"]
        story.set_rows("pins", "pinned", (t >= host_ns(start_ms)) & (t < host_ns(end_ms)), pages)

    return spoil


def asleep(start_ms: float, end_ms: float) -> Any:
    """No sample is taken after the first moment and before the second."""
    return lambda s: s.keep_rows(
        "pins", lambda t: (t["t_ns"] <= host_ns(start_ms)) | (t["t_ns"] >= host_ns(end_ms))
    )


ROWS = [
    row(
        "the level stays", PASS, r"^65600 pages pinned before and at least 65600 in \d+ samples of update 1$"
    ),
    row("three updates", PASS, "of update 3", updates=3),
    row(
        "one sample inside the update is low",
        FAIL,
        "fell from 65600 to 0 at update 1",
        level(EXEC, EXEC + 5, 0),
    ),
    row("the pages are unpinned after the update", FAIL, "fell from 65600 to 64", level(AFTER, 3400, 64)),
    row("and stay so from the second update on", FAIL, "at update 2", level(at(2, EXEC), 9999, 1), updates=2),
    row("noise of 64 pages", PASS, "at least 65536", level(EXEC, EXEC + 5, PAGES - 64)),
    row("65 pages are no noise", FAIL, "to 65535", level(EXEC, EXEC + 5, PAGES - 65)),
    row("more pages for a while", PASS, "65600", level(EXEC, EXEC + 50, PAGES + 9000)),
    row("few pages before the guest was ready", PASS, "65600", level(0, 300, 0)),
    row(
        "nothing was pinned to begin with", UNKNOWN, "only 40 pages.*the guest has 65536", level(0, 9999, 40)
    ),
    row("one page too few to begin with", UNKNOWN, "only 65535 pages", level(0, 9999, 65535)),
    row("exactly the guest's memory", PASS, "65536", level(0, 9999, 65536)),
    row("unpinned when the guest ends", PASS, "65600", level(3460, 9999, 0)),
    row("VmPin goes to 0", PASS, "65600", lambda s: s.set_rows("pins", "vmpin_kb", slice(None), 0)),
    row("the guest's memory is not known", UNKNOWN, "memory size is not recorded", lambda s: s.drop("case")),
    row(
        "the load tells the guest's memory",
        UNKNOWN,
        "only 65600 pages.*the guest has 131072",
        lambda s: s.change("load.start", memory_mib=512),
    ),
    row("no table", UNKNOWN, "no table pins", lambda s: s.tables.pop("pins")),
    row("no sample before", UNKNOWN, "before the update", asleep(-1, INVOKE + 1)),
    row("no sample that was surely before", UNKNOWN, "before the update", asleep(-1, INVOKE)),
    row("no sample in the update, nor after", UNKNOWN, "no sample", asleep(INVOKE - 100, 9999)),
    row("asleep over the whole update and back for the end", UNKNOWN, "no sample.*for", asleep(990, 1760)),
    row("asleep for 250 ms", PASS, "65600", asleep(1100, 1350)),
    row("asleep for 260 ms", UNKNOWN, "for 260 ms in update 1, more than 250 ms", asleep(1100, 1360)),
    row("asleep from before the update", UNKNOWN, "for 400 ms", asleep(700, 1100)),
    row("asleep over the update's end", UNKNOWN, "for 300 ms", asleep(1600, 1900)),
    row("asleep before the update", PASS, "65600", asleep(500, 900)),
    row(
        "asleep and the pages gone",
        FAIL,
        "fell from 65600 to 0",
        asleep(1100, 1400),
        level(1400, 1500, 0),
    ),
    row("the samples end with the update", UNKNOWN, "do not span", asleep(OK - 100, 9999)),
    row(
        "no fresh sample",
        UNKNOWN,
        "after update 1",
        lambda s: s.set_rows("pins", "epoch", slice(None), 1),
    ),
    row(
        "blind",
        UNKNOWN,
        "went blind: broken",
        lambda s: s.add(1300, "witness.blind", witness="pins", reason="broken"),
    ),
    row("host clock unknown", UNKNOWN, "cannot be told", lambda s: s.drop("clock.sync", source="host")),
    row("host clock backwards", UNKNOWN, "runs backwards", lambda s: s.set_rows("pins", "t_ns", 9, 0)),
    row(
        "host clock jumps",
        UNKNOWN,
        "host clock jumped by 1000 ms",
        lambda s: s.change("clock.sync", {"source": "host", "error_ns": 1_000_000}).add(
            1900, "clock.sync", source="host", offset_ns=-HOST_NS + 10**9, error_ns=0
        ),
    ),
    row("no new epoch", UNKNOWN, "no new epoch", lambda s: s.drop("epoch", number=2)),
    row("no update", UNKNOWN, "no update was begun", lambda s: s.drop("cpr.invoke").drop("cpr.ok")),
    row("the update was refused", UNKNOWN, "did not complete", lambda s: s.drop("cpr.ok")),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", ROWS)
def test_truth(tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(pages_stayed_pinned(), tmp_path, spoil, updates, outcome, says)


def test_the_bound_is_configurable(tmp_path: Path) -> None:
    hold(pages_stayed_pinned(hole_ms=300), tmp_path, (asleep(1100, 1360),), 1, PASS, "65600")


def test_time_starts_somewhere() -> None:
    assert host_ns(0) == START_NS + HOST_NS
