"""The NIC load, with both real agents as local processes and datagrams for the wire.

Claim: what the load records is what happened on the wire: a clean wire gives two complete tables,
each fault planted on it is seen for what it is, and losing the guest is evidence, not an exception.
"""

import io
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, cast

import numpy as np
import pytest

from lab.agents import traffic
from lab.agents.frames import FrameReader
from lab.agents.loop import Loop
from lab.agents.pattern import Pattern
from lab.agents.rpc import Wire
from lab.columns import read
from lab.evidence import Evidence
from lab.guest_link import GuestLink
from lab.link import AgentLink, AgentRefusal
from lab.loads.nic import LoopLoad, NicLoad
from lab.loads.running import Running
from lab.streams import streams
from lab.timeline import Timeline

ROOT = Path(__file__).parents[2]
TABLES = [f"nic.{stream}.{end}" for stream in ("to-guest", "from-guest") for end in ("sent", "received")]


@dataclass
class Bench:
    """Both agents, joined by a wire; the guest's port is a unix socket it connects to."""

    folder: Path
    number: int = 1
    wire: str = "unix:{0}/nic:{0}/far"
    undo: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.evidence = Evidence(self.folder / "case")
        os.mkfifo(self.folder / "kmsg")
        self.undo.callback(self.evidence.conclude)
        far = self._process("farend", "--wire", f"unix:{self.folder}/far:{self.folder}/nic")
        reader, writer = cast(BinaryIO, far.stdout), cast(BinaryIO, far.stdin)
        self.far = AgentLink("far end", reader, writer, self.evidence)
        self.undo.callback(self.far.close)
        listener = self.undo.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(f"{self.folder}/port")
        listener.listen()
        listener.settimeout(1)
        self.guest_process = self._process(
            "guest",
            *("--port", f"unix:{self.folder}/port"),
            *("--nic", self.wire.format(self.folder)),
            *("--kmsg", f"{self.folder}/kmsg"),
        )
        self.connections: list[socket.socket] = []

        def connect() -> socket.socket:
            self.connections.append(listener.accept()[0])
            return self.connections[-1]

        self.guest = GuestLink(connect, self.evidence)
        self.undo.callback(self.guest.close)
        self.guest.call("hello")
        self.far.call("hello")

    def _process(self, agent: str, *arguments: str) -> "subprocess.Popen[bytes]":
        argv = [sys.executable, "-m", f"lab.agents.{agent}", *arguments]
        process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.undo.callback(process.wait)
        self.undo.callback(process.kill)
        return process

    def open_epoch(self, number: int) -> None:
        self.number = number
        self.guest.call("epoch", number=number)
        self.far.call("epoch", number=number)

    def break_link(self) -> None:
        """As an update does: the connection ends, and the port is there again."""
        self.connections[-1].shutdown(socket.SHUT_RDWR)

    def finished(self) -> Timeline:
        self.undo.close()
        return Timeline.load(self.folder / "case" / "timeline.jsonl")

    def table(self, name: str) -> dict[str, Any]:
        table = read(self.folder / "case" / "columns", name)
        assert table is not None, f"no table {name}"
        return table

    def running(self) -> Any:
        return NicLoad(self.far, rate_hz=500.0, seed=3).running(self.guest, self.evidence, self)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.undo.close()


def seqs(bench: Bench, stream: str, end: str) -> list[int]:
    numbers: list[int] = bench.table(f"nic.{stream}.{end}")["seq"].tolist()
    return numbers


def test_clean_wire_loses_nothing_though_the_link_breaks(bench: Bench) -> None:
    load: Running
    with bench.running() as load:
        load.settle(blocks=200)
        bench.break_link()
        bench.open_epoch(2)
        load.settle(blocks=200)
    timeline = bench.finished()
    settled = [(e.data["stream"], e.data["epoch"]) for e in timeline.of("load.settled")]
    assert settled == [("to-guest", 1), ("from-guest", 1), ("to-guest", 2), ("from-guest", 2)]
    stop = timeline.of("load.stop")[0].data
    assert stop["drained"]
    for stream in ("to-guest", "from-guest"):
        sent, received = seqs(bench, stream, "sent"), seqs(bench, stream, "received")
        assert sent == received == list(range(len(sent)))
        assert stop["totals"][stream]["blocks"] == stop["totals"][stream]["received"] == len(sent)
        assert set(np.unique(bench.table(f"nic.{stream}.received")["epoch"]).tolist()) == {1, 2}
    assert not timeline.of("load.anomaly")
    start = timeline.of("load.start")[0].data
    assert (start["rate_hz"], start["ring_blocks"], start["kind"]) == (500.0, 4096, "nic")
    assert [str(stream) for stream in streams(timeline)] == ["nic.to-guest", "nic.from-guest"]
    assert [(s.sender, s.receiver) for s in streams(timeline)] == [("far", "guest"), ("guest", "far")]


@dataclass(frozen=True)
class Seen:
    """What a fault on the wire, planted once, must look like."""

    direction: str = "to-guest"
    missing: int = 0
    repeated: int = 0
    late: int = 0
    wrong: int = 0
    what: str = ""


FAULTS = {
    "drop": Seen(missing=1),
    "duplicate": Seen(repeated=1),
    "flip": Seen(wrong=1, what="damaged"),
    "reorder": Seen(late=1),
    "stale": Seen(wrong=1, what="damaged"),
    "drop from-guest": Seen("from-guest", missing=1),
    "flip from-guest": Seen("from-guest", wrong=1, what="damaged"),
}


