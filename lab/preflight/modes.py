"""The modes of update that a QEMU knows."""

from collections.abc import Mapping, Sequence
from typing import Any

from lab.errors import LabUsageError

SINCE: Mapping[str, tuple[int, int]] = {"cpr-reboot": (8, 2), "cpr-transfer": (10, 0), "cpr-exec": (10, 2)}
"""The release that each came with (QEMU qapi/migration.json, MigMode)."""
JUDGED = ("cpr-exec", "cpr-transfer")
"""The modes that preflight has rules for: the others start the guest's devices anew."""


def cpr_modes(schema: Sequence[Mapping[str, Any]]) -> set[str]:
    """The migration modes of a QEMU, from its `query-qmp-schema` (enum MigMode).

    The schema hides type names, so the enum is known by its members: MigMode alone holds
    "normal" and "cpr-reboot" (since 8.2).
    """
    enums = ({m["name"] for m in entry["members"]} for entry in schema if entry["meta-type"] == "enum")
    return next((members for members in enums if {"normal", "cpr-reboot"} <= members), set())


def require_mode(mode: str, modes: set[str] | frozenset[str], version: str) -> None:
    """Refuse a QEMU that has no such mode.

    Raises:
        LabUsageError: naming the modes it has.
    """
    if mode not in modes:
        has = ", ".join(sorted(modes)) or "no CPR mode at all"
        raise LabUsageError(
            f"QEMU {version} does not know {mode}, it has: {has}; cpr-exec needs 10.2 or newer"
        )
