"""The verdicts and measurements of a case, in its folder.

verdicts.json      [{checker, outcome, summary, evidence, claim}]; claim = how the checker was
                   configured, {checker, args}, or null if it is not one of lab.checkers
measurements.json  [{name, value, unit, clock}]
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.checkers import as_json
from lab.errors import LabUsageError
from lab.measure import Measurement, measure
from lab.timeline import Timeline
from lab.verdict import Checker, Outcome, Verdict

VERDICTS = "verdicts.json"
MEASUREMENTS = "measurements.json"


@dataclass(frozen=True)
class Recorded:
    """A recorded verdict, and the claim it judges."""

    verdict: Verdict
    claim: dict[str, Any] | None


def write_verdicts(
    folder: Path, timeline: Timeline, checkers: Sequence[Checker], verdicts: Sequence[Verdict]
) -> list[Measurement]:
    """Write what was judged, and what can be measured; returns the measurements.

    A crash while measuring leaves the verdicts as they are and no measurements.
    """
    rows = [v.as_json() | {"claim": as_json(c)} for c, v in zip(checkers, verdicts, strict=True)]
    _write(folder / VERDICTS, rows)
    try:
        measurements = measure(timeline)
    except (ValueError, KeyError, TypeError):  # damaged evidence is a verdict's matter, not this one's
        measurements = []
    _write(folder / MEASUREMENTS, [m.as_json() for m in measurements])
    return measurements


def read_verdicts(folder: Path) -> list[Recorded]:
    """The recorded verdicts; none if nothing was judged.

    Raises:
        LabUsageError: if verdicts.json is damaged.
    """
    path = folder / VERDICTS
    if not path.exists():
        return []
    try:
        return [_recorded(row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabUsageError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def _recorded(row: dict[str, Any]) -> Recorded:
    evidence = tuple(int(index) for index in row["evidence"])
    verdict = Verdict(row["checker"], Outcome(row["outcome"]), row["summary"], evidence)
    return Recorded(verdict, row.get("claim"))


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
