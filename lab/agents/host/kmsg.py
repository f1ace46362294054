"""The kernel log witness.

Source: Linux Documentation/ABI/testing/dev-kmsg.
"""

import os
import re
import select
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from ..rpc import AgentError, Wire

PATH = "/dev/kmsg"
_RECORD_BYTES = 8192
_POLL_MS = 100
_DEBUG, _AWAKE_S = 7, 5.0
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")


@dataclass(frozen=True)
class Record:
    """One message. level: 0 (emergency) to 7 (debug); kernel_us: the kernel's own stamp."""

    level: int
    sequence: int
    kernel_us: int
    text: str


def parsed(raw: bytes) -> Record:
    """A record as one read of /dev/kmsg returns it: "6,339,5140900,-;text\\n SUBSYSTEM=acpi\\n"."""
    head, _, body = raw.decode(errors="replace").partition(";")
    priority, sequence, kernel_us = head.split(",")[:3]
    text = _ESCAPE.sub(lambda m: chr(int(m[1], 16)), body.split("\n", 1)[0])
    return Record(int(priority) & 7, int(sequence), int(kernel_us), text)


class KmsgWatch:
    """Sends every kernel message from now on as event "log" {where: host}, with the time it was read.

    Messages that were overwritten before they were read make the witness blind, and it says so.
    """

    def __init__(self, wire: Wire, path: str = PATH) -> None:
        self._wire, self._path = wire, path
        self._mark, self._marked = "", threading.Event()
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._fd, 0, os.SEEK_END)
        except OSError as error:
            raise AgentError(f"cannot read the kernel log: {error}; run the host agent as root") from None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kmsg", daemon=True)
        self._thread.start()

    def prove_awake(self) -> None:
        """What is written into the log now must be read from it; if it is not, nobody knows what was missed.

        Raises:
            AgentError: it cannot be written.
        """
        self._mark = f"cprlab: awake {time.monotonic_ns()}"
        try:
            # without its end of line the kernel keeps a message back, as more of it may come
            self._write(f"<{_DEBUG}>{self._mark}\n")
        except OSError as error:
            raise AgentError(f"cannot write to the kernel log: {error}") from None
        if not self._marked.wait(_AWAKE_S):
            reason = f"{self._mark!r}, which the agent wrote, was not read in {_AWAKE_S:g} s"
            hint = "; is sysctl kernel.printk_devkmsg off?"
            self._wire.event("witness.blind", witness="kmsg-host", reason=reason + hint)

    def stop(self) -> dict[str, int]:
        """End; what the kernel said before is sent when this returns."""
        self._stop.set()
        self._thread.join(5.0)
        return {}

    def abandon(self) -> None:
        """End without a word."""
        self._stop.set()
        self._thread.join(1.0)

    def _write(self, message: str) -> None:
        Path(self._path).write_text(message)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        try:
            while not self._stop.is_set():
                poll.poll(_POLL_MS)
                self._read_all()
            self._read_all()
        except (OSError, ValueError) as error:
            self._wire.event("witness.blind", witness="kmsg-host", reason=f"{error}")
        finally:
            os.close(self._fd)

    def _read_all(self) -> None:
        while True:
            try:
                record = parsed(os.read(self._fd, _RECORD_BYTES))
            except BlockingIOError:
                return
            except BrokenPipeError:
                self._wire.event(
                    "witness.blind", witness="kmsg-host", reason="messages were overwritten unread"
                )
                continue
            if record.text == self._mark:
                self._marked.set()
                continue
            self._wire.event(
                "log",
                where="host",
                level=record.level,
                text=record.text,
                t_src_ns=time.monotonic_ns(),
                kernel_us=record.kernel_us,
            )
