"""The far ends of chardev connections, each against a real other end on this machine: no QEMU, no bench."""

import json
import os
import pty
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from lab.agents.guest.tty import open_raw
from lab.agents.host.asked import AskedStream
from lab.agents.host.farends import far_end
from lab.agents.host.logfile import LogFile
from lab.agents.host.streams import ChardevStream
from lab.agents.numbered import Line, NumberedStream
from lab.agents.rpc import AgentError, Wire
from lab.waiting import wait_until


class Events(Wire):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__(cast(BinaryIO, None))
        self.told: list[tuple[str, dict[str, Any]]] = []

    def event(self, kind: str, **data: Any) -> None:
        self.told.append((kind, data))

    def rows(self, table: str, **columns: Any) -> None: ...

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.told]


@pytest.fixture
def wire() -> Events:
    return Events()


class Peer:
    """The other end: what QEMU and the guest would be."""

    def __init__(self, read: int, write: int | None = None) -> None:
        self.stream = NumberedStream(200)
        self.go_on(read, write)

    def go_on(self, read: int, write: int | None = None) -> None:
        """The same stream by other descriptors."""
        self._stop = threading.Event()
        for fd in (read, write):
            if fd is not None:
                os.set_blocking(fd, False)
        self.thread = threading.Thread(target=self._run, args=(read, write), daemon=True)
        self.thread.start()

    def _run(self, read: int, write: int | None) -> None:
        while not self._stop.is_set() and self.stream.run(read, self._stop, write) != "eof":
            pass

    def stop(self) -> None:
        self._stop.set()
        self.thread.join(5)


def exchanged(end: ChardevStream, peer: Peer, lines: int = 10) -> None:
    """Lines went both ways, and none is missing."""
    for one in (end.stream, peer.stream):
        upto = one.checker.last_number + lines
        report = one.report(upto, timeout_s=5)["received"]
        assert isinstance(report, dict)
        assert (report["last_number"] >= upto, report["lost"], report["damaged"]) == (True, 0, 0)


def opened(wire: Wire, backend: str, where: str, *, held: bool = False) -> ChardevStream:
    return ChardevStream(wire, "x", far_end(backend, where, {}, "x"), 200, 1, held=held)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


@pytest.mark.parametrize("once", [False, True])
def test_a_listener_takes_one_client_after_the_other(wire: Events, tmp_path: Path, once: bool) -> None:
    path = str(tmp_path / "s")
    where = far_end("listen-once" if once else "listen", path, {}, "x")
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    end = ChardevStream(wire, "x", where, 200, 1)
    peer = Peer(client.fileno())
    exchanged(end, peer)
    peer.stop()
    client.close()
    wait_until(lambda: end.eofs == 1, 5, "the end of the first")
    with socket.socket(socket.AF_UNIX) as second:
        if once:
            with pytest.raises(OSError):
                second.connect(path)
        else:
            second.connect(path)
            wait_until(lambda: end.connections == 2, 5, "the second")
    end.abandon()
    assert not Path(path).exists()


def test_tcp(wire: Events) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        end = opened(wire, "tcp", str(listener.getsockname()[1]))
        served, _ = listener.accept()
        peer = Peer(served.fileno())
        exchanged(end, peer)
        peer.stop()
        served.close()
    wait_until(lambda: end.eofs == 1, 5, "its end")
    end.abandon()
    # one more client may wait where nobody takes it any more
    assert wire.kinds[:2] == ["chardev.open", "chardev.eof"]


def test_a_terminal_is_left_for_another_one(wire: Events) -> None:
    """Both ends are raw: no byte is changed on the way. A dead terminal is an end, and is tried again."""
    masters = [pty.openpty() for _ in range(2)]
    names = [os.ttyname(slave) for _, slave in masters]
    end = opened(wire, "pty", names[0])
    peer = Peer(masters[0][0])
    exchanged(end, peer)
    peer.stop()
    os.close(masters[0][1])
    end.move(far_end("pty", names[1], {}, "x"))
    wait_until(lambda: end.connections == 2, 5, "the other terminal")
    peer = Peer(masters[1][0])
    peer.stream.report(end.stream.sent + 10, timeout_s=5)
    assert peer.stream.checker.report()["damaged"] == 0 and peer.stream.checker.last_number > 10
    peer.stop()
    for fd in (masters[0][0], masters[1][1], masters[1][0]):
        os.close(fd)
    wait_until(lambda: end.eofs == 2, 5, "the end of the terminal")
    end.abandon()


