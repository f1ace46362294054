"""The agents' side of the wire to the controller: JSON objects, one a line.

Request  {"id": 7, "call": "spawn", "args": {...}}
Reply    {"id": 7, "result": ...}  or  {"id": 7, "error": "one line"}
Event    {"event": "log", "data": {...}}
Rows     {"rows": "pins", "columns": {"t_ns": ["<i8", "base64"], ...}}   a batch of a bulk table
"""

import base64
import json
import sys
import threading
from array import array
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

DTYPES = {"B": "|u1", "I": "<u4", "Q": "<u8", "q": "<i8"}
"""array.array type code -> NumPy dtype; the agents run on little-endian x86-64."""


class AgentError(Exception):
    """The agent could not do what it was asked; the text goes into the reply."""


class Wire:
    """Sends lines; safe to use from several threads."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def send(self, message: Mapping[str, Any]) -> None:
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            self._out.write(line)
            self._out.flush()

    def event(self, kind: str, **data: Any) -> None:
        self.send({"event": kind, "data": data})

    def rows(self, table: str, **columns: "array[Any]") -> None:
        self.send({"rows": table, "columns": {name: packed(column) for name, column in columns.items()}})


def packed(column: "array[Any]") -> list[str]:
    """A column as [NumPy dtype, base64 of its bytes]."""
    return [DTYPES[column.typecode], base64.b64encode(column.tobytes()).decode()]


def serve(requests: BinaryIO, wire: Wire, calls: Mapping[str, Callable[..., Any]]) -> None:
    """Answer requests, one after the other, until the controller closes the stream."""
    for line in requests:
        answer(line, wire, calls)


def answer(line: bytes, wire: Wire, calls: Mapping[str, Callable[..., Any]]) -> None:
    """Answer one request line; a line cut short by a broken connection is ignored."""
    try:
        request = json.loads(line)
    except ValueError:
        return
    try:
        result = calls[request["call"]](**request.get("args", {}))
    except Exception as error:  # the controller must hear of it, whatever it is
        text = str(error) if isinstance(error, AgentError) else f"{type(error).__name__}: {error}"
        wire.send({"id": request.get("id"), "error": text})
    else:
        wire.send({"id": request["id"], "result": result})


def standard_streams() -> tuple[BinaryIO, Wire]:
    """The controller's end of an ssh session: requests on stdin, everything else on stdout.

    Prints of the program itself go to stderr, so that they cannot break a line.
    """
    requests, wire = sys.stdin.buffer, Wire(sys.stdout.buffer)
    sys.stdout = sys.stderr
    return requests, wire
