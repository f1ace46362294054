"""update_refused, and the claims that go with it: truth tables."""

from pathlib import Path
from typing import Any

import pytest

from lab.checkers import dma_intact, refused, same_guest, update_refused
from lab.verdict import Outcome, judge

from .story import Story
from .timelines import OK, healthy
from .truth import FAIL, PASS, UNKNOWN, hold, row

TEXT = "update failed: CPR does not support vfio mdev 7f1a"
REASON = "CPR does not support vfio mdev"


def refuse(story: Story, reason: str = TEXT) -> Story:
    """QEMU says no, and nothing else happens."""
    story.drop("cpr.ok").drop("qmp.connected", side="new").drop("qmp.event", name="STOP")
    return story.add(OK, "cpr.fail", mode="cpr-exec", update=1, reason=reason)


REFUSED = [
    row("refused for the reason expected", PASS, "^update 1 was refused: update failed: CPR does", refuse),
    row("not refused", FAIL, "^update 1 was not refused: it completed"),
    row(
        "refused for another reason", FAIL, "for another reason: disk full", lambda s: refuse(s, "disk full")
    ),
    row("no reason at all", FAIL, "for another reason: $", lambda s: refuse(s, "")),
    row(
        "nobody knows",
        UNKNOWN,
        "nobody knows",
        lambda s: s.drop("cpr.ok").drop("qmp.connected").add(OK, "cpr.info", mode="cpr-exec", update=1),
    ),
    row("the recording ends in it", UNKNOWN, "ends in it", lambda s: s.drop("cpr.ok").drop("qmp.connected")),
    row(
        "no update",
        UNKNOWN,
        "no update was begun",
        lambda s: s.drop("cpr.invoke").drop("cpr.ok").drop("qmp.connected"),
    ),
    row(
        "QEMU dies of it",
        FAIL,
        "QEMU ended with SIGSEGV: the guest is lost",
        refuse,
        lambda s: s.add(2000, "host.exit", name="qemu", pid=157, status=None, signal="SIGSEGV"),
    ),
    row(
        "new QEMU is started all the same",
        FAIL,
        "new QEMU was started",
        refuse,
        lambda s: s.add(1400, "qmp.connected", side="new", version="11.1.3", update=1),
    ),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", REFUSED)
def test_update_refused(tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(update_refused(REASON), tmp_path, spoil, updates, outcome, says)


BESIDE = [
    row("the load goes on through the refusal", PASS, "after update 1", refuse),
    row("the update completed after all", UNKNOWN, "update 1 was not refused"),
    row(
        "the guest is silent since",
        UNKNOWN,
        "no (heartbeat|block) of epoch 2",
        refuse,
        lambda s: s.drop("guest.heartbeat", epoch=2),
        lambda s: s.keep_rows("nic.to-guest.received", lambda t: t["epoch"] == 1),
        lambda s: s.keep_rows("nic.to-guest.sent", lambda t: t["epoch"] == 1),
    ),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", BESIDE)
def test_guest_and_load_beside_a_refusal(
    tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int
) -> None:
    for checker in (same_guest("fail"), dma_intact("nic.to-guest", outcome="fail")):
        hold(checker, tmp_path / checker.__name__, spoil, updates, outcome, says)


def test_all_claims_of_a_refusal_hold_together(tmp_path: Path) -> None:
    timeline = refuse(healthy()).timeline(tmp_path)
    verdicts = judge(timeline, refused(("nic.to-guest", "nic.from-guest"), REASON))
    assert {v.outcome for v in verdicts} == {Outcome.PASS}, [str(v) for v in verdicts]
    assert len(verdicts) == 4
