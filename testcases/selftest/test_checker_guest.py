"""same_guest, replaced_in_place, update_completed, guest_pause_below: truth tables."""

from pathlib import Path
from typing import Any

import pytest

from lab.checkers import guest_pause_below, replaced_in_place, same_guest, update_completed

from .timelines import INVOKE, OK, RESUME, STOP, Story, at, far_ns
from .truth import FAIL, PASS, UNKNOWN, hold, row

AFTER_1 = {"when": "after", "update": 1}


def refused(story: Story) -> None:
    story.drop("cpr.ok").add(OK, "cpr.fail", mode="cpr-exec", update=1, reason="no")


def beat(number: int, **data: Any) -> Any:
    return lambda s: s.change("guest.heartbeat", {"beat": number}, **data)


def exit_at(ms: float, **data: Any) -> Any:
    return lambda s: s.drop("host.exit").add(ms, "host.exit", name="qemu", pid=157, **data)


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
    row("QEMU ends by itself under load", FAIL, "status 0", exit_at(3000, status=0, signal=None)),
    row("QEMU crashes when it is stopped", FAIL, "SIGABRT", exit_at(3800, status=None, signal="SIGABRT")),
    row("QEMU fails to leave cleanly at the end", PASS, "after", exit_at(3800, status=1, signal=None)),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", GUEST)
def test_same_guest(tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(same_guest, tmp_path, spoil, updates, outcome, says)


def process(**data: Any) -> Any:
    return lambda s: s.change("host.process", AFTER_1, **data)


def fds(without: str = "", more: tuple[str, ...] = (), update: int = 1) -> Any:
    def spoil(story: Story) -> None:
        where = {"when": "after", "update": update}
        seen = next(d for _, kind, d in story.events if kind == "host.process")["fds"]
        links = [fd for fd in seen if fd[1] != without] + [[90 + n, link, 9] for n, link in enumerate(more)]
        story.change("host.process", where, fds=links)

    return spoil


def no_proof(story: Story) -> None:
    story.drop("trace.event").drop("qmp.connected")


PROCESS = [
    row(
        "replaced",
        PASS,
        "^PID 157 runs QEMU emulator version 11.1.3 since update 1; 8 descriptors at first, 8 at",
    ),
    row("two updates", PASS, "since update 2", updates=2),
    row("another PID", FAIL, "PID was 157 and is 158", process(pid=158)),
    row("another start time", FAIL, "start time was 2291 and is 9999", process(start_ticks=9999)),
    row("another version", FAIL, "version 9 runs after update 1, not QEMU", process(version="version 9")),
    row("the version is not known", PASS, "runs /usr/bin/qemu since", process(version=None)),
    row("the wanted version is not known", PASS, "runs QEMU", lambda s: s.drop("versions")),
    row("the iommufd is lost", FAIL, "lost at update 1: 1 /dev/iommu", fds("/dev/iommu")),
    row("the VFIO device is lost", FAIL, "lost at update 1: 1 /dev/vfio", fds("/dev/vfio/devices/vfio0")),
    row("KVM is lost", FAIL, "1 /dev/kvm", fds("/dev/kvm")),
    row("the VM is lost", FAIL, "1 anon_inode:kvm-vm", fds("anon_inode:kvm-vm")),
    row("an eventfd less", PASS, "8 descriptors at first, 6 at last", fds("anon_inode:[eventfd]")),
    row("one lost, another leaked", FAIL, "lost.*1 /dev/iommu", fds("/dev/iommu", ("socket:[9]",))),
    row(
        "a descriptor leaks",
        FAIL,
        "^1 descriptors more .*: 1 anon_inode:.eventfd",
        fds(more=("anon_inode:[eventfd]",)),
    ),
    row("a socket by another number", PASS, "8 at last", fds("socket:[812]", ("socket:[977]",))),
    row(
        "a leak at the first update, gone at the second",
        PASS,
        "8 at last",
        fds(more=("pipe:[3]",)),
        updates=2,
    ),
    row(
        "a leak at the second update",
        FAIL,
        "1 descriptors more",
        fds(more=("pipe:[3]",), update=2),
        updates=2,
    ),
    row(
        "no VFIO descriptor to begin with",
        UNKNOWN,
        "held no VFIO",
        lambda s: s.change("host.process", fds=[[0, "/dev/null", 1]]),
    ),
    row("no exec traced, but new QEMU greets", PASS, "runs QEMU", lambda s: s.drop("trace.event")),
    row("no greeting, but the exec was traced", PASS, "runs QEMU", lambda s: s.drop("qmp.connected")),
    row("neither", UNKNOWN, "neither an exec nor a greeting", no_proof),
    row(
        "the exec of another process",
        UNKNOWN,
        "neither",
        lambda s: s.change("trace.event", fields={"pid": "158"}).drop("qmp.connected"),
    ),
    row(
        "old QEMU greets",
        UNKNOWN,
        "neither",
        lambda s: s.drop("trace.event").change("qmp.connected", side="old"),
    ),
    row(
        "the exec was before the update",
        UNKNOWN,
        "neither",
        lambda s: s.drop("qmp.connected").move("trace.event", 970),
    ),
    row("QEMU crashes", FAIL, "SIGSEGV", exit_at(1300, status=None, signal="SIGSEGV")),
    row("no process after", UNKNOWN, "after update 1", lambda s: s.drop("host.process", when="after")),
    row("no process before", UNKNOWN, "before update 1", lambda s: s.drop("host.process", when="before")),
    row(
        "blind",
        UNKNOWN,
        "process went blind: there is no process 157",
        lambda s: s.add(2600, "witness.blind", witness="process", reason="there is no process 157"),
    ),
    row("refused", UNKNOWN, "refused", refused),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", PROCESS)
def test_replaced_in_place(tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(replaced_in_place(), tmp_path, spoil, updates, outcome, says)


@pytest.mark.parametrize(
    "seen, exe, outcome",
    [
        ("/usr/bin/qemu", "/usr/bin/qemu", PASS),
        ("/usr/bin/qemu (deleted)", "/usr/bin/qemu", PASS),
        ("/usr/bin/qemu", "/opt/qemu", FAIL),
    ],
)
def test_the_program_is_the_one_asked_for(tmp_path: Path, seen: str, exe: str, outcome: Any) -> None:
    hold(replaced_in_place(exe=exe), tmp_path, (process(exe=seen),), 1, outcome, "since|not /opt/qemu")


def test_some_growth_may_be_allowed(tmp_path: Path) -> None:
    hold(replaced_in_place(growth=1), tmp_path, (fds(more=("pipe:[3]",)),), 1, PASS, "9 at last")
    story = (fds(more=("pipe:[3]", "pipe:[4]")),)
    hold(replaced_in_place(growth=1), tmp_path / "b", story, 1, FAIL, "2 descriptors more .*: 2 pipe:")


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
    row("the recording ends in it", UNKNOWN, "recording ends in it", lambda s: s.drop("cpr.ok")),
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
        "the far end sent nothing either",
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
