"""A wire made of a stream socket carries whole frames, and a break of it loses only what was under way.

Claim: frames come whole, once and in order while the connection stands, however little the socket takes
at a time; a connection that breaks is replaced, and what was cut in it is missing, not damaged.
(`lab/agents/streamwire.py`; over unix sockets, as not every kernel has a vsock of its own.)
"""

import random
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.agents.faults import FaultyWire
from lab.agents.frames import ETHERTYPE
from lab.agents.loop import Loop
from lab.agents.rawsock import opened
from lab.agents.rpc import Wire
from lab.agents.streamwire import LONGEST_FRAME as LONGEST
from lab.agents.streamwire import BlockStream, StreamWire
from lab.agents.traffic import Traffic


def frame(number: int, length: int = 700) -> bytes:
    return number.to_bytes(8, "little") + bytes([number % 251]) * (length - 8)


def received(wire: StreamWire, wanted: int, timeout_s: float = 5.0) -> list[bytes]:
    """So many frames, taken when the wire's descriptor says that there is something to do."""
    frames: list[bytes] = []
    while len(frames) < wanted and select.select([wire.fileno()], [], [], timeout_s)[0]:
        frames += all_there(wire)
    return frames


def all_there(wire: StreamWire) -> list[bytes]:
    frames: list[bytes] = []
    while True:
        try:
            frames.append(wire.recv(LONGEST))
        except BlockingIOError:
            return frames


class Ends:
    """Both ends of a wire over a unix socket, and a way to break it."""

    def __init__(self, folder: Path) -> None:
        self.listener = self._opened(f"stream-listen:{folder}/wire")
        self.connector = self._opened(f"stream:{folder}/wire")
        all_there(self.listener)
        all_there(self.connector)

    def _opened(self, wire: str) -> StreamWire:
        made = opened(wire, ETHERTYPE)
        assert isinstance(made, StreamWire)
        return made

    def break_it(self) -> None:
        """As an update does: both ends find their connection closed."""
        for end in (self.listener, self.connector):
            if end._stream:
                end._stream.connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.listener.close()
        self.connector.close()


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    made = Ends(tmp_path)
    yield made
    made.close()


def test_frames_arrive_whole_in_order_both_ways(ends: Ends) -> None:
    sent = [frame(number, 64 + 37 * number) for number in range(40)]
    for block in sent:
        ends.connector.send(block)
        ends.listener.send(block)
    assert received(ends.listener, len(sent)) == sent
    assert received(ends.connector, len(sent)) == sent
    counters = ends.listener.counters()
    assert counters == {
        "sent": 40,
        "received": 40,
        "sent_bytes": sum(map(len, sent)),
        "received_bytes": sum(map(len, sent)),
        "cut": 0,
        "reconnects": 0,
    }


def test_full_socket_refuses_a_frame_and_neither_loses_nor_doubles_a_byte(ends: Ends) -> None:
    """What was taken arrives, what was refused does not, though the last one was only partly written."""
    taken, partly = 0, False
    with pytest.raises(BlockingIOError):
        while True:
            ends.connector.send(frame(taken, 50_000))
            taken += 1
            assert ends.connector._stream
            partly = partly or ends.connector._stream.sending
    assert partly, "every frame fitted: the test has not tested a partial write"
    arrived = all_there(ends.listener)
    while len(arrived) < taken:
        assert select.select([ends.connector.fileno()], [], [], 5)[0], "room in the socket wakes nobody"
        all_there(ends.connector)  # goes on with the frame that was partly written
        arrived += all_there(ends.listener)
    assert arrived == [frame(number, 50_000) for number in range(taken)]
    assert not select.select([ends.listener.fileno(), ends.connector.fileno()], [], [], 0)[0]


def test_slow_socket_carries_random_frames(tmp_path: Path) -> None:
    """Pieces of any size on both sides of the framing: a peer that reads and writes a few bytes at a time."""
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    chance = random.Random(7)
    sent = [chance.randbytes(chance.randint(1, 9000)) for _ in range(60)]

    def echo() -> None:
        while data := far.recv(chance.randint(1, 3000)):
            far.sendall(data)

    echoing = threading.Thread(target=echo)
    echoing.start()
    stream, waiting = BlockStream(near), list(sent)
    back: list[bytes] = []
    while len(back) < len(sent):
        select.select([near], [near], [], 5)
        try:
            while waiting:
                stream.send(waiting[0])
                waiting.pop(0)
        except BlockingIOError:
            pass
        stream.flush()
        try:
            while True:
                back.append(stream.recv())
        except BlockingIOError:
            pass
    near.shutdown(socket.SHUT_RDWR)
    echoing.join(5)
    assert back == sent


def test_broken_connection_is_replaced_and_what_came_before_is_kept(ends: Ends) -> None:
    for number in range(5):
        ends.connector.send(frame(number))
    ends.break_it()
    assert received(ends.listener, 5) == [frame(number) for number in range(5)]
    assert all_there(ends.connector) == []  # finds the break, and connects again
    for number in range(5, 10):
        ends.connector.send(frame(number))
    assert received(ends.listener, 5) == [frame(number) for number in range(5, 10)]
    ends.listener.send(frame(10))
    assert received(ends.connector, 1) == [frame(10)]
    assert [end.counters()["reconnects"] for end in (ends.listener, ends.connector)] == [1, 1]
    assert [end.counters()["cut"] for end in (ends.listener, ends.connector)] == [0, 0]


