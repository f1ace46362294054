"""chardev_grade and logs_clean: truth tables, and the reviewed list of harmless messages."""

from pathlib import Path
from typing import Any

import pytest

from lab.checkers import chardev_grade, logs_clean
from lab.checkers.benign import STANDARD, harmless, parse

from .story import Story
from .timelines import OK
from .truth import FAIL, PASS, UNKNOWN, hold, row

FD, PATH = "stream-fd", "stream-path"


def refused(story: Story) -> None:
    story.drop("cpr.ok").add(OK, "cpr.fail", mode="cpr-exec", update=1, reason="no")


def report(chardev: str, way: str, **data: Any) -> Any:
    def spoil(story: Story) -> None:
        for _, kind, told in story.events:
            if kind == "chardev.report" and told["chardev"] == chardev:
                told[way] = told[way] | data

    return spoil


def told(chardev: str, **data: Any) -> Any:
    return lambda s: s.change("chardev.report", {"chardev": chardev}, **data)


def drop_reports(story: Story) -> None:
    story.drop("chardev.report", chardev=FD)


def lossless(story: Story) -> None:
    report(PATH, "to_guest", lost=0)(story)


def dead(way: str) -> Any:
    return report(FD, way, last_epoch=1)


GRADE_A = [
    row(
        "the same connection, all lines",
        PASS,
        r"^grade A .*: 100 lines to guest, 100 lines from guest, 0 lost",
    ),
    row("three updates", PASS, "grade A", updates=3),
    row(
        "a line lost to the guest",
        FAIL,
        "lost lines on a connection that never",
        report(FD, "to_guest", lost=1),
    ),
    row("a line lost from the guest", FAIL, "never ended", report(FD, "from_guest", lost=1)),
    row("a line damaged", FAIL, "1 lines to guest were damaged", report(FD, "to_guest", damaged=1)),
    row("a line repeated", FAIL, "2 lines from guest were repeated", report(FD, "from_guest", repeated=2)),
    row("a line reordered", FAIL, "reordered", report(FD, "from_guest", reordered=2)),
    row(
        "a line damaged, and no update",
        FAIL,
        "damaged",
        report(FD, "to_guest", damaged=1),
        lambda s: s.drop("cpr.invoke").drop("cpr.ok"),
    ),
    row("it reconnected", FAIL, r"table says A .*got B \(reconnected, nothing lost\)", told(FD, eofs=1)),
    row("another connection", FAIL, "got B", told(FD, connections=2)),
    row("an end was seen", FAIL, "got B", lambda s: s.add(1200, "chardev.eof", chardev=FD)),
    row("a reopening was seen", FAIL, "got B", lambda s: s.add(1200, "chardev.reopen", chardev=FD)),
    row("the end of another chardev", PASS, "grade A", lambda s: s.add(1200, "chardev.eof", chardev="x")),
    row("it ends with the guest", PASS, "grade A", lambda s: s.add(3700, "chardev.eof", chardev=FD)),
    row("it reconnected with a loss", FAIL, "got C", told(FD, eofs=1), report(FD, "to_guest", lost=3)),
    row("dead to the guest", FAIL, r"got lost \(no line after the update\)", dead("to_guest")),
    row("dead from the guest", FAIL, "got lost", dead("from_guest")),
    row(
        "dead after the second update",
        FAIL,
        "got lost",
        lambda s: s.change(
            "chardev.report",
            {"chardev": FD},
            from_guest={"sent": 9, "received": 9, "lost": 0, "first_epoch": 1, "last_epoch": 2},
        ),
        updates=2,
    ),
    row(
        "dead, and the guest out of reach",
        UNKNOWN,
        "could not be asked",
        dead("from_guest"),
        lambda s: s.add(2000, "guest.unreachable", reason="gone"),
    ),
    row("nothing was sent", UNKNOWN, "nothing was ever sent to guest", report(FD, "to_guest", sent=0)),
    row("not drained at the end", UNKNOWN, "was not drained", told(FD, drained=False)),
    row("no report", UNKNOWN, "nothing was reported of stream-fd", drop_reports),
    row(
        "no report after the second update",
        UNKNOWN,
        "after update 2",
        lambda s: s.drop("chardev.report", update=2),
        updates=2,
    ),
    row(
        "no report between two updates",
        UNKNOWN,
        "after update 1",
        lambda s: s.drop("chardev.report", update=1),
        updates=2,
    ),
    row("only a report from before", UNKNOWN, "after update 1", lambda s: s.move("chardev.report", 900)),
    row("blind", UNKNOWN, "went blind", lambda s: s.add(1300, "witness.blind", witness=f"chardev {FD}")),
    row(
        "another is blind", PASS, "grade A", lambda s: s.add(1300, "witness.blind", witness=f"chardev {PATH}")
    ),
    row("no new epoch", UNKNOWN, "no new epoch", lambda s: s.drop("epoch", number=2)),
    row("refused", UNKNOWN, "refused", refused),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", GRADE_A)
def test_grade_a(tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(chardev_grade(FD, "A"), tmp_path, spoil, updates, outcome, says)


@pytest.mark.parametrize(
    "chardev, expected, outcome, spoil",
    [
        (PATH, "C", PASS, ()),
        (PATH, "B", FAIL, ()),
        (PATH, "A", FAIL, ()),
        (PATH, "lost", FAIL, ()),
        (PATH, "B", PASS, (lossless,)),
        (PATH, "C", FAIL, (lossless,)),
        (FD, "B", FAIL, ()),
        (FD, "C", FAIL, ()),
        (FD, "lost", FAIL, ()),
        (FD, "lost", PASS, (dead("to_guest"),)),
    ],
)
def test_better_or_worse_than_expected_is_red(
    tmp_path: Path, chardev: str, expected: str, outcome: Any, spoil: Any
) -> None:
    says = "grade" if outcome is PASS else f"table says {expected}"
    hold(chardev_grade(chardev, expected), tmp_path, spoil, 1, outcome, says)


def log(where: str, level: "int | str", text: str, ms: float = 1300) -> Any:
    return lambda s: s.add(ms, "log", where=where, level=level, text=text, t_src_ns=0)


P2P = "0000:01:00.0: PCI peer-to-peer transactions on BARs are not supported."
LOGS = [
    row("silence", PASS, "^0 messages"),
    row("talk", PASS, "^1 messages, 0 of them", log("host", 6, "igb: NIC Link is Up")),
    row("a notice", PASS, "^1 messages, 0 of them", log("host", 5, "something")),
    row("a warning", FAIL, "^host says: something$", log("host", 4, "something")),
    row("an error in the guest", FAIL, "^guest says: something$", log("guest", 3, "something")),
    row("a line of QEMU", FAIL, "^qemu says: something$", log("qemu", "stderr", "something")),
    row("an empty line of QEMU", PASS, "^1 messages", log("qemu", "stderr", "  ")),
    row("the same twice", FAIL, r"^host says \(2 times\): x$", log("host", 4, "x"), log("host", 4, "x")),
    row("a reviewed one", PASS, "^1 messages, 1 of them", log("qemu", "stderr", P2P)),
    row(
        "another reviewed one",
        PASS,
        "1 of them",
        log(
            "host", 3, "kvm [236]: vcpu0, guest rIP: 0xffffffff81038f3f Unhandled WRMSR(0xc0010007) = 0xffff"
        ),
    ),
    row("another register", FAIL, "WRMSR", log("host", 3, "kvm [236]: Unhandled WRMSR(0xc0010008) = 0x1")),
    row("a reviewed one from elsewhere", FAIL, "host says", log("host", 4, P2P)),
    row("a reviewed one with something after it", FAIL, "qemu says", log("qemu", "stderr", P2P + " Oops")),
    row(
        "a reviewed and another",
        FAIL,
        "^qemu says: x$",
        log("qemu", "stderr", P2P),
        log("qemu", "stderr", "x"),
    ),
    row("a crash at an innocent level", FAIL, "segfault", log("host", 6, "qemu[157]: segfault at 38 ip 00")),
    row("a WARN", FAIL, "WARNING", log("host", 6, "WARNING: CPU: 0 PID: 1 at x.c:1")),
    row(
        "an IOMMU fault",
        FAIL,
        "DMAR",
        log("host", 6, "DMAR: [DMA Read NO_PASID] Request device [01:00.0] fault"),
    ),
    row("the IOMMU says hello", PASS, "0 of them", log("host", 6, "DMAR: Host address width 39")),
    row(
        "an AMD IOMMU fault",
        FAIL,
        "IO_PAGE_FAULT",
        log("host", 6, "AMD-Vi: Event logged [IO_PAGE_FAULT ...]"),
    ),
    row("a complaint before the update", FAIL, "host says", log("host", 4, "x", 100)),
    row(
        "a complaint, and nobody read QEMU's stderr",
        FAIL,
        "host says",
        log("host", 4, "x"),
        lambda s: s.drop("qemu.start"),
    ),
    row("nobody read QEMU's stderr", UNKNOWN, "nobody read QEMU", lambda s: s.drop("qemu.start")),
    row(
        "a witness of QEMU's stderr by name",
        PASS,
        "0 messages",
        lambda s: s.drop("qemu.start").add(0, "witness.start", witness="qemu-stderr"),
    ),
    row("nobody read the guest's log", UNKNOWN, "nobody read the guest", lambda s: s.drop("guest.booted")),
    row(
        "the guest's agent fell silent",
        UNKNOWN,
        "nobody read the guest's log in the last 1[0-9]",
        lambda s: s.move("load.stop", 15000),
    ),
    row(
        "nobody read the guest's log after the update",
        UNKNOWN,
        "after update 1",
        lambda s: s.drop("guest.heartbeat", epoch=2),
    ),
    row("nobody read the host's log", UNKNOWN, "kmsg-host was not", lambda s: s.drop("witness.start")),
    row("the host's log was left early", UNKNOWN, "stopped before", lambda s: s.move("witness.stop", 1300)),
    row("blind", UNKNOWN, "kmsg-guest went blind", lambda s: s.add(9, "witness.blind", witness="kmsg-guest")),
    row("refused", UNKNOWN, "refused", refused),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", LOGS)
def test_logs_clean(tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(logs_clean(), tmp_path, spoil, updates, outcome, says)


def test_another_list(tmp_path: Path) -> None:
    hold(logs_clean(benign=(("host", "x+", "seen"),)), tmp_path, (log("host", 4, "xx"),), 1, PASS, "1 of")
    hold(logs_clean(benign=()), tmp_path / "b", (log("qemu", "stderr", P2P),), 1, FAIL, "qemu")


def test_every_harmless_message_has_a_reason_and_is_narrow() -> None:
    assert STANDARD
    for where, pattern, reason in STANDARD:
        assert len(reason) > 15, pattern
        assert not harmless(where, "WARNING: CPU: 0 PID: 1 at fs/x.c:1", [(where, pattern, reason)])
        assert not harmless(where, "BUG: unable to handle page fault", [(where, pattern, reason)])


@pytest.mark.parametrize("text", ["host x seen", "host\tx", "moon\tx\tseen", "host\t(\tseen", "host\tx\t "])
def test_a_wrong_line_in_the_list_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"benign.txt:2"):
        parse(f"# comment\n{text}\n")
