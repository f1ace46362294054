"""Reads a case's folder of the run record; whatever is missing or damaged reads as nothing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lab.timeline import Event, Timeline
from lab.verdict import Outcome, Verdict


class Measured(Protocol):
    """What the report reads of a measurement, whoever made it."""

    @property
    def name(self) -> str: ...
    @property
    def value(self) -> float: ...
    @property
    def unit(self) -> str: ...
    @property
    def clock(self) -> str: ...


@dataclass(frozen=True)
class Measurement:
    """A number with its unit and the clock it was taken by."""

    name: str
    value: float
    unit: str
    clock: str


@dataclass(frozen=True)
class CaseFolder:
    """The evidence of one case."""

    path: Path

    def timeline(self) -> Timeline:
        """The timeline; an empty one if there is none that can be read."""
        try:
            return Timeline.load(self.path / "timeline.jsonl")
        except (OSError, ValueError):
            return Timeline((), None)

    def verdicts(self) -> list[Verdict]:
        """What was judged."""
        return [
            Verdict(v["checker"], Outcome(v["outcome"]), v["summary"], tuple(v["evidence"]))
            for v in self._json("verdicts.json")
        ]

    def claims(self) -> list[dict[str, Any]]:
        """What was judged, as it was written: with the configuration of each checker."""
        return [v for v in self._json("verdicts.json") if isinstance(v, dict)]

    def measurements(self) -> list[Measurement]:
        """The numbers."""
        return [
            Measurement(m["name"], float(m["value"]), m["unit"], m["clock"])
            for m in self._json("measurements.json")
        ]

    def qmp(self) -> list[Mapping[str, Any]]:
        """The QMP transcript, a line cut short by a crash left out."""
        lines = []
        for line in self.text("qmp.jsonl").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue
        return lines

    def text(self, name: str) -> str:
        """A text file; empty if there is none."""
        try:
            return (self.path / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def _json(self, name: str) -> list[Any]:
        try:
            found = json.loads(self.text(name) or "[]")
        except ValueError:
            return []
        return found if isinstance(found, list) else []


def last(timeline: Timeline, kind: str) -> Mapping[str, Any]:
    """The data of the last event of a kind; nothing if there is none."""
    found: Sequence[Event] = timeline.of(kind)
    return found[-1].data if found else {}


def old_argv(case: CaseFolder, timeline: Timeline) -> list[str]:
    """The command of old QEMU: event `qemu.start` {argv}, or `argv-old.json` in the folder."""
    argv = last(timeline, "qemu.start").get("argv")
    return [str(word) for word in (argv or case._json("argv-old.json"))]


def new_argv(timeline: Timeline) -> list[str]:
    """The command of new QEMU, as the last update asked for it."""
    return [str(word) for word in last(timeline, "cpr.invoke").get("argv", [])]