def test_frame_that_was_cut_is_missing_not_damaged(ends: Ends) -> None:
    sent = 0
    with pytest.raises(BlockingIOError):
        while True:
            ends.connector.send(frame(sent, 50_000))
            sent += 1
    ends.break_it()
    arrived = all_there(ends.listener)
    all_there(ends.connector)
    ends.connector.send(frame(sent))
    arrived += received(ends.listener, 1)
    assert arrived == [*(frame(number, 50_000) for number in range(sent - 1)), frame(sent)]
    assert [end.counters()["cut"] for end in (ends.listener, ends.connector)] == [1, 1]


def test_new_connection_takes_over_from_one_that_never_ended(ends: Ends) -> None:
    """A guest that was cut off without a word: the old connection stays open at the listening end."""
    ends.connector.send(frame(1))
    assert ends.connector._stream
    forgotten = ends.connector._stream.connection.dup()
    ends.connector._drop_connection()
    ends.connector.send(frame(2))
    assert received(ends.listener, 2) == [frame(1), frame(2)]
    ends.listener.send(frame(3))
    assert received(ends.connector, 1) == [frame(3)]
    forgotten.close()


def test_nobody_there_is_an_error_of_the_link_not_a_full_socket(tmp_path: Path) -> None:
    """So the sender says that the wire is down, and sends nothing into it."""
    connector = opened(f"stream:{tmp_path}/wire", ETHERTYPE)
    with pytest.raises(OSError, match="not connected") as refusal:
        connector.send(frame(1))
    assert not isinstance(refusal.value, BlockingIOError)
    listener = opened(f"stream-listen:{tmp_path}/wire", ETHERTYPE)
    with pytest.raises(OSError, match="not connected"):
        listener.send(frame(1))
    connector.send(frame(2))
    assert isinstance(listener, StreamWire)
    assert received(listener, 1) == [frame(2)]
    connector.close()
    listener.close()


def test_what_is_no_frame_ends_the_connection(ends: Ends) -> None:
    assert ends.connector._stream
    ends.connector._stream.connection.send((LONGEST + 1).to_bytes(4, "little"))
    assert all_there(ends.listener) == []
    assert all_there(ends.connector) == []
    ends.connector.send(frame(1))
    assert received(ends.listener, 1) == [frame(1)]
    assert ends.listener.counters()["reconnects"] == 1


class Told:
    """Stands for an agent's way to the controller."""

    def __init__(self) -> None:
        self.seqs: dict[str, list[int]] = {}
        self.events: list[dict[str, Any]] = []

    def event(self, kind: str, **data: Any) -> None:
        self.events.append({"kind": kind, **data})

    def rows(self, table: str, **columns: Any) -> None:
        self.seqs.setdefault(table, []).extend(columns["seq"])


@pytest.mark.parametrize(("fault", "missing"), [("", 0), ("drop", 1), ("break", None)])
def test_load_over_a_stream(ends: Ends, fault: str, missing: int | None) -> None:
    """A load's both ends run over it as over a NIC, planted faults included."""
    told = Told()
    out: Wire = told  # type: ignore[assignment]
    loop, faulty = Loop(), FaultyWire(ends.listener, out)
    common: dict[str, Any] = {"load": "vsock", "seed": 3, "block_bytes": 600}
    far = Traffic(loop, faulty, out, sends="to-guest", receives="from-guest", **common)
    near = Traffic(loop, ends.connector, out, sends="from-guest", receives="to-guest", **common)
    for end in (far, near):
        end.start_sending(400, "02:00:00:00:00:01", "02:00:00:00:00:02")
    breaking = loop.every(100, ends.break_it if fault == "break" else lambda: None)
    if fault == "drop":
        faulty.plant("drop")

    def finish() -> None:
        loop.cancel(breaking)
        for end in (far, near):
            end.sender.stop()

    loop.every(550, finish)
    loop.every(800, loop.stop)
    loop.run()
    near.close()
    far.close()
    for stream in ("to-guest", "from-guest"):
        sent, arrived = told.seqs[f"vsock.{stream}.sent"], told.seqs[f"vsock.{stream}.received"]
        assert sent == list(range(len(sent)))
        assert arrived == sorted(set(arrived))
        assert arrived[-1] == sent[-1]
        if missing is None:
            assert ends.connector.counters()["reconnects"] > 2
        else:
            assert len(sent) - len(arrived) == (missing if stream == "to-guest" else 0)
    assert not [event for event in told.events if event["kind"] == "load.anomaly"]


@pytest.mark.parametrize("wire", ["vsock:2", "vsock:host:1024", "vsock-listen:", "stream", "tcp:localhost:1"])
def test_what_is_no_wire_is_refused(wire: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError):
        opened(wire, ETHERTYPE)
