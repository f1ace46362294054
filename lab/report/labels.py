"""The Allure labels of a case: where it stands in the report, and how much its failure would hurt.

Pure. Only what stays the same from run to run may reach a parameter: Allure's history is keyed by
them (allure-python#744). Host, BDF and versions are labels.
"""

from collections.abc import Mapping
from typing import Any

from lab.timeline import Timeline

SEVERITY = {
    "dma_intact": "blocker",
    "same_guest": "blocker",
    "update_completed": "blocker",
    "pages_stayed_pinned": "critical",
    "pfns_unchanged": "critical",
    "mappings_kept": "critical",
    "device_not_reset": "critical",
    "interrupts_flow": "critical",
    "qemu_replaced_in_place": "critical",
    "chardev": "normal",
    "guest_pause": "normal",
    "logs_clean": "normal",
}
"""By kind of damage: wrong data or a lost guest, a lost guarantee, an inconvenience."""

ORDER = ["blocker", "critical", "normal", "minor", "trivial"]


def severity(checkers: list[str]) -> str:
    """The worst that could come of the claims that were judged; names match from their start."""
    found = {level for name in checkers for prefix, level in SEVERITY.items() if name.startswith(prefix)} or {
        "normal"
    }
    return min(found, key=ORDER.index)


def labels(timeline: Timeline) -> dict[str, str]:
    """Labels by name, for what the timeline knows."""
    found: dict[str, str] = {}
    for event in timeline.events:
        if event.kind == "case":
            found |= _of_case(event.data)
        elif event.kind == "cpr.invoke":
            found["epic"] = str(event.data.get("mode", "control"))
        elif event.kind == "versions":
            found |= {name: str(value) for name, value in event.data.items() if value}
        elif event.kind == "host.device":
            found["bdf"] = str(event.data.get("bdf"))
    return {"epic": "control", **found}


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
