"""What befalls the lab itself, planted: the fault is what it says, and the lab notices."""

import os
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from lab.agents.faults import FaultyWire
from lab.agents.host.kmsg import KmsgWatch
from lab.agents.loop import Loop
from lab.agents.mishaps import freeze
from lab.agents.numbered import NumberedStream
from lab.agents.rpc import Wire
from lab.drivers.agent import HostAgent
from lab.errors import BenchError
from lab.evidence import Evidence
from lab.guest_link import GuestLink
from lab.link import AgentRefusal
from lab.timeline import Timeline
from lab.waiting import wait_until

from .host_agent_fakes import LocalConnection
from .test_host_agent_session import Collected
from .test_numbered import drained, run_ends


class Told:
    """What was sent on a wire."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def event(self, kind: str, **data: Any) -> None:
        self.events.append((kind, data))


@pytest.fixture
def seen() -> Collected:
    return Collected()


@pytest.fixture
def agent(tmp_path: Path, seen: Collected) -> Iterator[HostAgent]:
    options = ["--state", str(tmp_path / "state")]
    with HostAgent(LocalConnection(tmp_path), seen, options=options) as agent:
        yield agent


# -- a full disk


def fill_disk(evidence: Evidence) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, evidence.recorder.fileno())
    os.close(full)


def test_evidence_that_cannot_be_written_breaks_the_case_and_no_thread(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path / "case")
    evidence.record("case")
    evidence.require_whole()
    fill_disk(evidence)
    evidence.event("log", {"where": "host", "level": 6, "text": "x"})  # as a link's thread does
    evidence.record("later")
    evidence.conclude()
    with pytest.raises(BenchError, match="of this case could not be written: No space left on device; make"):
        evidence.require_whole()
    assert [event.kind for event in Timeline.load(evidence.recorder.path).events] == ["case"]


def test_so_does_a_table_that_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    evidence = Evidence(tmp_path / "case")
    evidence.rows("nic.sent", {"seq": np.array([1])})
    monkeypatch.setattr("lab.columns._Column.append", lambda *_: os.write(os.open("/dev/full", 1), b"x"))
    evidence.rows("nic.sent", {"seq": np.array([2])})
    with pytest.raises(BenchError, match="No space left"):
        evidence.require_whole()


# -- witnesses that die without a word


class Log(KmsgWatch):
    """The kernel's log as datagrams, one a record."""

    def __init__(self, wire: Any, answers: bool = True) -> None:
        ours, self.kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.setblocking(False)
        self._wire, self._fd, self._mark = wire, ours.detach(), ""
        self._marked, self._stop = threading.Event(), threading.Event()
        self._answers = answers
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _write(self, message: str) -> None:
        assert message.endswith("\n"), "the kernel would keep it back until the next one"
        if self._answers and self._thread.is_alive():
            self.kernel.send(b"7,1,1,-;" + message.removeprefix("<7>").encode())


def test_the_log_witness_reads_what_it_wrote_and_keeps_it_to_itself() -> None:
    told = Told()
    log = Log(told)
    log.kernel.send(b"4,1,1,-;a warning\n")
    log.prove_awake()
    log.stop()
    assert [data["text"] for kind, data in told.events if kind == "log"] == ["a warning"]
    assert not [kind for kind, _ in told.events if kind == "witness.blind"]


