"""The Allure labels of a case: where it stands in the report, and how much its failure would hurt.

Pure. Only what stays the same from run to run may reach a parameter: Allure's history is keyed by
them (allure-python#744). Host, BDF and versions are labels.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from lab.timeline import Timeline

SEVERITY = {
    "dma": "blocker",
    "sameguest": "blocker",
    "update": "blocker",
    "pages": "critical",
    "pinned": "critical",
    "pfns": "critical",
    "mapping": "critical",
    "device": "critical",
    "interrupt": "critical",
    "qemu": "critical",
    "chardev": "normal",
    "guestpause": "normal",
    "pause": "normal",
    "log": "normal",
}
"""By kind of damage: wrong data or a lost guest, a lost guarantee, an inconvenience."""

ORDER = ["blocker", "critical", "normal", "minor", "trivial"]


def severity(checkers: Iterable[str]) -> str:
    """The worst that could come of the claims that were judged, by how their names begin."""
    plain = ["".join(c for c in name.lower() if c.isalnum()) for name in checkers]
    found = {level for name in plain for start, level in SEVERITY.items() if name.startswith(start)}
    return min(found or {"normal"}, key=ORDER.index)


def labels(timeline: Timeline) -> dict[str, str]:
    """Labels by name, for what the timeline knows."""
    found: dict[str, str] = {}
    for event in timeline.events:
        if event.kind == "case":
            found |= _of_case(event.data)
        elif event.kind == "cpr.invoke":
            found["epic"] = str(event.data.get("mode", "control"))
        elif event.kind == "versions":
            found |= {name: short_version(value) for name, value in event.data.items() if value}
        elif event.kind == "host.device":
            found["bdf"] = str(event.data.get("bdf"))
    return {"epic": "control", **found}


def short_version(told: object) -> str:
    """What a program says of its version, without its name: that is told beside it."""
    return str(told).removeprefix("QEMU emulator version ")


def _of_case(data: Mapping[str, Any]) -> dict[str, str]:
    parameters = data.get("parameters") or {}
    bench = str(data.get("bench", "unknown bench"))
    story = " ".join(str(data.get("claim", "")).split())
    return {
        "feature": str(parameters.get("iommu", "no IOMMU back-end")),
        "story": story.split(". ")[0].rstrip(".") or "no claim",
        "parentSuite": bench,
        "suite": str(parameters.get("device", "NIC")),
        "bench": bench,
    }
