"""Faults planted below the block load.

Claim: each is seen for what it is, once, and a request that never comes back costs its slot and no more.
"""

import errno
import os
import threading
import time
from mmap import mmap
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lab.agents.direct import DirectFile
from lab.agents.rpc import AgentError
from lab.checkers.account import account
from lab.link import AgentRefusal

from .block_bench import BYTES, SLOT, SLOTS, STREAMS, Bench, Fault, Request, flip, opener_with


class Flipped(Fault):
    """A byte on the medium turns over between the write and the read."""

    def write(self, request: Request, data: mmap, at: int) -> int:
        count = request(data, at)
        if self.hits(data, at):
            flip(self.disk, at + 1234)
        return count


class Lost(Fault):
    """A write is acknowledged and never done."""

    def write(self, request: Request, data: mmap, at: int) -> int:
        return len(data) if self.hits(data, at) else request(data, at)


class Torn(Fault):
    """Of a write that is acknowledged, half is done."""

    def write(self, request: Request, data: mmap, at: int) -> int:
        if not self.hits(data, at):
            return request(data, at)
        with self.disk.open("r+b") as file:
            file.seek(at)
            file.write(data[: BYTES // 2])
        return len(data)


class Elsewhere(Fault):
    """The block of another slot comes."""

    def read(self, request: Request, into: mmap, at: int) -> int:
        return request(into, 0 if self.hits(into, at) else at)


class Untouched(Fault):
    """A read is acknowledged, and no DMA came."""

    def read(self, request: Request, into: mmap, at: int) -> int:
        return len(into) if self.hits(into, at) else request(into, at)


class HalfCame(Fault):
    """A read is acknowledged, and half of the DMA came."""

    def read(self, request: Request, into: mmap, at: int) -> int:
        behind = into[BYTES // 2 :]
        count = request(into, at)
        if self.hits(into, at):
            into[BYTES // 2 :] = behind
        return count


class ShortRead(Fault):
    def read(self, request: Request, into: mmap, at: int) -> int:
        return request(into, at) - 512 * self.hits(into, at)


class ShortWrite(Fault):
    def write(self, request: Request, data: mmap, at: int) -> int:
        return request(data, at) - 512 * self.hits(data, at)


class ReadError(Fault):
    def read(self, request: Request, into: mmap, at: int) -> int:
        if self.hits(into, at):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return request(into, at)


class WriteError(Fault):
    def write(self, request: Request, data: mmap, at: int) -> int:
        if self.hits(data, at):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return request(data, at)


BLOCK = SLOT + SLOTS
"""The block that is in the slot when a fault of round 1 strikes."""
FAULTS: list[tuple[type[Fault], int, str, str, dict[str, Any]]] = [
    (Flipped, 1, "read", "damaged", {"first_wrong_byte": 1234, "wrong_bytes": 1}),
    (Lost, 1, "read", "stale", {"found_block": SLOT}),
    (Lost, 0, "read", "empty", {}),
    (Torn, 1, "read", "torn", {"content_of_seq": SLOT}),
    (Untouched, 1, "read", "untouched", {}),
    (HalfCame, 1, "read", "damaged", {"untouched_sectors": 4}),
    (Elsewhere, 1, "read", "misplaced", {"of_slot": 0}),
    (ShortRead, 1, "read", "short", {"bytes": BYTES - 512, "wanted": BYTES}),
    (ShortWrite, 1, "write", "short", {"bytes": BYTES - 512, "wanted": BYTES}),
    (ReadError, 1, "read", "error", {"errno": errno.EIO, "error": "Input/output error"}),
    (WriteError, 1, "write", "error", {"errno": errno.EIO, "error": "Input/output error"}),
]


@pytest.mark.parametrize(
    "kind, round_number, stream, what, detail", FAULTS, ids=[f"{f[0].__name__} {f[1]}" for f in FAULTS]
)
def test_a_planted_fault_is_seen_as_what_it_is(
    tmp_path: Path, kind: type[Fault], round_number: int, stream: str, what: str, detail: dict[str, Any]
) -> None:
    fault = kind(tmp_path / "disk", round_number)
    bench = Bench(tmp_path, opener_with(fault)).run()
    timeline = bench.finished()
    assert fault.done.is_set()
    (anomaly,) = timeline.of("load.anomaly")
    told = anomaly.data
    assert (told["load"], told["stream"], told["what"]) == ("nvme", stream, what)
    assert detail | {"slot": SLOT} == {key: told["detail"].get(key) for key in [*detail, "slot"]}
    received = bench.table(f"{stream}.received")
    assert received["seq"][received["good"] == 0].tolist() == [told["seq"]]
    block = SLOT + round_number * SLOTS
    assert (told["seq"] if stream == "write" else told["detail"]["block"]) == block
    other = next(s for s in STREAMS if s != stream)
    assert bench.table(f"{other}.received")["good"].all()
    # a failed write is not read back
    reads, writes = (len(bench.table(f"{s}.received")["seq"]) for s in ("read", "write"))
    assert writes - reads == (stream == "write")
    assert timeline.of("load.stop")[0].data["totals"][stream]["anomalies"] == {what: 1}
    assert timeline.of("load.stop")[0].data["drained"]


PLANTED = {"flip": "damaged", "torn": "torn", "stale": "stale"}


@pytest.mark.parametrize("kind, what", PLANTED.items(), ids=PLANTED)
def test_a_fault_can_be_planted_in_the_guest(tmp_path: Path, kind: str, what: str) -> None:
    bench = Bench(tmp_path)
    with bench.load().running(bench.guest, bench.evidence, bench) as running:
        running.settle(blocks=2 * SLOTS)
        bench.guest.call("load_fault", load="nvme", kind=kind)
        bench.open_epoch(2)
        running.settle(blocks=2 * SLOTS)
    timeline = bench.finished()
    assert [e.data["fault"] for e in timeline.of("fault.planted")] == [f"disk.{kind}"]
    (anomaly,) = timeline.of("load.anomaly")
    assert (anomaly.data["stream"], anomaly.data["what"]) == ("read", what)
    assert bench.table("write.received")["good"].all()


def test_a_request_can_be_kept_from_coming_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.agents.guest.block_work.GIVE_UP_S", 0.3)
    bench = Bench(tmp_path)
    with bench.load().running(bench.guest, bench.evidence, bench) as running:
        running.settle(blocks=2 * SLOTS)
        bench.guest.call("load_fault", load="nvme", kind="drop")
        bench.open_epoch(2)
        running.settle(blocks=2 * SLOTS)
    timeline = bench.finished()
    lost = account(bench.table("write.sent")["seq"], bench.table("write.received")["seq"]).lost
    assert (lost, timeline.of("load.anomaly")) == (1, [])


def test_an_unknown_fault_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with pytest.raises(AgentError, match="does not run"):
        bench.guest.block.fault("flip")
    with (
        bench.load().running(bench.guest, bench.evidence, bench),
        pytest.raises(AgentRefusal, match="no fault 'magic' of a disk: there are flip, torn"),
    ):
        bench.guest.call("load_fault", load="nvme", kind="magic")
    assert not bench.finished().of("fault.planted")


class Hanging(Fault):
    """A write that comes back, with an error, only when it is given up."""

    def __init__(self, disk: Path) -> None:
        super().__init__(disk)
        self.released, self.let_go = threading.Event(), threading.Event()
        self.read_late = False

    def write(self, request: Request, data: mmap, at: int) -> int:
        if not self.hits(data, at):
            return request(data, at)
        self.released.wait()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def read(self, request: Request, into: mmap, at: int) -> int:
        self.read_late |= self.released.is_set()
        return request(into, at)


@pytest.mark.parametrize("late", ["error", "success"])
def test_a_request_that_hangs_costs_its_slot_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    monkeypatch.setattr("lab.agents.guest.block_work.GIVE_UP_S", 0.3)
    fault = Hanging(tmp_path / "disk")

    class HangingFile(opener_with(fault)):  # type: ignore[misc]
        def write(self, data: mmap, at: int) -> int:
            try:
                return int(super().write(data, at))
            except OSError:
                if late == "error":
                    raise
                return len(data)

        def close(self) -> None:
            super().close()
            if fault.released.is_set():
                fault.let_go.set()

    bench, start_s = Bench(tmp_path, HangingFile), time.monotonic()
    bench.run(blocks=6 * SLOTS)
    assert time.monotonic() - start_s < 7, "the controller gives up after 10 s"
    fault.released.set()
    assert fault.let_go.wait(10)
    assert not fault.read_late
    timeline = bench.finished()
    sent, received = bench.table("write.sent")["seq"], bench.table("write.received")["seq"]
    result = account(sent, received)
    assert (result.lost, result.lost_head) == (1, (BLOCK,))
    # the slot was never written again; all others were
    assert sent[sent % SLOTS == SLOT].tolist() == [SLOT, BLOCK]
    assert account(bench.table("read.sent")["seq"], bench.table("read.received")["seq"]).lost == 0
    totals = timeline.of("load.stop")[0].data["totals"]
    assert (totals["write"]["under_way"], totals["read"]["under_way"]) == (1, 0)
    # what came after it was given up is not told: nobody waits for it any more
    assert not timeline.of("load.anomaly")


class FlushFails(DirectFile):
    def flush(self) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


class FlushHangs(DirectFile):
    released: ClassVar[threading.Event]

    def flush(self) -> None:
        self.released.wait()


@pytest.mark.parametrize(
    "opener, error", [(FlushFails, "Input/output error"), (FlushHangs, "no answer within 0.3 s")]
)
def test_a_flush_that_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opener: type[DirectFile], error: str
) -> None:
    monkeypatch.setattr("lab.agents.guest.block_work.GIVE_UP_S", 0.3)
    monkeypatch.setattr(FlushHangs, "released", released := threading.Event(), raising=False)
    timeline = Bench(tmp_path, opener).run().finished()
    released.set()
    (anomaly,) = timeline.of("load.anomaly", stream="write", what="error")
    assert (anomaly.data["detail"]["call"], anomaly.data["detail"]["error"]) == ("flush", error)
