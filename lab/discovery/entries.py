"""One labgrid resource as both files have it, and how text is made safe for them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.discovery.sorting import Offer, is_disk

_PLAIN = re.compile(r"[A-Za-z~/][A-Za-z0-9_./~-]*")
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
_FLOW_COLUMNS = 100
# labgrid's exporter file is a template of Jinja's: what a host calls itself must not be run
_JINJA = str.maketrans("{}", "()")


@dataclass(frozen=True)
class Entry:
    """A labgrid resource.

    arguments: flat, as labgrid 26 sends nothing else from an exporter
    facts:     for the exporter file only, where people choose by them; in a target file they are comments
    comments:  lines above it
    off:       written down as a comment, for somebody to switch on
    """

    cls: str
    name: str
    arguments: Mapping[str, Any]
    facts: Mapping[str, Any]
    comments: tuple[str, ...] = ()
    off: bool = False


def function_entry(offer: Offer, wire: str = "") -> Entry:
    """An offered function.

    wire: what its cable leads to, if that is known
    """
    function = offer.function
    arguments: dict[str, Any] = {"bdf": function["bdf"], "ids": function["ids"]}
    if is_disk(function):
        [disk] = function["disks"]
        arguments |= {f"disk_{key}": disk[key] for key in ("model", "serial", "bytes")}
    if any(one["kind"] == "no-reset" for one in function["objections"]):
        arguments["without_reset"] = True
    if wire:
        arguments["wire"] = wire
    facts = {
        "about": safe(function["model"]),
        "driver": safe(function["driver"] or ""),
        "group": str(function["iommu_group"]),
        "numa_node": _number(function["numa_node"], -1),
        "sriov_vfs": _number(function["sriov_totalvfs"], 0),
        "resets": " ".join(function["reset_methods"]),
    }
    comments = [describes(function), *(safe(f"  {line}") for line in _parts(function))]
    if offer.doubts:
        comments += [f"SWITCHED OFF: {safe(doubt)}" for doubt in offer.doubts]
    elif str(function["class"]).startswith("0x02") and not wire:
        comments.append(
            "TODO: `wire: NAME`, the FarPort its cable leads to; without it no load drives this NIC"
        )
    return Entry("AssignableFunction", offer.name, arguments, facts, tuple(comments), bool(offer.doubts))


def describes(function: Mapping[str, Any]) -> str:
    """One line that says what a function is."""
    others = [bdf for bdf in function["group_members"] if bdf != function["bdf"]]
    words = [
        f"class {function['class']}",
        f"driver {function['driver'] or 'none'}",
        f"IOMMU group {function['iommu_group'] or 'none'}" + (f" with {', '.join(others)}" if others else ""),
        f"reset by {' '.join(function['reset_methods']) or 'nothing'}",
    ]
    if _number(function["numa_node"], -1) >= 0:
        words.append(f"NUMA node {function['numa_node']}")
    if function["sriov_totalvfs"]:
        words.append(f"SR-IOV of {function['sriov_totalvfs']}")
    return safe(f"{function['bdf']} {function['model'] or function['ids']}: {', '.join(words)}")


def safe(text: str) -> str:
    """Text of a host as one line of a comment or a value that no parser takes for anything else."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in text.translate(_JINJA))
    return printable.rstrip()


def scalar(value: Any) -> str:
    """A value in YAML."""
    if isinstance(value, bool) or not isinstance(value, str):
        return json.dumps(value)
    return value if _PLAIN.fullmatch(value) and value.lower() not in _WORDS else json.dumps(value)


def mapping(arguments: Mapping[str, Any], column: int) -> list[str]:
    """Arguments in YAML: in one line if there is room for it behind `column`, else one a line."""
    lines = [f"{key}: {scalar(value)}" for key, value in arguments.items()]
    flow = f"{{{', '.join(lines)}}}"
    return [flow] if column + len(flow) <= _FLOW_COLUMNS else lines


def _parts(function: Mapping[str, Any]) -> list[str]:
    """What the host has on it, a line each."""
    cable = {True: "its cable leads somewhere", False: "no link", None: "down"}
    parts = [f"{one['name']}, {one['mac']}, {cable[one['carrier']]}" for one in function["interfaces"]]
    parts += [
        f"{one['disk']}, {one['model']}, serial {one['serial']}, {one['bytes']} bytes"
        for one in function["disks"]
    ]
    return parts


def _number(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value
