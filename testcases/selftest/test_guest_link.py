"""The guest's link loses nothing and doubles nothing, however often it breaks.

Claim: `lab/guest_link.py` with `lab/agents/guest` hands every event over once and in order, and
every request is done once, whatever part of the byte stream a break takes with it.
"""

import contextlib
import json
import os
import queue
import random
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from lab.agents.guest.port import Port
from lab.agents.guest.session import Session
from lab.agents.guest.streams import Streams
from lab.agents.journal import Journal
from lab.agents.loop import Loop
from lab.agents.numbered import NumberedStream
from lab.agents.rpc import Wire
from lab.errors import OutcomeUnknown
from lab.guest_link import GuestLink
from lab.link import AgentRefusal


class Received:
    """Keeps the numbers of "count" events."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[tuple[str, Mapping[str, Any]]] = queue.SimpleQueue()

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        self.events.put((kind, data))

    def rows(self, table: str, columns: Mapping[str, Any]) -> None:
        raise AssertionError("no rows here")

    def counted(self, upto: int) -> list[int]:
        numbers: list[int] = []
        while not numbers or numbers[-1] < upto:
            kind, data = self.events.get(timeout=20)
            if kind == "count":
                numbers.append(data["number"])
        return numbers


class FakeGuest:
    """The guest agent's link half in a thread, with a bridge that can be cut like a virtio port."""

    def __init__(self, agent: str = "one") -> None:
        self.loop, self.journal, self.done = Loop(), Journal(), 0
        self.out = Wire(self.journal)  # type: ignore[arg-type]  # it has what Wire needs
        calls: dict[str, Callable[..., Any]] = {"add": self.add, "fail": self.fail}
        self.offered: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.session = Session(self.journal, self.out, calls, agent)
        self.port = Port(self.loop, self.open, self.session, self.journal.unsent)
        self.cuts = random.Random(7)
        self.bridges: list[tuple[socket.socket, socket.socket]] = []
        self._thread = threading.Thread(target=self.loop.run)
        self._thread.start()

    def open(self) -> int | None:
        newest = None
        while not self.offered.empty():
            if newest is not None:
                os.close(newest)
            newest = self.offered.get()
        return newest

    def add(self, number: int) -> int:
        self.done += number
        return self.done

    def fail(self) -> None:
        raise ValueError("no such thing")

    def connect(self) -> socket.socket:
        """A connection whose every byte passes two pumps."""
        near, bridge_near = socket.socketpair()
        far, bridge_far = socket.socketpair()
        far.setblocking(False)
        self.bridges.append((bridge_near, bridge_far))
        self.offered.put(far.detach())
        for source, sink in ((bridge_near, bridge_far), (bridge_far, bridge_near)):
            threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()
        return near

    def cut(self) -> None:
        """Break the connection in the middle of whatever is passing."""
        for pair in self.bridges:
            _shut(pair)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(self.cuts.randrange(1, 3000)):
                sink.sendall(data)
        _shut((source, sink))

    def close(self) -> None:
        self.loop.stop()
        self._thread.join(timeout=10)


def _shut(ends: tuple[socket.socket, socket.socket]) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def guest() -> Iterator[FakeGuest]:
    fake = FakeGuest()
    yield fake
    fake.cut()
    fake.close()


def test_no_event_is_lost_or_doubled_by_twenty_breaks(guest: FakeGuest) -> None:
    received = Received()
    link = GuestLink(guest.connect, received, retry_s=0.01)
    wanted = 4000
    done = threading.Event()

    def emit() -> int:
        for number in range(1, wanted + 1):
            guest.out.event("count", number=number, filling="x" * 100)
            if number % 200 == 0:
                guest.cut()
                done.wait(0.15)
        return wanted

    thread = threading.Thread(target=emit)
    thread.start()
    numbers = received.counted(upto=wanted)
    thread.join()
    link.close()
    assert numbers == list(range(1, wanted + 1))


