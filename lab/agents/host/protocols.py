"""Protocols whose requests are numbered and answered, one at a time: QMP, HMP, VNC, and gdb's."""

import json
import re
import struct
from collections.abc import Callable, Mapping
from typing import Protocol


class Lost(Exception):
    """The connection ended, or does not speak the protocol any more."""


class Stream(Protocol):
    """A connection as a protocol needs it; both raise Lost, or TimeoutError."""

    def send(self, data: bytes) -> None: ...

    def until(self, end: bytes) -> bytes:
        """Everything up to and with the next `end`."""
        ...

    def exactly(self, count: int) -> bytes: ...


class Asking(Protocol):
    """A protocol: `greet` once a connection, then requests.

    sessions: how often QEMU has greeted
    patient:  whether it connects again only once the update is over
    """

    sessions: int
    patient: bool

    def greet(self, stream: Stream) -> None: ...

    def ask(self, stream: Stream, number: int) -> bool:
        """Whether the answer is that to this request; False: it was refused."""
        ...


class Qmp:
    """`query-name` with the number as id. A new greeting on an old connection is a session begun anew."""

    patient = False

    def __init__(self) -> None:
        self.sessions = 0

    def greet(self, stream: Stream) -> None:
        message: object = {}
        while not (isinstance(message, dict) and "QMP" in message):
            message = self._next(stream)
        self._negotiate(stream)

    def ask(self, stream: Stream, number: int) -> bool:
        stream.send(json.dumps({"execute": "query-name", "id": number}).encode() + b"\n")
        while True:
            message = self._next(stream)
            if "QMP" in message:
                # the request was read by the one before, or waits, and is refused
                self._negotiate(stream)
            elif message.get("id") == number:
                return "return" in message

    def _negotiate(self, stream: Stream) -> None:
        self.sessions += 1
        stream.send(b'{"execute": "qmp_capabilities", "id": "begin"}\n')

    def _next(self, stream: Stream) -> "dict[str, object]":
        try:
            message = json.loads(stream.until(b"\n"))
        except ValueError as error:
            raise Lost(str(error)) from None
        return message if isinstance(message, dict) else {}


class Hmp:
    """`p/d NUMBER`, answered by the number on a line of its own behind the echo."""

    patient = False

    _BANNER = re.compile(rb"QEMU \S+ monitor")

    def __init__(self) -> None:
        self.sessions = 0

    def greet(self, stream: Stream) -> None:
        stream.send(b"\n")
        while not self._banner(stream.until(b"\n")):
            pass

    def ask(self, stream: Stream, number: int) -> bool:
        stream.send(b"p/d %d\n" % number)
        while (line := stream.until(b"\n")).strip() != b"%d" % number:
            self._banner(line)
        return True

    def _banner(self, line: bytes) -> bool:
        found = self._BANNER.search(line) is not None
        self.sessions += found
        return found


class Vnc:
    """RFB 3.8 (RFC 6143): the update of one pixel, asked for whether it changed or not."""

    patient = False

    def __init__(self) -> None:
        self.sessions = 0
        self._size, self._pixel_bytes = (1, 1), 4

    def greet(self, stream: Stream) -> None:
        stream.exactly(12)
        stream.send(b"RFB 003.008\n")
        (kinds,) = stream.exactly(1)
        if 1 not in stream.exactly(kinds):
            raise Lost("no security type None")
        stream.send(b"\x01")
        if stream.exactly(4) != bytes(4):
            raise Lost("refused")
        stream.send(b"\x01")
        width, height, bits = struct.unpack("!HHB", stream.exactly(5))
        (name,) = struct.unpack("!15xI", stream.exactly(19))
        stream.exactly(name)
        self._size, self._pixel_bytes = (width, height), bits // 8
        self.sessions += 1

    def ask(self, stream: Stream, number: int) -> bool:
        x, y = number % self._size[0], number // self._size[0] % self._size[1]
        stream.send(struct.pack("!BBHHHH", 3, 0, x, y, 1, 1))
        while (kind := stream.exactly(1)[0]) == 2:  # a bell
            pass
        if kind != 0:
            raise Lost(f"message {kind}")
        (rectangles,) = struct.unpack("!xH", stream.exactly(3))
        for _ in range(rectangles):
            *_, width, height, encoding = struct.unpack("!HHHHi", stream.exactly(12))
            if encoding != 0:
                raise Lost(f"encoding {encoding}")
            stream.exactly(width * height * self._pixel_bytes)
        return True


class Gdb:
    """GDB remote protocol: the guest is stopped, asked why, and continued; one such turn is a request.

    QEMU stops the guest when a debugger connects (gdbstub/system.c, gdb_chr_event). If one lets it run that
    connects before new QEMU has loaded it, the guest is lost (testcases/reproductions/gdb-resuming.sh).
    """

    patient = True

    _GO = b"$c#63"

    def __init__(self) -> None:
        self.sessions = 0

    def greet(self, stream: Stream) -> None:
        self._stopped(stream, b"$?#3f")
        stream.send(self._GO)
        self.sessions += 1

    def ask(self, stream: Stream, number: int) -> bool:
        self._stopped(stream, b"\x03")
        stream.send(self._GO)
        return True

    def _stopped(self, stream: Stream, words: bytes) -> None:
        stream.send(words)
        while b"$T" not in stream.until(b"#"):
            pass
        stream.exactly(2)
        stream.send(b"+")


PROTOCOLS: Mapping[str, Callable[[], Asking]] = {"qmp": Qmp, "hmp": Hmp, "vnc": Vnc, "gdb": Gdb}
