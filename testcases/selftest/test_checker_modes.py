"""An update by another process: truth tables of handed_over and unpromised, and whose end is a loss."""

from pathlib import Path
from typing import Any

import pytest

from lab.checkers import handed_over, same_guest, unpromised, update_completed
from lab.timeline import Timeline
from lab.verdict import Outcome, Verdict

from .story import Story
from .timelines import OK
from .truth import FAIL, PASS, UNKNOWN, hold, row

NEW = 158
AFTER_1 = {"when": "after", "update": 1}


def transfer(story: Story) -> Story:
    """Update 1 is by another process: the old one is quit, the guest ends with the new one."""
    story.change("host.process", AFTER_1, pid=NEW, start_ticks=2999)
    story.change("host.exit", {"pid": 157}, pid=NEW)
    story.add(OK + 5, "qemu.left", pid=157, update=1)
    story.add(OK + 10, "qmp.event", side="old", name="SHUTDOWN", data={}, update=1)
    return story.add(OK + 20, "host.exit", name="qemu", pid=157, status=0, signal=None)


def without(link: str) -> Any:
    def spoil(story: Story) -> None:
        seen = next(d for _, kind, d in story.events if kind == "host.process")["fds"]
        story.change("host.process", AFTER_1, fds=[fd for fd in seen if fd[1] != link])

    return spoil


def leak(story: Story) -> None:
    seen = next(d for _, kind, d in story.events if kind == "host.process")["fds"]
    story.change("host.process", AFTER_1, fds=[*seen, [99, "/dev/vhost-net", 7]])


HANDED_OVER = [
    row("handed over", PASS, "^PID 157 gave way to PID 158", transfer),
    row("the same process", FAIL, "PID 157 ran the guest before update 1 and after it"),
    row("the iommufd is not there", FAIL, "lost at update 1: 1 /dev/iommu", transfer, without("/dev/iommu")),
    row("one more descriptor", FAIL, "^1 descriptors more .*: 1 /dev/vhost-net", transfer, leak),
    row(
        "old QEMU was not ended",
        UNKNOWN,
        "nobody saw the end of PID 157",
        transfer,
        lambda s: s.drop("host.exit", pid=157),
    ),
    row(
        "old QEMU crashed after it",
        FAIL,
        "old QEMU ended with SIGSEGV",
        transfer,
        lambda s: s.change("host.exit", {"pid": 157}, status=None, signal="SIGSEGV"),
    ),
    row(
        "new QEMU crashed",
        FAIL,
        "QEMU ended with SIGABRT: the guest is lost",
        transfer,
        lambda s: s.change("host.exit", {"pid": NEW}, status=None, signal="SIGABRT"),
    ),
    row(
        "another version",
        FAIL,
        "version 9 runs",
        transfer,
        lambda s: s.change("host.process", AFTER_1, version="version 9"),
    ),
    row(
        "no device before",
        UNKNOWN,
        "held no descriptor of /dev/vfio",
        transfer,
        lambda s: s.change("host.process", {}, fds=[[0, "/dev/null", 1]]),
    ),
]


@pytest.mark.parametrize(("spoil", "outcome", "says", "updates"), HANDED_OVER)
def test_handed_over(tmp_path: Path, spoil: Any, outcome: Outcome, says: str, updates: int) -> None:
    hold(handed_over(), tmp_path, spoil, updates, outcome, says)


def refused_by_the_new_one(story: Story) -> None:
    """A process that was started beside the guest's ends before it has anything."""
    story.add(1010, "qemu.start", argv=["qemu"], pid=NEW, beside=True)
    story.add(1020, "host.exit", name="qemu", pid=NEW, status=1, signal=None)


def crashed_as_the_guest(story: Story) -> None:
    story.add(1010, "qemu.start", argv=["qemu"], pid=NEW, beside=True)
    story.add(1015, "qemu.became", pid=NEW)
    story.add(1020, "host.exit", name="qemu", pid=NEW, status=1, signal=None)


SAME_GUEST = [
    row("one beside it ends", PASS, "beat", refused_by_the_new_one),
    row("one that had become the guest ends", FAIL, "QEMU ended with status 1", crashed_as_the_guest),
    row("old QEMU's end is no loss", PASS, "beat", transfer),
    row(
        "it ended before it had left",
        FAIL,
        "QEMU ended with SIGKILL",
        transfer,
        lambda s: s.change("host.exit", {"pid": 157}, status=None, signal="SIGKILL"),
        lambda s: s.move("qemu.left", OK + 30),
    ),
    row(
        "new QEMU says SHUTDOWN",
        FAIL,
        "QEMU said SHUTDOWN after the update began",
        transfer,
        lambda s: s.change("qmp.event", {"name": "SHUTDOWN"}, side="new"),
    ),
    row(
        "old QEMU said SHUTDOWN while it ran the guest",
        FAIL,
        "QEMU said SHUTDOWN after the update began",
        transfer,
        lambda s: s.move("qmp.event", 1050, name="SHUTDOWN"),
    ),
]


@pytest.mark.parametrize(("spoil", "outcome", "says", "updates"), SAME_GUEST)
def test_a_process_that_left_is_not_the_guest(
    tmp_path: Path, spoil: Any, outcome: Outcome, says: str, updates: int
) -> None:
    hold(same_guest(), tmp_path, spoil, updates, outcome, says)


RESTARTED = [
    row("no migration", PASS, "completed in", lambda s: s.drop("qmp.reply", command="query-migrate")),
    row(
        "it does not run",
        FAIL,
        "says paused",
        lambda s: s.change("qmp.reply", {}, result={"status": "paused"}),
    ),
    row("nobody asked", UNKNOWN, "did not answer query-status", lambda s: s.drop("qmp.reply")),
]


@pytest.mark.parametrize(("spoil", "outcome", "says", "updates"), RESTARTED)
def test_a_restart_tells_of_no_migration(
    tmp_path: Path, spoil: Any, outcome: Outcome, says: str, updates: int
) -> None:
    hold(update_completed(migrated=False), tmp_path, spoil, updates, outcome, says)


@pytest.mark.parametrize(("said", "outcome"), [(FAIL, PASS), (PASS, FAIL), (UNKNOWN, UNKNOWN)])
def test_what_is_not_promised_must_not_be_kept(said: Outcome, outcome: Outcome) -> None:
    def claim(_: Timeline) -> Verdict:
        return Verdict("claim", said, "so it was", (3,))

    verdict = unpromised(claim)(Timeline(()))
    assert (verdict.outcome, verdict.checker, verdict.evidence) == (outcome, "unpromised(claim)", (3,))
    assert "so it was" in verdict.summary


def test_nothing_recorded_is_nothing_unpromised() -> None:
    assert unpromised(update_completed())(Timeline(())).outcome is UNKNOWN
