"""Run records of calibrations, made by hand."""

import json
from pathlib import Path
from typing import Any

from lab.verdict import Outcome

FAIL, PASS, UNKNOWN = Outcome.FAIL, Outcome.PASS, Outcome.UNKNOWN
Said = dict[str, Outcome]


def run_of(folder: Path, cases: list[tuple[str, dict[str, Any], Said]]) -> Path:
    """A run record of cases, each with one event and what its checkers said."""
    folder.mkdir()
    told = []
    for number, (kind, data, said) in enumerate(cases):
        case = folder / f"case{number}"
        case.mkdir()
        line = {"index": 0, "t_ns": 1, "kind": kind, "data": data}
        (case / "timeline.jsonl").write_text(json.dumps(line) + "\n")
        rows = [
            {"checker": n, "outcome": str(o), "summary": f"{n}: {o}", "evidence": []} for n, o in said.items()
        ]
        (case / "verdicts.json").write_text(json.dumps(rows))
        status = "passed" if all(o is PASS for o in said.values()) else "failed"
        reason = f"BenchError: {data['breaks']}" if data.get("breaks") else ""
        told.append({"nodeid": f"t::{number}", "folder": case.name, "status": status, "reason": reason})
    record: dict[str, Any] = {"bench": {"name": "virtual"}, "versions": {"qemu_new": "11.1.3"}}
    record |= {"run_id": folder.name, "end": "2026-11-24T03:00:00.000+00:00", "commit": "abc", "cases": told}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


CAUGHT = (
    "calibration.fault",
    {"name": "drop", "refutes": ["dma"], "spares": True},
    {"dma": FAIL, "pins": PASS},
)
MISSED = (
    "calibration.fault",
    {"name": "flip", "refutes": ["dma"], "spares": True},
    {"dma": PASS, "pins": PASS},
)
CLEAN = ("calibration.clean", {"number": 1}, {"dma": PASS, "pins": PASS})
ALARM = ("calibration.clean", {"number": 2}, {"dma": UNKNOWN, "pins": PASS})
SILENT: tuple[str, dict[str, Any], Said] = ("calibration.clean", {"number": 3}, {})


ONCE_MORE = ("calibration.fault", CAUGHT[1], {"dma": PASS, "pins": PASS})
UNJUDGED: tuple[str, dict[str, Any], Said] = ("calibration.fault", CAUGHT[1], {})
BROKEN_OFF: tuple[str, dict[str, Any], Said] = (
    "calibration.fault",
    {"name": "full", "spares": True, "breaks": "no room"},
    {},
)
