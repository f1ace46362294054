"""replaced_in_place: truth table."""

from pathlib import Path
from typing import Any

import pytest

from lab.checkers import replaced_in_place

from .spoilers import exit_at, refused
from .story import Story
from .truth import FAIL, PASS, UNKNOWN, hold, row

AFTER_1 = {"when": "after", "update": 1}


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
        "held no descriptor of /dev/vfio",
        lambda s: s.change("host.process", fds=[[0, "/dev/null", 1]]),
    ),
    row("no exec traced, but new QEMU greets", PASS, "runs QEMU", lambda s: s.drop("trace.event")),
    row("no greeting, but the exec was traced", PASS, "runs QEMU", lambda s: s.drop("qmp.connected")),
    row("neither", UNKNOWN, "neither an exec nor a greeting", no_proof),
    row(
        "something else was traced",
        UNKNOWN,
        "neither",
        lambda s: s.change("trace.event", name="iommu:map").drop("qmp.connected"),
    ),
    row(
        "the exec of nobody knows whom",
        UNKNOWN,
        "neither",
        lambda s: s.change("trace.event", fields={}).drop("qmp.connected"),
    ),
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
