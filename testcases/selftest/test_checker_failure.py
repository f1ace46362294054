"""failure_answer: a truth table for each question."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.checkers import failure_answer
from lab.checkers.failure import ANSWERS

from .story import Story
from .timelines import EPOCH, EXEC, INVOKE, OK, PAGES, at, healthy
from .truth import FAIL, PASS, UNKNOWN, hold, row

NAME = "no-state-file"
TEXT = "update failed: No such file or directory"
BEST = {question: words[0] for question, words in ANSWERS.items()} | {"update": "refused"}
END = at(2, 3900)


def refused(story: Story, text: str = TEXT) -> Story:
    """The first update is refused and nothing else happens; the second one is ordinary."""
    story.drop("cpr.ok", update=1).add(OK, "cpr.fail", mode="cpr-exec", update=1, reason=text)
    story.drop("qmp.connected", side="new", update=1)
    for cut in ("chardev.eof", "chardev.reopen"):
        first = next(e for e in story.events if e[1] == cut)
        story.events.remove(first)
    ways = {"sent": 100, "received": 100, "lost": 0, "first_epoch": 1, "last_epoch": 2}
    told = {"connections": 1, "eofs": 0, "to_guest": ways, "from_guest": dict(ways)}
    story.change("chardev.report", {"update": 1, "chardev": "stream-path"}, **told)
    story.add(INVOKE - 50, "failure.begin", failure=NAME, title="")
    story.add(END, "failure.end", failure=NAME)
    for when, ms, pages in (("before", 0, 0), ("running", 10, PAGES), ("gone", END, 12)):
        story.add(ms, "host.pinned", when=when, pages=pages)
    return story


def lost(story: Story) -> Story:
    """QEMU dies of it."""
    refused(story, "new QEMU was killed by signal SIGSEGV")
    story.drop("cpr.ok", update=2).add(at(2, OK), "cpr.info", mode="cpr-exec", update=2, reason="no QMP")
    story.add(EXEC + 10, "host.exit", name="qemu", pid=157, status=None, signal="SIGSEGV")
    story.drop("guest.heartbeat", epoch=2).drop("guest.heartbeat", epoch=3)
    story.drop("chardev.report").drop("chardev.reopen").drop("chardev.eof")
    for chardev in ("stream-fd", "stream-path"):
        story.add(EXEC + 20, "chardev.eof", chardev=chardev, t_src_ns=0)
    for update in (1, 2):
        story.add(at(update, EPOCH + 10), "guest.unreachable", reason="its QEMU has ended")
    for stream in ("to-guest", "from-guest"):
        story.keep_rows(f"nic.{stream}.received", lambda t: t["epoch"] == 1)
    story.drop("host.interrupts")
    for ms in (EPOCH, EPOCH + 100):
        story.add(ms, "host.interrupts", when="after", update=1, bdf="0000:01:00.0", vectors={})
    return story


def silent(story: Story) -> Story:
    """New QEMU hangs: nothing ends, nobody answers."""
    lost(story)
    story.drop("host.exit").drop("chardev.eof", chardev="stream-fd").drop("cpr.fail")
    story.add(OK, "cpr.info", mode="cpr-exec", update=1, reason="no QMP greeting from new QEMU within 8 s")
    return story.keep_rows("chardev.stream-fd.received", lambda t: t["epoch"] == 1)


LOST = {"update": "died", "guest": "lost", "DMA": "stopped", "interrupts": "stopped", "chardevs": "lost"}
LOST |= {"next update": "fails", "unpinned": "yes"}
HUNG = LOST | {"update": "hung", "guest": "silent"}


@pytest.mark.parametrize("question", ANSWERS)
@pytest.mark.parametrize("made, answers", [(refused, BEST), (lost, LOST), (silent, HUNG)])
def test_each_story_has_its_answers(
    tmp_path: Path, made: Callable[[Story], Story], answers: dict[str, str], question: str
) -> None:
    """The answer is the one of the story, and every other one is refuted."""
    story = made(healthy(2))
    timeline = story.timeline(tmp_path)
    for word in ANSWERS[question]:
        verdict = failure_answer(NAME, question, word)(timeline)
        assert verdict.outcome is (PASS if word == answers[question] else FAIL), str(verdict)


def block_lost(story: Story) -> Story:
    rows = np.flatnonzero(story.tables["nic.to-guest.received"]["epoch"] == 2)
    return story.without_rows("nic.to-guest.received", int(rows[5]))


def wrong_byte(story: Story) -> Story:
    rows = np.flatnonzero(story.tables["nic.to-guest.received"]["epoch"] == 2)
    return story.set_rows("nic.to-guest.received", "good", int(rows[5]), 0)


def line_lost(story: Story) -> Story:
    ways = {"sent": 100, "received": 99, "lost": 1, "first_epoch": 1, "last_epoch": 2}
    return story.change("chardev.report", {"update": 1, "chardev": "stream-fd"}, to_guest=ways)


def behind(last_epoch: int, received: int) -> Callable[[Story], Story]:
    """The guest has yet to take the last lines of one chardev."""
    ways = {
        "sent": 150,
        "received": received,
        "lost": 10,
        "last_number": 140,
        "first_epoch": 1,
        "last_epoch": last_epoch,
    }
    return lambda s: s.change("chardev.report", {"update": 1, "chardev": "stream-fd"}, to_guest=ways)


def paused(story: Story) -> Story:
    story.drop("guest.heartbeat", epoch=2)
    return story.add(EPOCH + 20, "qmp.reply", command="query-status", result={"status": "paused"})


TABLE = [
    (
        "update",
        row("refused for another reason", FAIL, "nothing says 'No such file'", lambda s: refused(s, "x")),
    ),
    ("update", row("it was not tried", UNKNOWN, "was not tried", refused, lambda s: s.drop("failure.begin"))),
    ("update", row("cut short", UNKNOWN, "the recording ends in", refused, lambda s: s.drop("failure.end"))),
    (
        "guest",
        row("no epoch", UNKNOWN, "no new epoch", refused, lambda s: s.drop("epoch", number=2).drop("epoch")),
    ),
    ("guest", row("paused", FAIL, "^paused; the table says lives", refused, paused)),
    (
        "guest",
        row(
            "nobody called it",
            UNKNOWN,
            "nobody called",
            refused,
            lambda s: s.drop("guest.heartbeat", epoch=2),
        ),
    ),
    (
        "guest",
        row(
            "its memory is damaged",
            FAIL,
            "memory pattern is damaged",
            refused,
            lambda s: s.change("guest.heartbeat", {"epoch": 2}, memory_intact=False),
        ),
    ),
    ("DMA", row("a block is lost", FAIL, "^lost; the table says intact", refused, block_lost)),
    ("DMA", row("a byte is wrong", FAIL, "^lost; the table says intact", refused, wrong_byte)),
    ("DMA", row("no load", UNKNOWN, "no load declares", refused, lambda s: s.drop("load.start"))),
    (
        "interrupts",
        row(
            "they do not rise",
            FAIL,
            "^stopped; the table says flow",
            refused,
            lambda s: s.change("host.interrupts", vectors={"vfio-msix[0]": 7}),
        ),
    ),
    (
        "interrupts",
        row("nobody looked", UNKNOWN, "nobody looked", refused, lambda s: s.drop("host.interrupts")),
    ),
    ("chardevs", row("a line is lost", FAIL, "^lost; the table says held", refused, line_lost)),
    ("chardevs", row("lines are on their way", PASS, "stream-fd held", refused, behind(2, 140))),
    (
        "chardevs",
        row("all since are on their way", UNKNOWN, "10 lines had not come", refused, behind(1, 140)),
    ),
    ("chardevs", row("none came any more", FAIL, "^lost; the table says held", refused, behind(1, 0))),
    (
        "chardevs",
        row(
            "one is cut and comes back",
            FAIL,
            "^reconnected; the table says held",
            refused,
            lambda s: s.add(EXEC, "chardev.eof", chardev="stream-fd").add(
                EXEC, "chardev.reopen", chardev="stream-fd"
            ),
        ),
    ),
    (
        "chardevs",
        row("no report", UNKNOWN, "nothing was reported", refused, lambda s: s.drop("chardev.report")),
    ),
    (
        "chardevs",
        row(
            "one is dropped as soon as it is back",
            FAIL,
            "^lost; the table says held",
            lost,
            lambda s: s.add(EXEC + 30, "chardev.reopen", chardev="stream-path"),
            lambda s: s.add(EXEC + 40, "chardev.eof", chardev="stream-path"),
        ),
    ),
    (
        "next update",
        row(
            "the next one is refused",
            FAIL,
            "^fails; the table says succeeds",
            refused,
            lambda s: s.drop("cpr.ok", update=2).add(
                at(2, OK), "cpr.fail", mode="cpr-exec", update=2, reason=""
            ),
        ),
    ),
    (
        "next update",
        row(
            "there is no next one",
            UNKNOWN,
            "no ordinary update",
            refused,
            lambda s: s.drop("cpr.ok", update=2).drop("cpr.invoke", update=2),
        ),
    ),
    (
        "unpinned",
        row(
            "pages stay pinned",
            FAIL,
            "^no; the table says yes",
            refused,
            lambda s: s.change("host.pinned", {"when": "gone"}, pages=512),
        ),
    ),
    (
        "unpinned",
        row("never pinned", UNKNOWN, "only 0 pages", refused, lambda s: s.change("host.pinned", pages=0)),
    ),
    (
        "unpinned",
        row(
            "not counted", UNKNOWN, "not counted gone", refused, lambda s: s.drop("host.pinned", when="gone")
        ),
    ),
]


@pytest.mark.parametrize("question, line", [pytest.param(q, r, id=str(r.id)) for q, r in TABLE])
def test_a_spoiled_story_is_told_apart(tmp_path: Path, question: str, line: Any) -> None:
    spoil, outcome, says, _ = line.values
    checker = failure_answer(
        NAME, question, BEST[question], says="No such file" if question == "update" else ""
    )
    hold(checker, tmp_path, spoil, 2, outcome, says)


def test_a_known_defect_is_called_one(tmp_path: Path) -> None:
    verdict = failure_answer(NAME, "guest", "lost", promised="lives")(lost(healthy(2)).timeline(tmp_path))
    assert "lost, as expected (a known defect: promised is lives)" in verdict.summary


def test_a_word_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="is no answer"):
        failure_answer(NAME, "guest", "intact")
