"""preflight_refuses, preflight_sees, prealloc_touches and file_kept: truth tables."""

from pathlib import Path
from typing import Any

import pytest

from lab.checkers import file_kept, prealloc_touches, preflight_refuses, preflight_sees
from lab.verdict import Outcome

from .story import Story
from .timelines import GUEST_MIB, INVOKE
from .truth import FAIL, PASS, UNKNOWN, hold, row

ADD_FD = {"name": "add-fd", "severity": "refuse", "reason": "-add-fd fd=4: new QEMU ends on it"}


def looked(*findings: "dict[str, str]", ms: float = INVOKE - 1) -> Any:
    def tell(story: Story) -> Story:
        return story.add(ms, "preflight", findings=list(findings), untold=[], mode="cpr-exec")

    return tell


LOOKED = [
    row("found before the update", PASS, "^it was found: -add-fd fd=4: new", looked(ADD_FD)),
    row("found among others", PASS, "it was found", looked(ADD_FD | {"name": "pty-path"}, ADD_FD)),
    row("another one", FAIL, "had pty-path against it", looked(ADD_FD | {"name": "pty-path"})),
    row("a warning only", FAIL, "had nothing against it", looked(ADD_FD | {"severity": "warn"})),
    row("found after the update", UNKNOWN, "nobody looked", looked(ADD_FD, ms=INVOKE + 1)),
    row("nobody looked", UNKNOWN, "nobody looked before the update"),
    row("no update", UNKNOWN, "nothing was seen", looked(ADD_FD), lambda s: s.drop("cpr.invoke")),
    row("before the first update only", PASS, "it was found", looked(ADD_FD), updates=2),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", LOOKED)
def test_preflight_refuses(spoil: Any, outcome: Outcome, says: str, updates: int, tmp_path: Path) -> None:
    hold(preflight_refuses("add-fd"), tmp_path, spoil, updates, outcome, says)


def seen(
    *refused: str, look: str = "bare", untold: "tuple[str, ...]" = (), assumed: "tuple[str, ...]" = ()
) -> Any:
    told = {"look": look, "refused": list(refused), "untold": list(untold), "assumed": list(assumed)}
    return lambda story: story.add(1, "preflight.look", **told)


SEEN = [
    row("what it must", PASS, "it refuses plugged-missing", seen("plugged-missing")),
    row("nothing", FAIL, "it refuses nothing, not plugged-missing", seen()),
    row(
        "another one besides", FAIL, "refuses add-fd, plugged-missing, not", seen("plugged-missing", "add-fd")
    ),
    row("something is not told", FAIL, "it was not asked: FLR", seen("plugged-missing", untold=("FLR",))),
    row("something is assumed", FAIL, "not asked: modes", seen("plugged-missing", assumed=("modes",))),
    row("another look", UNKNOWN, "nobody looked", seen("plugged-missing", look="complete")),
    row("nobody looked", UNKNOWN, "nobody looked"),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", SEEN)
def test_preflight_sees(spoil: Any, outcome: Outcome, says: str, updates: int, tmp_path: Path) -> None:
    hold(preflight_sees("bare", ("plugged-missing",)), tmp_path, spoil, updates, outcome, says)


def faults(prealloc: bool, count: int) -> Any:
    return lambda story: story.add(1, "qemu.faults", prealloc=prealloc, faults=count)


PAGES = GUEST_MIB * 256
FAULTS = [
    row("all once more", PASS, "page faults with prealloc", faults(False, 9), faults(True, PAGES + 9)),
    row("nine tenths", PASS, "page faults", faults(False, 9), faults(True, PAGES * 9 // 10 + 10)),
    row("less", FAIL, f"has {PAGES} pages", faults(False, 9), faults(True, PAGES * 9 // 10)),
    row("without it just as many", FAIL, "without", faults(False, PAGES), faults(True, PAGES)),
    row("not without it", UNKNOWN, "not counted", faults(True, PAGES)),
    row("not with it", UNKNOWN, "not counted", faults(False, PAGES)),
    row(
        "a guest of unknown size",
        UNKNOWN,
        "not counted",
        faults(True, 1),
        faults(False, 1),
        lambda s: s.drop("case"),
    ),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", FAULTS)
def test_prealloc_touches(spoil: Any, outcome: Outcome, says: str, updates: int, tmp_path: Path) -> None:
    hold(prealloc_touches(), tmp_path, spoil, updates, outcome, says)


def size(when: str, count: int) -> Any:
    return lambda story: story.add(1, "file.size", path="/c.log", bytes=count, when=when)


SIZES = [
    row("it grew", PASS, "/c.log: 10 bytes before .*, 12 after", size("before", 10), size("after", 12)),
    row("as it was", PASS, "10 bytes", size("before", 10), size("after", 10)),
    row("shorter", FAIL, "10 bytes before the update, 2 after", size("before", 10), size("after", 2)),
    row("emptied", FAIL, "10 bytes before the update, 0 after", size("before", 10), size("after", 0)),
    row("empty before", UNKNOWN, "or empty before", size("before", 0), size("after", 0)),
    row("not looked at after", UNKNOWN, "not looked at", size("before", 10)),
    row("not looked at before", UNKNOWN, "not looked at", size("after", 10)),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", SIZES)
def test_file_kept(spoil: Any, outcome: Outcome, says: str, updates: int, tmp_path: Path) -> None:
    hold(file_kept(), tmp_path, spoil, updates, outcome, says)
