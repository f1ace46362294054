"""Single commands to the QMP monitor of the bench host's own QEMU; no events, no guest QEMU.

The guest's QMP is evidence and lives in lab/qemu with qemu.qmp; this one only switches a machine.
"""

import json
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.errors import BenchError


def execute(
    path: Path, command: str, arguments: Mapping[str, Any] | None = None, *, timeout_s: float = 10.0
) -> Any:
    """Connect, run one command, return its result.

    Raises:
        BenchError: nobody answers, or QEMU refuses the command.
    """
    try:
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(timeout_s)
            monitor.connect(str(path))
            with monitor.makefile("rwb") as wire:
                _reply(wire)  # the greeting
                for request in (
                    {"execute": "qmp_capabilities"},
                    {"execute": command, "arguments": arguments or {}},
                ):
                    wire.write(json.dumps(request).encode() + b"\n")
                    wire.flush()
                    answer = _reply(wire)
    except OSError as error:
        raise BenchError(f"QEMU of the bench host does not answer {command!r} on {path}: {error}") from error
    if "error" in answer:
        raise BenchError(f"QEMU of the bench host refused {command!r}: {answer['error']['desc']}")
    return answer["return"]


def forwarded_port(path: Path) -> int:
    """The loopback port that QEMU's user network forwards to the bench host's ssh."""
    table = str(execute(path, "human-monitor-command", {"command-line": "info usernet"}))
    if found := re.search(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+22\b", table):
        return int(found[1])
    raise BenchError(
        f"QEMU of the bench host forwards no port to ssh; info usernet says: {' '.join(table.split())}"
    )


def _reply(wire: Any) -> dict[str, Any]:
    """The next message that is no event."""
    while line := wire.readline():
        message: dict[str, Any] = json.loads(line)
        if "event" not in message:
            return message
    raise ConnectionResetError("it closed the connection")