@pytest.mark.parametrize(("fault", "seen"), FAULTS.items(), ids=FAULTS.keys())
def test_planted_fault_is_seen_as_what_it_is(bench: Bench, fault: str, seen: Seen) -> None:
    load: Running
    with bench.running() as load:
        load.settle(blocks=50)
        bench.far.call("fault", kind=fault.split()[0], count=1, direction=seen.direction)
        bench.open_epoch(2)
        load.settle(blocks=100)
    timeline = bench.finished()
    assert len(timeline.of("load.settled")) == 4
    assert timeline.of("load.stop")[0].data["drained"]
    for stream in ("to-guest", "from-guest"):
        expected = seen if stream == seen.direction else Seen()
        sent, received = seqs(bench, stream, "sent"), seqs(bench, stream, "received")
        assert sent == list(range(len(sent)))
        assert len(set(sent) - set(received)) == expected.missing
        assert len(received) - len(set(received)) == expected.repeated
        assert int((np.diff(received) < 0).sum()) == expected.late
        good = bench.table(f"nic.{stream}.received")["good"]
        assert int((good == 0).sum()) == expected.wrong
    assert [e.data["what"] for e in timeline.of("load.anomaly")] == [seen.what] * bool(seen.what)
    assert timeline.of("fault.planted")


def test_losing_the_guest_is_evidence(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.loads.running.REACH_TIMEOUT_S", 1.0)
    load: Running
    with bench.running() as load:
        load.settle(blocks=50)
        bench.guest_process.kill()
        bench.far.call("epoch", number=2)
        bench.number = 2
        load.settle(blocks=50, timeout_s=0.5)
    timeline = bench.finished()
    lost = timeline.of("load.unreachable", epoch=2)
    assert [e.data["stream"] for e in lost] == ["to-guest", "from-guest"]
    assert "did not answer 'clock'" in lost[0].data["reason"]
    assert timeline.of("load.stop")[0].data["drained"] is False
    assert timeline.of("load.wire", up=False)


def test_a_stream_that_stops_is_stalled_not_out_of_reach(bench: Bench) -> None:
    load: Running
    with bench.running() as load:
        load.settle(blocks=50)
        bench.far.call("stop_sending")
        bench.open_epoch(2)
        load.settle(blocks=50, timeout_s=1.0)
    timeline = bench.finished()
    assert [e.data["stream"] for e in timeline.of("load.stalled")] == ["to-guest"]
    assert [e.data["stream"] for e in timeline.of("load.settled", epoch=2)] == ["from-guest"]
    assert not timeline.of("load.unreachable")


def test_a_load_whose_blocks_keep_coming_is_behind_and_not_stalled(bench: Bench) -> None:
    load: Running
    with bench.running() as load:
        load.settle(blocks=100_000, timeout_s=0.5)
    timeline = bench.finished()
    assert [e.data["stream"] for e in timeline.of("load.behind")] == ["to-guest", "from-guest"]
    assert not timeline.of("load.stalled")


class Backlog:
    """A socket that holds so many frames."""

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.fileno, self._other = os.pipe()

    def recv(self, size: int) -> bytes:
        if not self.frames:
            raise BlockingIOError
        self.frames -= 1
        return bytes(64)


@pytest.mark.parametrize(("patience_s", "unread"), [(10.0, False), (0.0, True)])
def test_what_the_socket_still_holds_is_taken_at_the_end(
    patience_s: float, unread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "BACKLOG_S", patience_s)
    loop, backlog = Loop(), Backlog(5000)
    channel: Any = SimpleNamespace(recv=backlog.recv, fileno=lambda: backlog.fileno)
    out = Wire(io.BytesIO())
    sink = traffic.FrameSink(loop, channel, out, "nic", "to-guest", FrameReader("to-guest", Pattern(1), 768))
    sink.close()
    assert (sink.unread, bool(backlog.frames)) == (unread, unread)
    assert sink.foreign == 5000 - backlog.frames


def test_a_device_that_gives_back_what_it_gets_has_one_stream(tmp_path: Path) -> None:
    bench = Bench(tmp_path, wire="unix:{0}/nic:{0}/nic")
    try:
        with LoopLoad(rate_hz=200.0, seed=3).running(bench.guest, bench.evidence, bench) as load:
            load.settle(blocks=50)
            assert load.passed()["loop"] >= 50
        timeline = bench.finished()
    finally:
        bench.undo.close()
    assert timeline.of("load.settled", stream="loop")
    stop = timeline.of("load.stop")[0].data
    sent, received = (bench.table(f"loop.loop.{end}")["seq"].tolist() for end in ("sent", "received"))
    assert sent == received == list(range(stop["totals"]["loop"]["blocks"]))
    assert stop["drained"] and stop["totals"]["loop"]["received"] == len(sent)


def test_loads_of_one_guest_have_names(bench: Bench) -> None:
    with pytest.raises(AgentRefusal, match="no load 'nic2' runs in this guest; running: none"):
        bench.guest.call("load_counters", load="nic2")
    with pytest.raises(AgentRefusal, match="there is no load of kind 'floppy'; there are nic, "):
        bench.guest.call("load_start", load="a", kind="floppy", settings={})


def test_heartbeat_tells_of_epoch_memory_and_gaps(bench: Bench) -> None:
    bench.guest.call("heartbeat_start", period_ms=50)
    bench.open_epoch(2)
    with bench.running() as load:
        load.settle(blocks=200)
    timeline = bench.finished()
    beats = [e.data for e in timeline.of("guest.heartbeat")]
    assert [beat["beat"] for beat in beats] == list(range(1, len(beats) + 1))
    assert all(beat["memory_intact"] and beat["longest_gap_ns"] > 0 for beat in beats)
    assert beats[-1]["epoch"] == 2
    assert timeline.of("guest.booted")[0].data["boot_id"] == beats[0]["boot_id"]
