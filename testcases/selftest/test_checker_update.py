"""update_completed and guest_pause_below: truth tables."""

from pathlib import Path
from typing import Any

import pytest

from lab.checkers import guest_pause_below, update_completed

from .spoilers import refused
from .timelines import INVOKE, OK, RESUME, STOP, at, far_ns
from .truth import FAIL, PASS, UNKNOWN, hold, row

AFTER_1 = {"when": "after", "update": 1}


def reply(command: str, **data: Any) -> Any:
    return lambda s: s.change("qmp.reply", {"command": command, "update": 1}, **data)


COMPLETED = [
    row("completed", PASS, "^update 1 completed in 0.70 s, new QEMU is running$"),
    row("three updates", PASS, "update 3", updates=3),
    row("refused", FAIL, "update 1 was refused: no", refused),
    row(
        "the second one refused",
        FAIL,
        "update 2 was refused",
        lambda s: s.drop("cpr.ok", update=2).add(at(2, OK), "cpr.fail", mode="cpr-exec", update=2),
        updates=2,
    ),
    row(
        "nobody knows",
        UNKNOWN,
        "nobody knows: lost",
        lambda s: s.drop("cpr.ok").add(OK, "cpr.info", mode="cpr-exec", update=1, reason="lost"),
    ),
    row(
        "nobody knows, but QEMU ended",
        FAIL,
        "QEMU ended with status 1 in update 1",
        lambda s: s.drop("cpr.ok").drop("host.exit").add(1300, "host.exit", status=1, signal=None),
        lambda s: s.add(OK, "cpr.info", mode="cpr-exec", update=1, reason="no greeting"),
    ),
    row(
        "the recording ends in it",
        UNKNOWN,
        "recording ends in it",
        lambda s: s.drop("cpr.ok"),
    ),
    row(
        "none was begun", UNKNOWN, "0 of 1 updates were begun", lambda s: s.drop("cpr.invoke").drop("cpr.ok")
    ),
    row(
        "no reply of query-status",
        UNKNOWN,
        "did not answer query-status",
        lambda s: s.drop("qmp.reply", command="query-status"),
    ),
    row(
        "no reply of query-migrate",
        UNKNOWN,
        "did not answer query-migrate",
        lambda s: s.drop("qmp.reply", command="query-migrate"),
    ),
    row("only old QEMU's replies", UNKNOWN, "did not answer", lambda s: s.change("qmp.reply", side="old")),
    row(
        "only events",
        UNKNOWN,
        "did not answer",
        lambda s: s.drop("qmp.reply").add(
            1600, "qmp.event", side="new", name="MIGRATION", data={"status": "completed"}, update=1
        ),
    ),
    row("replies from before the update", UNKNOWN, "did not answer", lambda s: s.move("qmp.reply", 900)),
    row(
        "paused",
        FAIL,
        "query-status says paused, not running",
        reply("query-status", result={"status": "paused"}),
    ),
    row("failed", FAIL, "query-migrate says failed", reply("query-migrate", result={"status": "failed"})),
    row(
        "an error in place of a reply",
        UNKNOWN,
        "without a status",
        reply("query-migrate", result=None, error="no"),
    ),
    row("a reply without a status", UNKNOWN, "without a status", reply("query-migrate", result={})),
    row(
        "first inmigrate, then running",
        PASS,
        "running",
        lambda s: s.add(
            1550, "qmp.reply", side="new", command="query-status", result={"status": "inmigrate"}, update=1
        ),
    ),
    row(
        "first running, then an error",
        FAIL,
        "says internal-error",
        lambda s: s.add(
            1650,
            "qmp.reply",
            side="new",
            command="query-status",
            result={"status": "internal-error"},
            update=1,
        ),
    ),
    row(
        "the first one's replies do not serve the second",
        UNKNOWN,
        "in update 2",
        lambda s: s.drop("qmp.reply", update=2),
        updates=2,
    ),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", COMPLETED)
def test_update_completed(tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(update_completed(), tmp_path, spoil, updates, outcome, says)


def test_fewer_updates_than_asked_for(tmp_path: Path) -> None:
    hold(update_completed(updates=3), tmp_path, (), 2, UNKNOWN, "2 of 3 updates were begun")
    hold(update_completed(updates=2), tmp_path / "b", (), 2, PASS, "update 2")


RECEIVED, SENT = "nic.from-guest.received", "nic.to-guest.sent"


def silent(start_ms: float, end_ms: float, table: str = RECEIVED) -> Any:
    return lambda s: s.keep_rows(
        table, lambda t: (t["t_ns"] <= far_ns(start_ms)) | (t["t_ns"] >= far_ns(end_ms))
    )


PAUSE = [
    row(
        "short", PASS, r"^0.41 s without a frame from the guest \(far clock\) at update 1; by other clocks: "
    ),
    row(
        "all clocks by name",
        PASS,
        r"heartbeat 0.02 s \(guest clock\), QMP STOP to RESUME 0.40 s \(host clock\)",
    ),
    row("three updates", PASS, "at update 3", updates=3),
    row("long", FAIL, r"^0.60 s without .* not below 0.5 s$", silent(STOP, RESUME + 200)),
    row("exactly the bound", FAIL, "^0.50 s", silent(1096, 1596)),
    row("just below the bound", PASS, "^0.49 s|^0.50 s", silent(1096, 1590)),
    row("long after the update, before it settled", FAIL, "not below", silent(OK + 100, OK + 700)),
    row("silent long before the update", PASS, "0.41 s", silent(200, INVOKE - 150)),
    row("long at the second update only", FAIL, "update 2", silent(at(2, 1100), at(2, 1700)), updates=2),
    row(
        "the far end itself stood still",
        UNKNOWN,
        "its observer stood still",
        silent(STOP, RESUME + 200),
        silent(STOP, RESUME + 200, SENT),
    ),
    row(
        "the far end stood still for less",
        FAIL,
        "not below",
        silent(STOP, RESUME + 200),
        silent(STOP, RESUME, SENT),
    ),
    row("nothing after the update", UNKNOWN, "do not span", silent(OK, 9999)),
    row("nothing before the update", UNKNOWN, "do not span", silent(0, INVOKE)),
    row(
        "nothing fresh",
        UNKNOWN,
        "no frame of epoch 2",
        lambda s: s.set_rows(RECEIVED, "epoch", slice(None), 1),
    ),
    row("no table", UNKNOWN, "no table", lambda s: s.tables.pop(RECEIVED)),
    row("the far clock is not known", UNKNOWN, "do not span", lambda s: s.drop("clock.sync", source="far")),
    row("the far clock runs backwards", UNKNOWN, "backwards", lambda s: s.set_rows(RECEIVED, "t_ns", 5, 0)),
    row(
        "only the far clock is known",
        PASS,
        "0.41 s",
        lambda s: s.drop("clock.sync", source="guest").drop("qmp.event"),
    ),
    row("refused", UNKNOWN, "refused", refused),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", PAUSE)
def test_guest_pause_below(tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(guest_pause_below(seconds=0.5), tmp_path, spoil, updates, outcome, says)