def test_a_request_is_done_once_however_often_it_is_sent(guest: FakeGuest) -> None:
    link = GuestLink(guest.connect, Received(), retry_s=0.01)
    stop = threading.Event()

    def cut_often() -> None:
        while not stop.wait(0.25):
            guest.cut()

    thread = threading.Thread(target=cut_often)
    thread.start()
    sums = [link.call("add", timeout_s=20, number=1) for _ in range(2000)]
    stop.set()
    thread.join()
    link.close()
    assert sums == list(range(1, 2001))


def test_a_refusal_carries_the_guest_s_words(guest: FakeGuest) -> None:
    link = GuestLink(guest.connect, Received())
    with pytest.raises(AgentRefusal, match="no such thing"):
        link.call("fail")
    link.close()


def test_a_guest_that_does_not_answer_is_evidence() -> None:
    def refuse() -> socket.socket:
        raise ConnectionRefusedError

    link = GuestLink(refuse, Received(), retry_s=0.01)
    with pytest.raises(OutcomeUnknown, match=r"did not answer 'clock' within 0.2 s \(not connected\)"):
        link.call("clock", timeout_s=0.2)
    link.close()


def test_a_guest_started_anew_is_noticed() -> None:
    first, second, received = FakeGuest("one"), FakeGuest("two"), Received()
    current = [first]
    link = GuestLink(lambda: current[0].connect(), received, retry_s=0.01)
    first.out.event("count", number=1)
    assert received.counted(upto=1) == [1]
    current[0] = second
    second.out.event("count", number=2)
    first.cut()
    kinds = [received.events.get(timeout=10)[0] for _ in range(4)]
    assert kinds == ["guest.link", "guest.link", "witness.blind", "count"]
    assert link.call("add", number=3) == 3
    link.close()
    for fake in (first, second):
        fake.cut()
        fake.close()


def test_a_full_journal_says_what_it_refused() -> None:
    journal = Journal(bound_bytes=1000, clock_ns=lambda: 5)
    out = Wire(journal)  # type: ignore[arg-type]  # it has what Wire needs
    for number in range(100):
        out.event("count", number=number)
    kept = journal.unsent(10_000).splitlines()
    journal.ack(json.loads(kept[-1])["n"])
    out.event("count", number=100)
    told = [json.loads(line) for line in journal.unsent(10_000).splitlines()]
    assert [line["event"] for line in told] == ["witness.blind", "count"]
    assert told[0]["data"]["reason"].startswith(f"{100 - len(kept)} lines found the guest's journal full")
    assert [line["n"] for line in told] == [len(kept) + 1, len(kept) + 2]


def test_a_part_line_at_a_break_is_dropped_by_the_guest() -> None:
    journal = Journal()
    seen: list[object] = []
    out = Wire(journal)  # type: ignore[arg-type]  # it has what Wire needs
    session = Session(journal, out, {"see": seen.append}, "x")
    for line in (b'{"id": 1, "ca', b'll": "see"}', b"[1]", b"7", b'{"call": "see", "args": {"object": 1}}'):
        session.line(line)
    assert seen == []


def test_the_guest_s_streams_are_numbered_both_ways() -> None:
    near, far = socket.socketpair()
    for end in (near, far):
        end.setblocking(False)
    streams, host, stop = Streams(lambda name: near.fileno()), NumberedStream(200.0), threading.Event()
    thread = threading.Thread(target=host.run, args=(far.fileno(), stop))
    thread.start()
    streams.start(["cprlab.stream.fd"], rate_hz=200.0)
    streams.epoch(2)
    assert host.report(upto=20, timeout_s=10)["received"]["last_number"] >= 20  # type: ignore[index]
    streams.drain("cprlab.stream.fd")
    report = streams.report("cprlab.stream.fd")
    assert report["received"]["received"] > 0 and report["received"]["damaged"] == 0
    assert host.checker.last_epoch == 2
    stop.set()
    thread.join()
    streams.close()
    near.close()
    far.close()
