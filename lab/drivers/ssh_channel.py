"""Commands in ssh channels: to their end, or as long-lived streams."""

import io
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

import paramiko

_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class Completed:
    """A command that ended; returncode is -1 if a signal ended it."""

    returncode: int
    stdout: str
    stderr: str
    argv: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Stream:
    """A running command.

    Both outputs share one flow-control window: read stderr too, or stdout stops after 2 MiB of it.
    Closing stdin gives the command end-of-file; `close` closes the channel.
    """

    stdin: BinaryIO
    stdout: BinaryIO
    stderr: BinaryIO
    channel: paramiko.Channel

    @classmethod
    def over(cls, channel: paramiko.Channel) -> "Stream":
        return cls(
            cast(BinaryIO, io.BufferedWriter(_Writer(channel), _CHUNK_BYTES)),
            cast(BinaryIO, io.BufferedReader(_Reader(channel.recv), _CHUNK_BYTES)),
            cast(BinaryIO, io.BufferedReader(_Reader(channel.recv_stderr), _CHUNK_BYTES)),
            channel,
        )

    def close(self) -> None:
        """Close the channel: readers get end-of-file, the command end-of-file and a broken pipe."""
        self.channel.close()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run_channel(channel: paramiko.Channel, timeout_s: float, data: bytes) -> Completed:
    """Feed a started command, collect what it prints, wait for its end.

    Raises:
        TimeoutError: it did not end in time.
    """
    deadline = time.monotonic() + timeout_s
    channel.settimeout(timeout_s)
    errors: list[bytes] = []
    helpers = [_thread(_drain, channel.recv_stderr, errors), _thread(_feed, channel, data)]
    output = bytearray()
    while chunk := channel.recv(_CHUNK_BYTES):
        output += chunk
        channel.settimeout(max(0.0, deadline - time.monotonic()) or 0.001)
    for helper in helpers:
        helper.join(max(0.0, deadline - time.monotonic()))
    if not channel.status_event.wait(max(0.0, deadline - time.monotonic())):
        raise TimeoutError
    return Completed(
        channel.exit_status, output.decode(errors="replace"), b"".join(errors).decode(errors="replace")
    )


def _thread(target: Callable[..., None], *args: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=args, daemon=True)
    thread.start()
    return thread


def _drain(receive: Callable[[int], bytes], chunks: list[bytes]) -> None:
    try:
        while chunk := receive(_CHUNK_BYTES):
            chunks.append(chunk)
    except OSError:
        pass  # the reader of stdout meets the same end and says so


def _feed(channel: paramiko.Channel, data: bytes) -> None:
    try:
        channel.sendall(data)
        channel.shutdown_write()
    except (OSError, EOFError):
        pass  # the command ended without reading


class _Reader(io.RawIOBase):
    """Reads a channel; a C-speed BufferedReader on top finds the lines."""

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        self._receive = receive

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._receive(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Writer(io.RawIOBase):
    """Writes a channel; closing it sends end-of-file."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._channel.sendall(bytes(data))
        return len(data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            with suppress(OSError, EOFError):  # the channel is gone already
                self._channel.shutdown_write()
