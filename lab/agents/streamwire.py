"""Whole frames over a stream socket that breaks and comes back: a vsock, or a unix socket in tests.

Each frame goes behind its length (u32, little-endian). A connection begins with a frame's first byte,
so a break loses what was under way in it and nothing else.
"""

import contextlib
import errno
import os
import select
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

LONGEST_FRAME = 1 << 16
_LENGTH = struct.Struct("<I")


class BlockStream:
    """Frames over one connected, non-blocking stream socket.

    Every frame that `send` took is written in full before the next one, or lost with the connection.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._unsent, self._partial = b"", bytearray()

    @property
    def sending(self) -> bool:
        """Whether a part of a frame still waits for room in the socket."""
        return bool(self._unsent)

    @property
    def cut(self) -> int:
        """Frames that would be cut if the connection ended now: one each way at most."""
        return bool(self._unsent) + bool(self._partial)

    def send(self, frame: bytes) -> None:
        """Take a whole frame, of which the last part may be written later.

        Raises:
            BlockingIOError: there is no room; the frame was not taken.
            OSError: the connection is broken.
        """
        self.flush()
        if self._unsent:
            raise BlockingIOError(errno.EAGAIN, "the frame before is still being written")
        self._write(_LENGTH.pack(len(frame)) + frame)

    def flush(self) -> None:
        """Go on with a frame that is only partly written."""
        if self._unsent:
            with contextlib.suppress(BlockingIOError):
                self._write(self._unsent)

    def recv(self) -> bytes:
        """The next whole frame. Never takes more out of the socket, so what is left keeps it readable.

        Raises:
            BlockingIOError: it has not fully arrived.
            EOFError, OSError: the connection is at its end, or holds no frames.
        """
        self._fill(_LENGTH.size)
        (length,) = _LENGTH.unpack_from(self._partial)
        if not 0 < length <= LONGEST_FRAME:
            raise OSError(errno.EPROTO, f"a frame of {length} bytes")
        self._fill(_LENGTH.size + length)
        frame = bytes(self._partial[_LENGTH.size :])
        self._partial.clear()
        return frame

    def _write(self, data: bytes) -> None:
        self._unsent = data[self.connection.send(data) :]

    def _fill(self, wanted: int) -> None:
        while (missing := wanted - len(self._partial)) > 0:
            if not (data := self.connection.recv(missing)):
                raise EOFError
            self._partial += data


class StreamWire:
    """A wire made of one stream connection at a time; a broken one is replaced by the next.

    make:     gives a socket, listening or yet to be connected
    address:  where to connect to; None for the end that listens
    fileno:   readable if there is anything to do, which `recv` then does; the same for the whole life
    """

    def __init__(self, make: Callable[[], socket.socket], address: Any = None) -> None:
        self._make, self._address = make, address
        self._poll = select.epoll()
        self.fileno = self._poll.fileno
        self._stream: BlockStream | None = None
        self._connecting: socket.socket | None = None
        self._listener = make() if address is None else None
        self._connections, self._writable = 0, False
        self._counts = dict.fromkeys(("sent", "received", "sent_bytes", "received_bytes", "cut"), 0)
        if self._listener:
            self._listener.setblocking(False)
            self._poll.register(self._listener, select.EPOLLIN)
        else:
            self._connect()

    def send(self, frame: bytes) -> int:
        """Take a whole frame; OSError if it was not taken: BlockingIOError for want of room."""
        if self._stream is None:
            self._renew()
        if self._stream is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        # an error leaves the connection to `recv`: what came before the break is still in it
        self._stream.send(frame)
        self._watch(writable=self._stream.sending)
        self._counts["sent"] += 1
        self._counts["sent_bytes"] += len(frame)
        return len(frame)

    def recv(self, longest: int) -> bytes:
        """The next whole frame, of which `longest` bytes are given; BlockingIOError if there is none."""
        while self._stream or self._renew():
            assert self._stream is not None
            try:
                self._finish_writing()
                frame = self._stream.recv()
            except BlockingIOError:
                # the other end opened a new connection: it gave up this one, which now is empty
                if not self._renew():
                    raise
            except (OSError, EOFError):
                self._drop_connection()
            else:
                self._counts["received"] += 1
                self._counts["received_bytes"] += len(frame)
                return frame[:longest]
        raise BlockingIOError(errno.EAGAIN, "nobody is connected")

    def counters(self) -> dict[str, int]:
        """{sent, received, sent_bytes, received_bytes, cut, reconnects}.

        sent, received: frames; a frame counts as sent when it was taken
        cut:            frames that were under way, either way, in a connection that broke
        """
        return {**self._counts, "reconnects": max(0, self._connections - 1)}

    def close(self) -> None:
        for end in (self._stream.connection if self._stream else None, self._connecting, self._listener):
            if end:
                end.close()
        self._poll.close()

    def _renew(self) -> bool:
        """Take the next connection if there is one; whether there was."""
        return self._accept() if self._listener else self._connected()

    def _accept(self) -> bool:
        assert self._listener
        try:
            connection, _ = self._listener.accept()
        except OSError:  # nobody waits, or is gone already
            return False
        connection.setblocking(False)
        return self._use(connection)

    def _connected(self) -> bool:
        if self._stream:
            return False  # this end opens a new connection only when the old one is broken
        if self._connecting is None:
            self._connect()
        pending = self._connecting
        if pending is None or not select.select([], [pending], [], 0)[1]:
            return False
        self._connecting = None
        self._poll.unregister(pending)
        if pending.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            pending.close()
            return False
        return self._use(pending)

    def _connect(self) -> None:
        """Begin to connect; the next `send` tries again if it is refused."""
        connection = self._make()
        connection.setblocking(False)
        try:
            connection.connect(self._address)
        except BlockingIOError as error:
            if error.errno != errno.EINPROGRESS:  # a unix socket whose listener is too busy
                connection.close()
                return
        except OSError:
            connection.close()
            return
        self._connecting = connection
        self._poll.register(connection, select.EPOLLOUT)

    def _use(self, connection: socket.socket) -> bool:
        self._drop_connection()
        self._stream, self._writable = BlockStream(connection), False
        self._poll.register(connection, select.EPOLLIN)
        self._connections += 1
        return True

    def _drop_connection(self) -> None:
        if stream := self._stream:
            self._stream = None
            self._counts["cut"] += stream.cut
            self._poll.unregister(stream.connection)
            stream.connection.close()

    def _finish_writing(self) -> None:
        assert self._stream
        if self._stream.sending:
            with contextlib.suppress(OSError):  # broken: what came before the break is still to be read
                self._stream.flush()
            self._watch(writable=self._stream.sending)

    def _watch(self, *, writable: bool) -> None:
        assert self._stream
        if writable != self._writable:
            self._writable = writable
            events = select.EPOLLIN | (select.EPOLLOUT if writable else 0)
            self._poll.modify(self._stream.connection, events)


def stream_wire(kind: str, address: str) -> StreamWire:
    """One end of a wire: "vsock" connects to CID:PORT, 2 being the host; "vsock-listen" takes any machine's.

    "stream" and "stream-listen" do the same at the path of a unix socket, for tests.

    Raises:
        ValueError: the address is not one of this kind.
    """
    if kind == "vsock":
        cid, port = address.split(":")
        return StreamWire(_vsock, (int(cid), int(port)))
    if kind == "vsock-listen":
        return StreamWire(lambda: _listening(_vsock(), (socket.VMADDR_CID_ANY, int(address))))
    if kind == "stream":
        return StreamWire(lambda: socket.socket(socket.AF_UNIX), address)
    Path(address).unlink(missing_ok=True)  # of an earlier, killed process
    return StreamWire(lambda: _listening(socket.socket(socket.AF_UNIX), address))


def _vsock() -> socket.socket:
    return socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)


def _listening(made: socket.socket, address: Any) -> socket.socket:
    made.bind(address)
    made.listen()
    return made
