"""pages_as_asked, stays_given_back: truth tables."""

from pathlib import Path
from typing import Any

import pytest

from lab.checkers import pages_as_asked, stays_given_back

from .story import Story
from .timelines import AFTER, at
from .truth import FAIL, PASS, UNKNOWN, hold, row

MIB = 1 << 20
SMALL, HUGE = {"4": 128}, {"2048": 128}


def backed(first: dict[str, int], page_kb: int = 4, of: str = "ram0", **after: Any) -> Any:
    """What backs the memory before and after every update; `after`: what is other after it."""

    def spoil(story: Story) -> None:
        seen = {"of": of, "bytes": 256 * MIB, "allocated_bytes": 256 * MIB, "kernel_page_kb": page_kb}
        for update in range(1, story.updates + 1):
            for when, ms in (("before", 900), ("after", AFTER)):
                data = seen | {"pages": first} | (after if when == "after" else {})
                story.add(at(update, ms), "host.memory", when=when, update=update, **data)

    return spoil


def blind(story: Story) -> None:
    story.add(1300, "witness.blind", witness="memory", reason="hidden")


ASKED = [
    ("4k", row("small pages", PASS, "ram0 of 256 MiB is 128 of 4 kB after update 1", backed(SMALL))),
    ("4k", row("two updates", PASS, "before update 2", backed(SMALL), updates=2)),
    ("4k", row("one is larger", FAIL, "not backed by 4k before", backed({"4": 127, "64": 1}))),
    ("4k", row("hugetlb", FAIL, "pages of 2048 kB", backed(HUGE, 2048))),
    ("thp", row("transparent ones", PASS, "128 of 2048 kB", backed(HUGE))),
    ("thp", row("most of them", PASS, "ram0", backed({"4": 60, "2048": 68}))),
    ("thp", row("half of them", FAIL, "64 of 128 samples lie in huge", backed({"4": 64, "2048": 64}))),
    ("thp", row("split by the update", FAIL, "thp after update 1", backed(HUGE, pages=SMALL))),
    ("thp", row("hugetlb for thp", FAIL, "pages of 2048 kB", backed(HUGE, 2048))),
    ("2m", row("pages of hugetlb", PASS, "128 of 2048 kB before", backed(HUGE, 2048))),
    ("2m", row("transparent for hugetlb", FAIL, "pages of 4 kB", backed(HUGE))),
    ("2m", row("small after", FAIL, "2m after update 1", backed(HUGE, 2048, pages=SMALL, kernel_page_kb=4))),
    ("2m", row("not mapped after", UNKNOWN, "not mapped after", backed(HUGE, 2048, kernel_page_kb=0))),
    ("1g", row("of 1 GiB", PASS, "128 of 1048576 kB", backed({"1048576": 128}, 1048576))),
    ("1g", row("of 2 MiB", FAIL, "pages of 2048 kB", backed(HUGE, 2048))),
    ("4k", row("too few samples", UNKNOWN, "only 7 pages of ram0", backed({"4": 7}))),
    ("4k", row("a module is larger", FAIL, "more0 is not", backed(SMALL), backed(HUGE, of="more0"))),
    ("4k", row("nobody looked", UNKNOWN, "nobody looked")),
    (
        "4k",
        row(
            "nobody looked after",
            UNKNOWN,
            "after update 1",
            backed(SMALL),
            lambda s: s.drop("host.memory", when="after"),
        ),
    ),
    ("4k", row("blind", UNKNOWN, "memory went blind: hidden", backed(SMALL), blind)),
    ("4k", row("no update", UNKNOWN, "", backed(SMALL), lambda s: s.drop("cpr.ok"))),
]


@pytest.mark.parametrize(
    "page, spoil, outcome, says, updates",
    [pytest.param(page, *one.values, id=f"{page}: {one.id}") for page, one in ASKED],
)
def test_pages_as_asked(tmp_path: Path, page: str, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(pages_as_asked(page), tmp_path, spoil, updates, outcome, says)


def inflated(actual: int, held: int, actual_after: int = 0, held_after: int = 0) -> Any:
    """MiB that the guest has, and that the host holds; 0 after the update: the same."""

    def spoil(story: Story) -> None:
        backed(SMALL, allocated_bytes=(held_after or held) * MIB)(story)
        story.change("host.memory", {"when": "before"}, allocated_bytes=held * MIB)
        for when, ms, mib in (("before", 900, actual), ("after", AFTER, actual_after or actual)):
            story.add(at(1, ms), "guest.balloon", when=when, update=1, actual_bytes=mib * MIB)

    return spoil


GIVEN = [
    (False, row("stays away", PASS, "the guest has 192 MiB, the host holds 190 MiB", inflated(192, 190))),
    (False, row("deflated", FAIL, "had 192 MiB and has 256 MiB", inflated(192, 192, 256))),
    (False, row("filled again", FAIL, "held 192 MiB and holds 256 MiB", inflated(192, 192, 192, 256))),
    (False, row("more is gone", FAIL, "held 192 MiB and holds 100 MiB", inflated(192, 192, 192, 100))),
    (False, row("never inflated", UNKNOWN, "was not inflated", inflated(256, 256))),
    (False, row("nothing was given", UNKNOWN, "held 256 MiB before", inflated(192, 256))),
    (True, row("pinned, nothing is given", PASS, "host holds 256 MiB", inflated(192, 256))),
    (True, row("pinned, and given", UNKNOWN, "held 192 MiB before update 1, not 256", inflated(192, 192))),
    (True, row("pinned, given in the update", FAIL, "holds 192 MiB", inflated(192, 256, 192, 192))),
    (False, row("no balloon seen", UNKNOWN, "no guest.balloon", backed(SMALL))),
    (False, row("blind", UNKNOWN, "memory went blind", inflated(192, 192), blind)),
]


@pytest.mark.parametrize(
    "inhibited, spoil, outcome, says, updates",
    [pytest.param(inhibited, *one.values, id=one.id) for inhibited, one in GIVEN],
)
def test_stays_given_back(
    tmp_path: Path, inhibited: bool, spoil: Any, outcome: Any, says: str, updates: int
) -> None:
    hold(stays_given_back(inhibited=inhibited), tmp_path, spoil, updates, outcome, says)
