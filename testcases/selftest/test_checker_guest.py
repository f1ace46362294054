"""same_guest: truth table."""

from pathlib import Path
from typing import Any

import pytest

from lab.checkers import same_guest

from .spoilers import beat, exit_at, refused
from .truth import FAIL, PASS, UNKNOWN, hold, row

AFTER_1 = {"when": "after", "update": 1}


def said(ms: float, name: str) -> Any:
    return lambda s: s.add(ms, "qmp.event", side="new", name=name, data={}, t_host_ns=0, update=1)


GUEST = [
    row("the guest lives on", PASS, r"^beat 8 to \d+ after update 1$"),
    row("two updates", PASS, "after update 2", updates=2),
    row("another boot", FAIL, "another boot: b-1, then b-2", beat(9, boot_id="b-2")),
    row(
        "another boot than at first", FAIL, "another boot", lambda s: s.change("guest.booted", boot_id="b-0")
    ),
    row("a beat comes again", FAIL, "beat 8 came after beat 8", beat(9, beat=8)),
    row("beats start anew", FAIL, "beat 1 came after beat 8", beat(9, beat=1)),
    row("a beat is missing", PASS, "after update 1", lambda s: s.drop("guest.heartbeat", beat=9)),
    row("memory is damaged", FAIL, "memory pattern is damaged in 1 beats", beat(9, memory_intact=False)),
    row(
        "memory is damaged and nothing else is known",
        FAIL,
        "damaged",
        beat(2, memory_intact=False),
        lambda s: s.drop("cpr.invoke").drop("cpr.ok"),
    ),
    row(
        "memory is not checked after the update",
        UNKNOWN,
        "memory was not checked",
        lambda s: s.change("guest.heartbeat", {"epoch": 2}, memory_intact=None),
    ),
    row(
        "silent after the update",
        UNKNOWN,
        "no heartbeat of epoch 2",
        lambda s: s.drop("guest.heartbeat", epoch=2),
    ),
    row(
        "only late beats after the update",
        UNKNOWN,
        "no heartbeat of epoch 2",
        lambda s: s.change("guest.heartbeat", {"epoch": 2}, epoch=1),
    ),
    row(
        "silent after the second update",
        UNKNOWN,
        "epoch 3",
        lambda s: s.drop("guest.heartbeat", epoch=3),
        updates=2,
    ),
    row(
        "silent before the update",
        UNKNOWN,
        "before update 1",
        lambda s: s.drop("guest.heartbeat", epoch=1),
    ),
    row("no new epoch", UNKNOWN, "no new epoch", lambda s: s.drop("epoch", number=2)),
    row("no update", UNKNOWN, "no update was begun", lambda s: s.drop("cpr.invoke").drop("cpr.ok")),
    row("refused", UNKNOWN, "refused: no", refused),
    row(
        "out of reach",
        UNKNOWN,
        "not be reached: gone",
        lambda s: s.add(2000, "guest.unreachable", reason="gone"),
    ),
    row(
        "its agent is blind",
        UNKNOWN,
        "guest-agent went",
        lambda s: s.add(9, "witness.blind", witness="guest-agent"),
    ),
    row(
        "QEMU crashes in the update",
        FAIL,
        "QEMU ended with SIGSEGV",
        exit_at(1300, status=None, signal="SIGSEGV"),
    ),
    row(
        "QEMU gives up in the update", FAIL, "QEMU ended with status 1", exit_at(1300, status=1, signal=None)
    ),
    row("reset after the update", FAIL, "QEMU said RESET after the update began", said(3000, "RESET")),
    row("down after the update", FAIL, "QEMU said SHUTDOWN", said(3000, "SHUTDOWN")),
    row("reset before the update", UNKNOWN, "RESET before the first update", said(-500, "RESET")),
    row("down when the load has stopped", PASS, "after update 1", said(3800, "SHUTDOWN")),
    row("another event", PASS, "after update 1", said(3000, "NIC_RX_FILTER_CHANGED")),
    row(
        "silent long before the end",
        UNKNOWN,
        "no heartbeat in the last 1",
        lambda s: (
            s.drop("load.stop").drop("host.exit").add(14000, "load.stop", load="nic", totals={}, drained=True)
        ),
    ),
    row("QEMU ends by itself under load", FAIL, "status 0", exit_at(3000, status=0, signal=None)),
    row("QEMU crashes when it is stopped", FAIL, "SIGABRT", exit_at(3800, status=None, signal="SIGABRT")),
    row("QEMU fails to leave cleanly at the end", PASS, "after", exit_at(3800, status=1, signal=None)),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", GUEST)
def test_same_guest(tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(same_guest(), tmp_path, spoil, updates, outcome, says)
