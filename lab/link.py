"""The controller's side of the wire to an agent (`lab/agents/rpc.py`)."""

import base64
import contextlib
import itertools
import json
import queue
import threading
from collections.abc import Mapping
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from lab.errors import BenchError

CALL_S = 60.0
"""An emulated host on a controller at a third of its speed took 22 s to tell which pages back a guest."""


class Receiver(Protocol):
    """Takes what an agent sends on its own account."""

    def event(self, kind: str, data: Mapping[str, Any]) -> None: ...

    def rows(self, table: str, columns: Mapping[str, NDArray[Any]]) -> None: ...


class AgentRefusal(BenchError):
    """The agent answered that it could not do it."""


class AgentLink:
    """Calls an agent and passes on its events and rows.

    name:        who the agent is, for messages: "host agent on virtual"
    receiver:    gets events and rows, from the link's own thread; may be changed while running
    see:         where to look when the agent is gone, appended to messages: "; see its console in ..."
    unreachable: what to raise when the agent does not answer. Losing a bench is the lab's fault,
                 losing the guest is evidence about QEMU
    """

    def __init__(
        self,
        name: str,
        reader: BinaryIO,
        writer: BinaryIO,
        receiver: Receiver | None = None,
        unreachable: type[Exception] = BenchError,
        see: str = "",
    ) -> None:
        self.name, self.receiver, self._see = name, receiver, see
        self._reader, self._writer, self._unreachable = reader, writer, unreachable
        self._ids = itertools.count(1)
        self._waiting: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._write_lock = threading.Lock()
        self.closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name=name, daemon=True)
        self._thread.start()

    def gone(self) -> str:
        """Why it will never answer again; empty while it may."""
        return f"{self.name} is gone" if self.closed.is_set() else ""

    def call(self, call: str, timeout_s: float = CALL_S, **args: Any) -> Any:
        """Ask the agent and return its result.

        Raises:
            AgentRefusal: if it answers with an error.
            self.unreachable: if it does not answer in time or the connection is lost.
        """
        number = next(self._ids)
        answer: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._waiting[number] = answer
        try:
            self._send({"id": number, "call": call, "args": args})
            reply = answer.get(timeout=timeout_s)
        except queue.Empty:
            raise self._unreachable(
                f"{self.name} did not answer {call!r} within {timeout_s:g} s{self._see}"
            ) from None
        except (OSError, ValueError) as error:
            raise self._unreachable(
                f"{self.name} is gone: {call!r} could not be sent: {error}{self._see}"
            ) from error
        finally:
            self._waiting.pop(number, None)
        if "lost" in reply:
            raise self._unreachable(f"{self.name} is gone: the connection closed during {call!r}{self._see}")
        if "error" in reply:
            raise AgentRefusal(f"{self.name}: {call}: {reply['error']}")
        return reply["result"]

    def close(self) -> None:
        """Close our side; the agent then ends and undoes what it did."""
        with self._write_lock, contextlib.suppress(OSError):  # it was gone already
            self._writer.close()
        self._thread.join(timeout=10)

    def _send(self, message: Mapping[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        with self._write_lock:
            if self.closed.is_set():
                raise OSError("connection closed")
            self._writer.write(line)
            self._writer.flush()

    def _read(self) -> None:
        try:
            for line in self._reader:
                self._dispatch(line)
        except (OSError, ValueError):
            pass  # ends below like an orderly close
        self.closed.set()
        for waiting in list(self._waiting.values()):
            waiting.put({"lost": True})

    def _dispatch(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return  # a line cut by a lost connection
        if "id" in message:
            if waiting := self._waiting.get(message["id"]):
                waiting.put(message)
        elif self.receiver is not None:
            deliver(message, self.receiver)


def deliver(message: Mapping[str, Any], receiver: Receiver) -> None:
    """Pass one event or rows message on."""
    if "event" in message:
        receiver.event(message["event"], message["data"])
    elif "rows" in message:
        receiver.rows(message["rows"], {name: unpacked(c) for name, c in message["columns"].items()})


def unpacked(column: list[str]) -> NDArray[Any]:
    """A column sent as [dtype, base64]."""
    dtype, data = column
    return np.frombuffer(base64.b64decode(data), np.dtype(dtype))
