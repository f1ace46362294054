"""What a disk holds after the guest.

Claim: the bench host's reading tells what is in each slot, also where a cache had hidden it from the guest.
"""

import errno
import os
from collections.abc import Iterator
from mmap import mmap
from pathlib import Path

import pytest

from lab.agents.direct import DirectFile
from lab.agents.rpc import AgentError
from lab.agents.slots import Slots
from lab.checkers.medium import MediumIntact
from lab.columns import MEDIUM
from lab.verdict import Outcome

from .block_bench import BYTES, SEED, SLOT, SLOTS, Bench, flip


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.undo.close()


def test_the_medium_holds_what_the_guest_was_told(bench: Bench) -> None:
    bench.run()
    told = bench.read_medium()
    bench.finished()
    written = bench.table("write.received")["seq"]
    medium = bench.table("medium")
    assert {name: column.dtype.str for name, column in medium.items()} == MEDIUM
    last = [max(int(seq) for seq in written if seq % SLOTS == slot) for slot in range(SLOTS)]
    assert medium["slot"].tolist() == list(range(SLOTS))
    assert medium["seq"].tolist() == last
    assert medium["good"].all()
    assert told | {"direct": True} == {
        "load": "nvme",
        "path": str(bench.disk),
        "slots": SLOTS,
        "used": SLOTS,
        "read": SLOTS,
        "empty": 0,
        "anomalies": {},
        "direct": True,
    }


def test_what_is_wrong_on_the_medium_is_told_slot_by_slot(bench: Bench) -> None:
    bench.run()
    slots = Slots(SEED, BYTES, SLOTS)
    flip(bench.disk, 3 * BYTES + 99)
    with bench.disk.open("r+b") as file:
        for slot, content in {5: slots.block(6, 1), 7: bytes(BYTES), 9: b"x" * BYTES}.items():
            file.seek(slot * BYTES)
            file.write(content)
    told = bench.read_medium()
    timeline = bench.finished()
    medium = bench.table("medium")
    assert medium["slot"][medium["good"] == 0].tolist() == [3, 5, 7, 9]
    assert (told["empty"], told["anomalies"]) == (1, {"damaged": 1, "misplaced": 1, "foreign": 1})
    seen = {e.data["detail"]["slot"]: e.data["what"] for e in timeline.of("load.anomaly", stream="medium")}
    assert seen == {3: "damaged", 5: "misplaced", 9: "foreign"}


def test_only_slots_that_were_used_are_read(bench: Bench) -> None:
    bench.run()
    assert bench.read_medium(used=5)["read"] == 5
    assert bench.read_medium(used=10 * SLOTS)["read"] == SLOTS


def test_a_slot_that_cannot_be_read_has_no_row(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run()
    whole = DirectFile.read

    def read_all_but_one(self: DirectFile, into: mmap, at: int) -> int:
        if at <= SLOT * BYTES < at + len(into):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return whole(self, into, at)

    monkeypatch.setattr(DirectFile, "read", read_all_but_one)
    told = bench.read_medium()
    bench.finished()
    assert (told["read"], told["anomalies"]) == (SLOTS - 1, {"error": 1})
    assert bench.table("medium")["slot"].tolist() == [slot for slot in range(SLOTS) if slot != SLOT]
    assert bench.table("medium")["good"].all()


def test_a_read_that_brings_nothing_is_not_a_slot_of_zeros(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run()
    monkeypatch.setattr(DirectFile, "read", lambda self, into, at: len(into))
    told = bench.read_medium()
    assert (told["empty"], told["anomalies"]) == (0, {"untouched": SLOTS})


def test_no_cache_answers_where_the_file_system_lets_it_be_passed(bench: Bench) -> None:
    try:
        os.close(os.open(bench.disk, os.O_RDONLY | os.O_DIRECT))
        possible = True
    except OSError:
        possible = False
    for write in (False, True):
        file = DirectFile.opened(str(bench.disk), write=write)
        links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        (number,) = [link.name for link in links if link.exists() and link.samefile(bench.disk)]
        flags = int(Path(f"/proc/self/fdinfo/{number}").read_text().split()[3], 8)
        assert file.direct == bool(flags & os.O_DIRECT) == possible
        file.close()


def test_a_file_system_that_refuses_to_be_read_past_its_cache_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run()
    opened = os.open

    def in_memory(path: str, flags: int) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return opened(path, flags)

    monkeypatch.setattr("lab.agents.direct.os.open", in_memory)
    told = bench.read_medium()
    assert (told["direct"], told["read"]) == (False, SLOTS)


def test_a_disk_that_is_too_small_or_not_there_is_refused(bench: Bench) -> None:
    with pytest.raises(AgentError, match="do not fit"):
        bench.read_medium(slots=SLOTS + 9)
    with pytest.raises(AgentError, match="could not open"):
        bench.read_medium(path="/nowhere/disk")


@pytest.mark.parametrize("fault, outcome", [("", Outcome.PASS), ("hidden", Outcome.FAIL)])
def test_only_the_medium_shows_a_write_that_a_cache_pretends(
    bench: Bench, fault: str, outcome: Outcome
) -> None:
    with bench.load().running(bench.guest, bench.evidence, bench) as running:
        running.settle(blocks=3 * SLOTS)
        bench.evidence.record("cpr.invoke", mode="cpr-exec", update=1, argv=["qemu"])
        bench.evidence.record("cpr.ok", mode="cpr-exec", update=1, argv=["qemu"])
        if fault:
            bench.guest.call("load_fault", load="nvme", kind=fault)
        bench.open_epoch(2)
        running.settle(blocks=3 * SLOTS)
    bench.read_medium()
    timeline = bench.finished()
    # the guest itself saw nothing
    assert not timeline.of("load.anomaly")
    assert bench.table("read.received")["good"].all()
    verdict = MediumIntact("nvme")(timeline)
    assert verdict.outcome is outcome, str(verdict)
    if fault:
        assert "1 slots hold an older block than the guest was told is written" in verdict.summary