def test_a_guests_serial_port_is_raw(wire: Events) -> None:
    master, slave = pty.openpty()
    fd = open_raw(os.ttyname(slave))
    os.write(master, b"a\r\n\x03\x11")
    select.select([fd], [], [], 5)
    assert os.read(fd, 100) == b"a\r\n\x03\x11"
    with pytest.raises(BlockingIOError):
        os.read(fd, 100)
    with pytest.raises(BlockingIOError):  # there is no echo
        os.set_blocking(master, False)
        os.read(master, 100)
    for open_fd in (fd, master, slave):
        os.close(open_fd)


def test_what_is_in_a_pipe_waits_for_the_next_reader(wire: Events, tmp_path: Path) -> None:
    path = str(tmp_path / "fifo")
    end = opened(wire, "pipe", path)
    peer: Peer | None = None
    for _ in range(2):
        ends = [os.open(f"{path}.{way}", os.O_RDWR | os.O_NONBLOCK) for way in ("in", "out")]
        if peer is None:
            peer = Peer(*ends)
        else:
            peer.go_on(*ends)
        exchanged(end, peer)
        peer.stop()
        for fd in ends:
            os.close(fd)
    assert (end.connections, end.eofs) == (1, 0)
    end.abandon()
    assert not Path(f"{path}.in").exists()


def test_datagrams_that_nobody_takes_end_nothing(wire: Events) -> None:
    ours, theirs = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
    end = opened(wire, "udp", f"{ours}:{theirs}")
    wait_until(lambda: end.stream.sent > 5, 5, "lines to nobody")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", theirs))
        other.connect(("127.0.0.1", ours))
        peer = Peer(other.fileno())
        end.stream.report(10, timeout_s=5)
        peer.stream.report(end.stream.sent + 5, timeout_s=5)
        peer.stop()
    assert (end.connections, end.eofs) == (1, 0)
    assert peer.stream.checker.report()["lost"] > 0 and end.stream.checker.report()["lost"] == 0
    end.abandon()


def test_nothing_is_sent_before_it_begins(wire: Events, tmp_path: Path) -> None:
    path = str(tmp_path / "fifo")
    end = opened(wire, "pipe", path, held=True)
    fd = os.open(f"{path}.in", os.O_RDWR | os.O_NONBLOCK)
    assert select.select([fd], [], [], 0.2)[0] == []
    end.begin()
    end.pace(50)
    assert select.select([fd], [], [], 5)[0] == [fd]
    os.close(fd)
    end.abandon()


def test_a_file_is_what_it_holds(wire: Events, tmp_path: Path) -> None:
    path = tmp_path / "log"
    end = LogFile(wire, "x", str(path))
    assert end.report(False, 3, 0)["received"]["lost"] == 3
    path.write_bytes(b"".join(Line(1, n).encoded() for n in (1, 2, 3)))
    assert end.report(False, 3, 0)["received"]["lost"] == 0
    path.write_bytes(Line(2, 4).encoded())
    report = end.report(True, 4, 0)
    assert (report["truncated"], report["received"]["lost"], report["received"]["last_epoch"]) == (1, 3, 2)
    assert wire.kinds == ["chardev.truncated"]


def test_what_is_no_backend_is_refused(tmp_path: Path) -> None:
    for backend, where in (
        ("nonsense", "x"),
        ("path", None),
        ("udp", "x"),
        ("listen", str(tmp_path / ("x" * 200))),
    ):
        with pytest.raises(AgentError, match="chardev 'x'"):
            far_end(backend, where, {}, "x")


def qmp(connection: socket.socket, lines: Iterator[bytes]) -> None:
    """One monitor: greets, wants to be negotiated with, answers three commands."""
    connection.sendall(b'{"QMP": {}}\n')
    assert json.loads(next(lines))["execute"] == "qmp_capabilities"
    connection.sendall(b'{"return": {}, "id": "begin"}\n{"event": "STOP"}\n')
    for _ in range(3):
        answer = {"return": {}, "id": json.loads(next(lines))["id"]}
        connection.sendall(json.dumps(answer).encode() + b"\n")


