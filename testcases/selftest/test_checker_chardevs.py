"""chardev_grade for every kind of connection: directions, ends that nobody tells, losses."""

import re
from pathlib import Path
from typing import Any

import pytest

from lab.checkers import chardev_grade
from lab.checkers.chardevs import GRADES, ChardevGrade, Graded
from lab.verdict import Outcome

from .story import Spoiler, Story
from .timelines import INVOKE, OK, at, healthy
from .truth import FAIL, PASS, UNKNOWN, hold

ID = "x.virtio-serial"
WORSE, BETTER = "worse", "better than the table"


def told(**data: Any) -> Spoiler:
    """The reports of a connection from the guest, all well but for `data`."""

    def spoil(story: Story) -> None:
        way = {"sent": 90, "received": 90, "lost": 0, "damaged": 0, "longest_idle_ms": 120}
        way |= {"first_epoch": 1, "last_epoch": 2}
        whole: dict[str, Any] = {"connections": 1, "eofs": 0, "drained": False, "update": 1}
        whole |= {name: value for name, value in data.items() if name in whole}
        whole["from_guest"] = way | {name: value for name, value in data.items() if name not in whole}
        story.add(at(1, 2550), "chardev.report", chardev=ID, **whole)
        story.add(3500, "chardev.report", chardev=ID, **(whole | {"drained": True}))

    return spoil


def undrained(story: Story) -> None:
    story.change("chardev.report", {"chardev": ID}, drained=False)


def ended(story: Story) -> None:
    story.add(INVOKE + 50, "chardev.eof", chardev=ID)


def gone(story: Story) -> None:
    story.add(OK - 100, "host.exit", name="qemu", pid=157, status=1, signal=None)


def refused(story: Story) -> None:
    story.drop("cpr.ok").add(OK, "cpr.fail", mode="cpr-transfer", update=1, reason="no")


def crashed_later(story: Story) -> None:
    story.add(3000, "host.exit", name="qemu", pid=157, status=None, signal="SIGSEGV")


def grade(expected: str, **options: Any) -> ChardevGrade:
    return chardev_grade(ID, expected, ways=("from_guest",), **options)


AGAIN = {"eofs": 1, "connections": 2}


@pytest.mark.parametrize(
    "claim, outcome, says, spoil",
    [
        (grade("A"), PASS, "grade A", [told()]),
        (grade("A", told=False), PASS, "grade A (nothing lost)", [told()]),
        (grade("A"), FAIL, "lost lines on a connection that never ended", [told(lost=2)]),
        (grade("cut"), PASS, "grade cut (the same connection, with a loss)", [told(lost=2)]),
        (grade("cut"), FAIL, BETTER, [told()]),
        (grade("cut"), FAIL, WORSE, [told(lost=2, **AGAIN), ended]),
        (grade("C", told=False), PASS, "grade C (with a loss)", [told(lost=2)]),
        (grade("C", told=False), FAIL, f"got A (nothing lost), {BETTER}", [told()]),
        (grade("C"), PASS, "2 lost from guest", [told(lost=2, **AGAIN), ended]),
        (grade("C"), FAIL, f"got B (reconnected, nothing lost), {BETTER}", [told(**AGAIN), ended]),
        (grade("B"), PASS, "grade B", [told(**AGAIN), ended]),
        (grade("B", told=False), PASS, "grade B", [told(**AGAIN), ended]),
        (grade("A"), FAIL, f"got lost (no line after the update), {WORSE}", [told(last_epoch=1)]),
        (grade("lost"), PASS, "grade lost", [told(last_epoch=1)]),
        (grade("cut", torn=True), PASS, "grade cut", [told(lost=2, damaged=2)]),
        (grade("cut", torn=True), FAIL, "1 lines from guest were damaged", [told(lost=2, damaged=3)]),
        (grade("cut"), FAIL, "2 lines from guest were damaged", [told(lost=2, damaged=2)]),
        (grade("cut", torn=True), FAIL, "were repeated", [told(lost=2, repeated=1)]),
        (grade("A"), PASS, "grade A", [told(longest_idle_ms=10_000)]),
        (grade("A"), UNKNOWN, "for 10.1 s: the stream slept", [told(longest_idle_ms=10_100)]),
        (grade("A"), UNKNOWN, "no line sent from guest before update 1 came through", [told(first_epoch=2)]),
        (grade("A"), UNKNOWN, "lines may still be under way", [told(), undrained]),
        (grade("A"), UNKNOWN, "nothing was ever sent from guest", [told(sent=0)]),
        (grade("A"), UNKNOWN, "nothing was reported of", []),
        (
            grade("A"),
            UNKNOWN,
            "went blind",
            [lambda s: s.add(9, "witness.blind", witness=f"chardev {ID}"), told()],
        ),
        (grade("A"), FAIL, f"got guest lost (QEMU ended, and the guest with it), {WORSE}", [told(), gone]),
        (grade("A"), FAIL, "got guest lost", [told(), crashed_later]),
        (grade("guest lost"), PASS, "grade guest lost", [gone]),
        (grade("refused"), PASS, "grade refused", [told(), refused]),
        (grade("refused"), FAIL, f"got A (the same connection, nothing lost), {BETTER}", [told()]),
        (grade("refused"), FAIL, "lost lines on a connection that never ended", [told(lost=1), refused]),
        (grade("A"), UNKNOWN, "did not complete (refused: no)", [told(), refused]),
        (grade("guest lost"), FAIL, f"got A (the same connection, nothing lost), {BETTER}", [told()]),
    ],
)
def test_every_kind_of_connection(
    claim: ChardevGrade, outcome: Outcome, says: str, spoil: list[Spoiler], tmp_path: Path
) -> None:
    hold(claim, tmp_path, tuple(spoil), 1, outcome, re.escape(says))


def test_a_guest_that_is_ended_at_the_end_is_not_lost(tmp_path: Path) -> None:
    timeline = healthy(1).timeline(tmp_path)
    assert timeline.of("host.exit")
    assert chardev_grade("stream-fd", "A").graded(timeline).grade == "A"


def test_a_grade_comes_with_its_losses(tmp_path: Path) -> None:
    story = healthy(1)
    told(lost=3)(story)
    timeline = story.timeline(tmp_path)
    graded = grade("C").graded(timeline)
    assert (graded.grade, dict(graded.lost)) == ("cut", {"from_guest": 3})
    assert chardev_grade("nobody", "A").graded(timeline) == Graded("", {})
    assert graded.grade in GRADES
