"""The virtio-serial port to the controller.

The driver (Linux drivers/char/virtio_console.c): while nobody is connected on the host, `read`
gives b"", `write` EAGAIN and poll POLLHUP at all times; the port works on when somebody connects.
So it is watched edge-triggered (or it would spin), and not closed (one opener at a time, and
closing throws away what the host has written) until the driver has let its device go.
"""

import errno
import os
import select
import stat
from collections.abc import Callable
from pathlib import Path

from ..lines import Lines
from ..loop import Loop
from .session import Session

PORTS = Path("/sys/class/virtio-ports")
CHUNK_BYTES = 32 << 10
"""What the driver takes in one write, at most."""


def find(name: str) -> int | None:
    """The virtio-serial port of this name, opened; None while there is none."""
    for port in PORTS.glob("*/name"):
        if port.read_text(encoding="utf-8").strip() == name:
            return os.open(f"/dev/{port.parent.name}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    return None


def unplugged(fd: int) -> bool:
    """Whether the driver has let the port behind a descriptor go: it will never work again.

    Source: Linux drivers/char/virtio_console.c, port_fops_read, which says so before it looks for data.
    """
    try:
        os.read(fd, 0)
    except OSError as error:
        return error.errno == errno.ENODEV
    return False


class Port:
    """Carries the lines of a session.

    opener: gives a non-blocking descriptor, or None while there is none; asked again until then, and
            when the port is unplugged; if it gave a socket, also when that is closed
    """

    def __init__(
        self, loop: Loop, opener: Callable[[], int | None], session: Session, take: Callable[[int], bytes]
    ) -> None:
        self._loop, self._opener, self._session, self._take = loop, opener, session, take
        self._fd = -1
        self._lines, self._rest, self._full = Lines(), b"", False
        self._open()
        # the driver wakes nobody in some of its states; ten looks a second cost nothing
        loop.every(100, self._look)
        loop.before_wait = self._write

    def _look(self) -> None:
        if self._fd < 0:
            self._open()
        else:
            self._ready(0)

    def _open(self) -> None:
        try:
            fd = self._opener()
        except OSError:  # not there yet
            return
        if fd is not None:
            self._fd = fd
            self._loop.watch(fd, self._ready, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def _ready(self, _: int) -> None:
        self._full, came = False, False
        try:
            while data := os.read(self._fd, CHUNK_BYTES):
                came = True
                for line in self._lines.feed(data):
                    self._session.line(line)
        except BlockingIOError:
            return
        except OSError:
            pass  # closed: ends like b""
        # the driver may hand out the first bytes of a connection before it takes note of it:
        # b"" behind data is believed only if the next look finds it too
        if not came:
            self._broken()

    def _write(self) -> None:
        session = self._session
        while self._fd >= 0 and session.attached and not self._full:
            if session.greeting:
                self._rest, session.greeting = session.greeting, b""
            self._rest = self._rest or self._take(CHUNK_BYTES)
            if not self._rest:
                return
            try:
                self._rest = self._rest[os.write(self._fd, self._rest) :]
            except BlockingIOError:
                self._full = True
            except OSError:
                self._broken()

    def _broken(self) -> None:
        """Nobody is there: wait for a controller that says what it has."""
        self._session.attached, self._rest = False, b""
        self._lines.drop()
        if stat.S_ISSOCK(os.fstat(self._fd).st_mode) or unplugged(self._fd):
            self._loop.forget(self._fd)
            os.close(self._fd)
            self._fd = -1
