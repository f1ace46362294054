"""RAM that stays where it is: truth tables of ram_not_saved and ram_outlives_kexec; PIDs after a boot."""

from pathlib import Path
from typing import Any

import pytest

from lab.checkers import ram_not_saved, ram_outlives_kexec, same_guest
from lab.verdict import Outcome

from .spoilers import refused
from .story import Story
from .timelines import OK
from .truth import FAIL, PASS, UNKNOWN, hold, row

MIB = 1 << 20


def saved(bytes_: int) -> Any:
    return lambda s: s.add(1100, "guest.saved", update=1, bytes=bytes_)


NOT_SAVED = [
    row("devices alone", PASS, "^78 KiB were saved in update 1$", saved(80_000)),
    row("all of it", FAIL, "KiB were saved in update 1: the guest's RAM too", saved(60 * MIB)),
    row("at the limit", FAIL, "RAM too", saved(4 * MIB)),
    row("an empty file", UNKNOWN, "nothing was saved", saved(0)),
    row("nobody looked", UNKNOWN, "nobody looked"),
    row("refused", UNKNOWN, "did not complete", saved(80_000), refused),
]


@pytest.mark.parametrize(("spoil", "outcome", "says", "updates"), NOT_SAVED)
def test_ram_not_saved(tmp_path: Path, spoil: Any, outcome: Outcome, says: str, updates: int) -> None:
    hold(ram_not_saved(), tmp_path, spoil, updates, outcome, says)


def kexec(story: Story) -> None:
    """The host boots anew in update 1, and 256 MiB of the guest's RAM are there before and after."""
    content = {"update": 1, "bytes": 256 * MIB, "piece_bytes": 2 * MIB, "pieces": [7] * 100 + [8] * 28}
    story.add(1200, "host.kept", when="before", boot_id="h-1", **content)
    story.add(1300, "host.booted", boot_id="h-2", before="h-1", command_line="kho=on")
    story.add(1400, "host.kept", when="after", boot_id="h-2", **content)


def after(**data: Any) -> Any:
    return lambda s: s.change("host.kept", {"when": "after"}, **data)


OUTLIVES = [
    row("it stayed", PASS, "^256 MiB of RAM are as they were in 128 pieces, 2 of them different", kexec),
    row("no boot", FAIL, "did not boot in update 1", kexec, lambda s: s.drop("host.booted")),
    row("no boot at all", FAIL, "did not boot in update 1"),
    row("booted after it", FAIL, "did not boot", kexec, lambda s: s.move("host.booted", OK + 50)),
    row(
        "seen in the old kernel",
        FAIL,
        "the RAM was seen in boot h-1 and in boot h-1",
        kexec,
        after(boot_id="h-1"),
    ),
    row(
        "the same boot",
        FAIL,
        "in boot h-1 and in boot h-1",
        kexec,
        after(boot_id="h-1"),
        lambda s: s.change("host.booted", {}, boot_id="h-1"),
    ),
    row(
        "a piece is another",
        FAIL,
        "^1 of 128 pieces .* changed in the kexec of update 1, the first at 2 MiB",
        kexec,
        after(pieces=[7, 9] + [7] * 98 + [8] * 28),
    ),
    row("less than before", FAIL, "bytes were kept", kexec, after(bytes=MIB, pieces=[7])),
    row("empty RAM", UNKNOWN, "all of the guest's RAM was alike", kexec, lambda s: alike(s)),
    row("nobody looked before", UNKNOWN, "at the RAM before", kexec, lambda s: drop(s, "before")),
    row("nobody looked after", UNKNOWN, "at the RAM after", kexec, lambda s: drop(s, "after")),
    row("refused", UNKNOWN, "did not complete", kexec, refused),
]


def alike(story: Story) -> None:
    story.change("host.kept", {}, pieces=[0] * 128)


def drop(story: Story, when: str) -> None:
    story.drop("host.kept", when=when)


@pytest.mark.parametrize(("spoil", "outcome", "says", "updates"), OUTLIVES)
def test_ram_outlives_kexec(tmp_path: Path, spoil: Any, outcome: Outcome, says: str, updates: int) -> None:
    hold(ram_outlives_kexec(), tmp_path, spoil, updates, outcome, says)


def old_left(story: Story) -> None:
    """PID 157 left the guest, before the one that ends with an error."""
    story.add(1050, "qemu.left", pid=157, update=1)
    story.change("host.exit", {"pid": 157}, status=1)
    story.move("host.exit", OK + 100)


REUSED = [
    row("its own end", PASS, "beat", old_left),
    row(
        "another of the same PID, since the host booted",
        FAIL,
        "QEMU ended with status 1: the guest is lost",
        old_left,
        kexec,
    ),
]


@pytest.mark.parametrize(("spoil", "outcome", "says", "updates"), REUSED)
def test_a_pid_is_another_process_after_a_boot(
    tmp_path: Path, spoil: Any, outcome: Outcome, says: str, updates: int
) -> None:
    hold(same_guest(), tmp_path, spoil, updates, outcome, says)
