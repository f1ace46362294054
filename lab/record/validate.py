"""Hold a run record against its JSON Schemas (lab/record/schemas).

jsonschema is a development dependency: nothing that runs a case imports this.
"""

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from lab.record.case import MEASUREMENTS, VERDICTS

KINDS = ("run", "timeline-line", "verdicts", "measurements", "calibration")


def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of run.json, a line of timeline.jsonl, or another file named as its kind."""
    found: dict[str, Any] = json.loads((files("lab.record") / "schemas" / f"{kind}.json").read_text("utf-8"))
    return found


def problems(run: Path) -> list[str]:
    """What in a run record does not follow the schemas, a line each: file, place, reason."""
    found = list(_of_file(run / "run.json", "run"))
    if (calibration := run / "calibration.json").exists():
        found += _of_file(calibration, "calibration")
    for timeline in sorted(run.glob("*/timeline.jsonl")):
        found += _of_timeline(timeline)
        for name, kind in ((VERDICTS, "verdicts"), (MEASUREMENTS, "measurements")):
            if (timeline.parent / name).exists():
                found += _of_file(timeline.parent / name, kind)
    return found


def _of_file(path: Path, kind: str) -> Iterator[str]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield f"{path}: {error}"
        return
    for fault in Draft202012Validator(schema(kind)).iter_errors(read):
        yield f"{path}: {fault.json_path}: {fault.message}"


def _of_timeline(path: Path) -> Iterator[str]:
    validator = Draft202012Validator(schema("timeline-line"))
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    # a crash may cut the last line short: Timeline.load drops it too
    for number, line in enumerate(lines[: len(lines) - (bool(lines) and not lines[-1].endswith("\n"))], 1):
        try:
            read = json.loads(line)
        except ValueError as error:
            yield f"{path}:{number}: {error}"
            continue
        for fault in validator.iter_errors(read):
            yield f"{path}:{number}: {fault.json_path}: {fault.message}"
