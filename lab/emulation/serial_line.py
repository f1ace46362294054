"""The host's serial line, as a console server gives it to everybody who connects: raw TCP, like ser2net's.

It stays up while the host is off, and tells nothing of what was said before somebody connected.
"""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lab.waiting import wait_until

_CHUNK_BYTES = 4096
_FOREVER_S = float("inf")


class SerialLine:
    """What the machine says, from its console's log; what it is told, through its console's socket."""

    def __init__(self, said: Path, console: Path) -> None:
        self._said, self._console = said, console
        said.touch()

    def serve(self, address: tuple[str, int]) -> None:
        """Listen on threads of its own, until the process ends."""
        server = socket.create_server(address)
        _thread(lambda: self._accept(server))

    def listen_to(self, hear: Callable[[bytes], object], lives: Callable[[], bool]) -> None:
        """Pass on what is said from now on; returns when `lives` says so, or `hear` cannot."""
        with self._said.open("rb") as log, suppress(OSError):
            log.seek(0, 2)

            def heard() -> bool:
                if data := log.read(_CHUNK_BYTES):
                    hear(data)
                return not lives()

            wait_until(heard, _FOREVER_S, "its end", period_s=0.02)

    def say(self, data: bytes) -> None:
        """Type; nobody hears it while the machine is off."""
        with suppress(OSError), socket.socket(socket.AF_UNIX) as console:
            console.connect(str(self._console))
            console.sendall(data)
            console.shutdown(socket.SHUT_WR)

    def _accept(self, server: socket.socket) -> None:
        while True:
            client, _ = server.accept()
            _thread(lambda client=client: self._converse(client))  # type: ignore[misc]

    def _converse(self, client: socket.socket) -> None:
        gone = threading.Event()
        with client:
            _thread(lambda: self.listen_to(client.sendall, lambda: not gone.is_set()))
            with suppress(OSError):
                while data := client.recv(_CHUNK_BYTES):
                    self.say(data)
            gone.set()


def _thread(target: Callable[[], None]) -> None:
    threading.Thread(target=target, name="serial line", daemon=True).start()
