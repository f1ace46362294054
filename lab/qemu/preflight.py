"""What must hold before cpr-exec, because QEMU accepts the update without it and loses the guest.

Pure: argv and a QMP schema in, findings out. Figures from QEMU 10.2 to 11.1 (run on 11.1.3).
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.errors import LabUsageError

EPC = "memory-backend-epc"
"""Memory of SGX enclaves; QEMU docs/devel/migration/CPR.rst names it as unsupported, no blocker does."""


@dataclass(frozen=True)
class Finding:
    """One reason not to update, and the remedy."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}"


def findings(argv: Sequence[str]) -> list[Finding]:
    """What in this QEMU command line would lose the guest silently in cpr-exec."""
    machine = _options(argv, "-machine", "-M")
    found = []
    if machine.get("aux-ram-share") != "on":
        found.append(
            Finding(
                "-machine lacks aux-ram-share=on: option ROMs, VGA and other auxiliary RAM come back empty",
                "add aux-ram-share=on to -machine",
            )
        )
    every = [_split(value) for value in _values(argv, "-object") if value.startswith("memory-backend-")]
    found += [_enclave(b) for b in every if b.get("") == EPC]
    backends = [b for b in every if b.get("") != EPC]
    main = machine.get("memory-backend")
    shared = {b.get("id") for b in backends if _shared(b)}
    if main not in shared:
        found.append(
            Finding(
                f"guest RAM (memory-backend={main or 'none'}) is not shared: it is zero after the exec",
                "use -object memory-backend-memfd,id=ram0,share=on,... and -machine memory-backend=ram0",
            )
        )
    private = [str(b.get("id")) for b in backends if not _shared(b) and b.get("id") != main]
    found += [
        Finding(f"memory backend {name} is not shared: it is zero after the exec", "add share=on to it")
        for name in private
    ]
    return found


def _enclave(backend: Mapping[str, str]) -> Finding:
    name = backend.get("id", "without id")
    reason = f"memory backend {name} is {EPC}, which CPR does not support (QEMU CPR.rst)"
    return Finding(reason, "give the guest no SGX memory")


def require_safe(argv: Sequence[str]) -> None:
    """Refuse an update that would lose the guest.

    Raises:
        LabUsageError: naming every finding.
    """
    if found := findings(argv):
        raise LabUsageError("refusing cpr-exec: " + " | ".join(map(str, found)))


def cpr_modes(schema: Sequence[Mapping[str, Any]]) -> set[str]:
    """The migration modes of a QEMU, from its `query-qmp-schema` (enum MigMode).

    The schema hides type names, so the enum is known by its members: MigMode alone holds
    "normal" and "cpr-reboot" (since 8.2).
    """
    enums = ({m["name"] for m in entry["members"]} for entry in schema if entry["meta-type"] == "enum")
    return next((members for members in enums if {"normal", "cpr-reboot"} <= members), set())


def require_mode(mode: str, schema: Sequence[Mapping[str, Any]], version: str) -> None:
    """Refuse a QEMU that has no such mode.

    Raises:
        LabUsageError: naming the modes it has.
    """
    modes = cpr_modes(schema)
    if mode not in modes:
        has = ", ".join(sorted(modes)) or "no CPR mode at all"
        raise LabUsageError(
            f"QEMU {version} does not know {mode}, it has: {has}; cpr-exec needs 10.2 or newer"
        )


def _values(argv: Sequence[str], *flags: str) -> list[str]:
    return [value for flag, value in itertools.pairwise(argv) if flag in flags]


def _options(argv: Sequence[str], *flags: str) -> dict[str, str]:
    merged: dict[str, str] = {}
    for value in _values(argv, *flags):
        merged |= _split(value)
    return merged


def _split(value: str) -> dict[str, str]:
    """`a,b=c` as {"": "a", "b": "c"}; a bare word after the first is a boolean that is on."""
    first, *rest = value.split(",")
    pairs = (word.partition("=") for word in rest)
    head = first.partition("=")
    start = {head[0]: head[2]} if head[1] else {"": first}
    return start | {key: (tail if mark else "on") for key, mark, tail in pairs}


def _shared(backend: Mapping[str, str]) -> bool:
    return backend.get("share") in {"on", "true", "yes"}