def qmp_that_begins_anew(connection: socket.socket, lines: Iterator[bytes]) -> None:
    """New QEMU on a connection that was kept: it greets, and refuses what came before the negotiation."""
    qmp(connection, lines)
    late = json.loads(next(lines))["id"]
    connection.sendall(b'{"QMP": {}}\n' + json.dumps({"error": {}, "id": late}).encode() + b"\n")
    assert json.loads(next(lines))["execute"] == "qmp_capabilities"
    answer = {"return": {}, "id": json.loads(next(lines))["id"]}
    connection.sendall(json.dumps(answer).encode() + b"\n")


def hmp(connection: socket.socket, lines: Iterator[bytes]) -> None:
    connection.sendall(b"QEMU 11.1.3 monitor - type 'help'\r\n(qemu) ")
    for line in lines:
        if line.strip():
            number = line.split()[1]
            connection.sendall(b"(qemu) p/d\x1b[K " + number + b"\r\n" + number + b"\r\n(qemu) ")
            if number == b"3":
                return


def vnc(connection: socket.socket, lines: Iterator[bytes]) -> None:
    connection.sendall(b"RFB 003.008\n")
    assert connection.recv(12) == b"RFB 003.008\n"
    connection.sendall(b"\x01\x01")
    connection.recv(1)
    connection.sendall(bytes(4))
    connection.recv(1)
    connection.sendall(struct.pack("!HHB15xI", 640, 480, 32, 4) + b"QEMU")
    for _ in range(3):
        connection.recv(10)
        connection.sendall(b"\x02" + struct.pack("!BxHHHHHi", 0, 1, 0, 0, 16, 1, 0) + bytes(64))


def gdb(connection: socket.socket, lines: Iterator[bytes]) -> None:
    came = b""
    for words in (b"$?#3f", b"\x03", b"\x03", b"\x03"):
        while words not in came:
            came += connection.recv(100)
        connection.sendall(b"+$T05thread:01;#07")
        came = came.partition(words)[2]
        while b"$c#63" not in came:
            came += connection.recv(100)
        came = came.partition(b"$c#63")[2]
        connection.sendall(b"+")


@pytest.mark.parametrize(
    "protocol, serve, answers, lost, sessions",
    [
        ("qmp", qmp, 3, 1, 1),
        ("qmp", qmp_that_begins_anew, 4, 2, 2),
        ("hmp", hmp, 3, 1, 1),
        ("vnc", vnc, 3, 1, 1),
        ("gdb", gdb, 3, 1, 1),
    ],
)
def test_requests_are_counted_by_their_answers(
    wire: Events,
    tmp_path: Path,
    protocol: str,
    serve: Callable[[socket.socket, Iterator[bytes]], None],
    answers: int,
    lost: int,
    sessions: int,
) -> None:
    """The request that is under way when the connection ends is lost."""
    path = str(tmp_path / "s")
    errors: list[BaseException] = []

    def served() -> None:
        try:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as lines:
                serve(connection, lines)
                connection.recv(100)  # the one that is never answered
        except BaseException as error:
            errors.append(error)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=served, daemon=True)
        thread.start()
        end = AskedStream(wire, "x", far_end("path", path, {}, "x"), protocol, 50, 7)
        wait_until(lambda: end.eofs == 1, 10, "the end of the connection")
    thread.join(5)
    report = end.report(True, None, 0)
    end.abandon()
    assert errors == []
    assert (report["received"]["received"], report["received"]["lost"]) == (answers, lost)
    assert (report["sessions"], report["received"]["last_epoch"], report["drained"]) == (sessions, 7, True)
    assert wire.kinds[:2] == ["chardev.open", "chardev.eof"]


def test_a_debugger_connects_again_once_the_update_is_over(wire: Events, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(10)

        def served() -> None:
            with listener.accept()[0] as connection, connection.makefile("rb") as lines:
                gdb(connection, lines)

        first = threading.Thread(target=served, daemon=True)
        first.start()
        end = AskedStream(wire, "x", far_end("path", path, {}, "x"), "gdb", 50, 1)
        first.join(10)
        wait_until(lambda: end.eofs == 1, 10, "the end of the connection")
        listener.settimeout(0.3)
        with pytest.raises(TimeoutError):
            listener.accept()
        end.epoch(2)
        listener.settimeout(10)
        second = threading.Thread(target=served, daemon=True)
        second.start()
        second.join(10)
        wait_until(lambda: end.connections == 2, 10, "the second connection")
        end.abandon()
