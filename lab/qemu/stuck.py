"""Where the processors of a guest are that does not answer while its QEMU lives.

Source: QEMU docs/interop/qemu-qmp-ref, query-cpus-fast, human-monitor-command; seen with QEMU 11.1.3.
"""

import re
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

LOOKS, APART_S = 5, 0.2
"""One look tells nothing: a processor that spins is found in the same few functions again and again."""
STACK_WORDS = 128
REPLY_TIMEOUT_S = 2.0
_CPU = re.compile(r"(?=^CPU#\d+)", re.MULTILINE)
_KERNEL_TEXT = 0xFFFF_FFFF_8000_0000

Symbols = Sequence[tuple[int, str]]


class Qmp(Protocol):
    """What is needed of lab.qemu.monitor.Monitor."""

    def execute(
        self, command: str, arguments: Mapping[str, Any] | None = None, timeout_s: float = ..., /
    ) -> Any: ...


def where_it_is(qmp: Qmp, symbols: Symbols = ()) -> dict[str, Any]:
    """What QEMU tells of a guest's processors: {status, cpus, looks, stack, errors}; never raises.

    cpus:   query-cpus-fast
    looks:  five looks at the registers, 0.2 s apart: of each processor {rip, at, halted, cpl, interrupts_on}
    stack:  of the first processor, what looks like return addresses of its kernel, newest first
    errors: what could not be asked
    """
    found: dict[str, Any] = {"errors": []}
    for name, command in (("status", "query-status"), ("cpus", "query-cpus-fast")):
        found[name] = _asked(found, qmp, command)
    found["looks"] = []
    for number in range(LOOKS):
        time.sleep(APART_S if number else 0)
        text = _asked(found, qmp, "human-monitor-command", {"command-line": "info registers -a"})
        if not isinstance(text, str):
            break
        found["looks"].append([_processor(part, symbols) for part in _CPU.split(text) if part.strip()])
        if number == 0:
            found["stack"] = _stack(found, qmp, text, symbols)
    return found


def read_symbols(system_map: Path) -> Symbols:
    """The functions of a kernel, by address; none if the file cannot be read."""
    with suppress(OSError, ValueError):
        lines = (line.split() for line in system_map.read_text(encoding="ascii").splitlines())
        return sorted((int(at, 16), name) for at, kind, name in lines if kind in "tTwW")
    return ()


def named(address: int, symbols: Symbols) -> str:
    """function+offset, or the address."""
    number = bisect_right(symbols, (address, "\x7f")) - 1
    if address < _KERNEL_TEXT or number < 0:
        return f"{address:#x}"
    return f"{symbols[number][1]}+{address - symbols[number][0]:#x}"


def _asked(found: dict[str, Any], qmp: Qmp, command: str, arguments: dict[str, Any] | None = None) -> Any:
    try:
        return qmp.execute(command, arguments, REPLY_TIMEOUT_S)
    except Exception as error:  # the guest's trouble is told already; this only adds to it
        found["errors"].append(f"{command}: {type(error).__name__}: {error}")
        return None


def _processor(text: str, symbols: Symbols) -> dict[str, Any]:
    words = dict(re.findall(r"\b(RIP|EIP|RFL|EFL|HLT|CPL)=([0-9a-f]+)", text))
    rip = int(words.get("RIP") or words.get("EIP") or "0", 16)
    flags = int(words.get("RFL") or words.get("EFL") or "0", 16)
    return {
        "rip": f"{rip:#x}",
        "at": named(rip, symbols),
        "halted": words.get("HLT") == "1",
        "cpl": int(words.get("CPL", "0")),
        "interrupts_on": bool(flags & 0x200),
    }


def _stack(found: dict[str, Any], qmp: Qmp, text: str, symbols: Symbols) -> list[str]:
    pointer = re.search(r"\bRSP=([0-9a-f]+)", text)
    if pointer is None:
        return []
    line = f"x /{STACK_WORDS}gx 0x{pointer[1]}"
    words = _asked(found, qmp, "human-monitor-command", {"command-line": line})
    told = re.findall(r"0x(ffffffff[89a-f][0-9a-f]{7})\b", str(words))
    return [named(int(word, 16), symbols) for word in told]