@pytest.mark.parametrize("dies", [True, False], ids=["its reader died", "the kernel takes no message"])
def test_a_log_witness_that_reads_nothing_is_blind(dies: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.agents.host.kmsg._AWAKE_S", 0.2)
    told = Told()
    log = Log(told, answers=dies)
    if dies:
        log.abandon()
    log.prove_awake()
    assert [(kind, data["witness"]) for kind, data in told.events] == [("witness.blind", "kmsg-host")]
    assert "was not read in 0.2 s" in told.events[0][1]["reason"]
    log.abandon()


ECHO = "import socket, sys\ns = socket.socket(fileno=int(sys.argv[1]))\nwhile d := s.recv(9999): s.sendall(d)"


def test_a_dead_end_of_a_stream_cannot_be_asked(agent: HostAgent) -> None:
    agent.spawn("qemu", [sys.executable, "-c", ECHO, "{fd:fd}"], sockets=["fd"])
    agent.stream_open("fd", "fd", rate_hz=200)
    assert agent.stream_report("fd", upto=3)["received"]["received"] >= 3
    agent.link.call("stream_deafen", chardev="fd")

    def refusal() -> str:
        try:
            agent.stream_report("fd", wait_s=0)
        except AgentRefusal as refusal:
            return str(refusal)
        return ""

    assert "our end of chardev fd has died" in wait_until(refusal, 5, "the end of the thread")


def test_a_process_whose_output_nobody_reads_any_more_is_told_of(
    agent: HostAgent, seen: Collected, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    # one line: a second one would end this shell by SIGPIPE, which QEMU ignores
    agent.spawn("qemu", ["sh", "-c", f"until [ -e {go} ]; do sleep 0.05; done; echo a; sleep 1000"])

    def told() -> list[Any]:
        with suppress(AgentRefusal):  # here the kernel's log is not watched
            agent.link.call("prove_awake")
        return [data for data in seen.of("witness.blind") if data["witness"] == "qemu-stderr"]

    assert not told()
    agent.link.call("mishap_blind", name="output")
    go.touch()
    blind = wait_until(told, 5, "the end of the thread")
    assert "who read the output of qemu" in blind[0]["reason"]
    assert not seen.of("log")


def test_a_watch_dies_without_a_word_and_can_be_stopped_all_the_same(agent: HostAgent) -> None:
    agent.watch_pins(os.getpid())
    agent.link.call("mishap_blind", name="pins")
    assert agent.stop_watch("pins") == {}
    with pytest.raises(AgentRefusal, match="no watch 'pins' runs"):
        agent.link.call("mishap_blind", name="pins")


# -- clocks and threads


def test_a_clock_jumps(agent: HostAgent) -> None:
    before_ns = agent.clock_ns()
    agent.link.call("mishap_clock", seconds=15)
    assert 15e9 <= agent.clock_ns() - before_ns < 25e9


def test_a_loop_freezes_once() -> None:
    loop, turns = Loop(), deque[float]()
    freeze(loop, 0.3)
    loop.every(10, lambda: turns.append(time.monotonic()))
    loop.every(900, loop.stop)
    loop.run()
    gaps = sorted(b - a for a, b in pairwise(turns))
    assert gaps[-1] >= 0.3 > gaps[-2]


# -- late, but there


class Channel:
    """A wire on which five frames lie."""

    def __init__(self) -> None:
        self.frames = deque(bytes(14) + b"CPRL" + bytes([n]) * 60 for n in range(5))

    def fileno(self) -> int:
        return -1

    def send(self, frame: bytes, /) -> int:
        return len(frame)

    def recv(self, longest: int, /) -> bytes:
        if not self.frames:
            raise BlockingIOError
        return self.frames.popleft()


def test_a_wire_that_delays_gives_all_frames_in_order_and_none_before() -> None:
    channel = Channel()
    sent = list(channel.frames)
    wire = FaultyWire(channel, cast(Wire, Told()))
    wire.plant("delay", direction="from-guest", seconds=0.2)
    with pytest.raises(BlockingIOError):
        wire.recv(2048)
    channel.frames.append(late := bytes(14) + b"CPRL" + b"\xff" * 60)
    time.sleep(0.25)
    assert [wire.recv(2048) for _ in range(6)] == [*sent, late]
    with pytest.raises(BlockingIOError):
        wire.recv(2048)


def test_a_stream_goes_on_as_a_new_one() -> None:
    a, b = NumberedStream(rate_hz=500), NumberedStream(rate_hz=500)
    stop, threads = run_ends(a, b)
    a.report(upto=10, timeout_s=5)
    drained(a, b)
    for end in (a, b):
        end.epoch = 7
        end.renew(500, held=True)
    for end in (a, b):
        end.begin()
    a.report(upto=10, timeout_s=5)
    at_a, at_b = drained(a, b)
    stop.set()
    for thread in threads:
        thread.join(5)
    for received, sent in ((cast(Any, at_a["received"]), b.sent), (cast(Any, at_b["received"]), a.sent)):
        assert received["received"] == sent >= 1 and received["last_epoch"] == 7
        assert not any(received[what] for what in ("lost", "repeated", "reordered", "damaged"))


def test_every_later_connection_of_a_guest_goes_through_what_is_asked_for() -> None:
    ends: list[socket.socket] = []

    def connect() -> socket.socket:
        ours, theirs = socket.socketpair()
        ends.append(theirs)
        return ours

    through: list[Any] = []

    def made(connection: Any) -> Any:
        through.append(connection)
        return connection

    link = GuestLink(connect, retry_s=0.01)
    wait_until(lambda: ends, 5, "the first connection")
    link.through(made)
    wait_until(lambda: len(ends) > 1 and through, 5, "the next connection")
    link.close()
