"""The Allure labels of a case: where it stands in the report, and how much its failure would hurt.

Pure. Only what stays the same from run to run may reach a parameter: Allure's history is keyed by
them (allure-python#744). Host, BDF and versions are labels.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from lab.timeline import Timeline

SEVERITY = {
    "dma": "blocker",
    "medium": "blocker",
    "frames": "blocker",
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

PLACES = ("epic", "feature", "story", "parentSuite", "suite", "subSuite", "severity", "host", "thread")
"""What Allure itself reads; a parameter of such a name must not move the case."""
ORDER = ["blocker", "critical", "normal", "minor", "trivial"]


def severity(checkers: Iterable[str]) -> str:
    """The worst that could come of the claims that were judged, by how their names begin."""
    plain = [_plain(name) for name in checkers]
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


def titled(timeline: Timeline, name: str) -> str:
    """The case's name, and those words of its parameters that it does not hold yet."""
    words = [value for value in _parameters(timeline).values() if isinstance(value, str)]
    missing = [word for word in dict.fromkeys(words) if _plain(word) not in _plain(name)]
    return f"{name}: {', '.join(missing)}" if missing else name


def _of_case(data: Mapping[str, Any]) -> dict[str, str]:
    """Where it stands, and a label for each parameter, whatever they are called."""
    parameters = _parameters_of(data)
    bench = str(data.get("bench", "unknown bench"))
    story = " ".join(str(data.get("claim", "")).split())
    return {
        **{name: str(value) for name, value in parameters.items() if name not in PLACES},
        "feature": _first(parameters, ("backend",), "no back-end"),
        "story": story.split(". ")[0].rstrip(".") or "no claim",
        "parentSuite": bench,
        "suite": _first(parameters, ("devices", "row"), "no device"),
        "bench": bench,
    }


def _parameters(timeline: Timeline) -> Mapping[str, Any]:
    cases = timeline.of("case")
    return _parameters_of(cases[-1].data) if cases else {}


def _parameters_of(data: Mapping[str, Any]) -> Mapping[str, Any]:
    told = data.get("parameters")
    return told if isinstance(told, Mapping) else {}


def _first(parameters: Mapping[str, Any], names: Iterable[str], otherwise: str) -> str:
    return next((str(parameters[name]) for name in names if parameters.get(name)), otherwise)


def _plain(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())
