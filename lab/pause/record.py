"""pause.json of a run: written once, and the same when it is made again from the record."""

import json
from pathlib import Path
from typing import Any

from lab.pause.analysis import Analysis, analyse
from lab.pause.answers import VIRTUAL, answers
from lab.pause.samples import of_run
from lab.run_record import read_run

FILE = "pause.json"


def analysed(run: Path) -> Analysis:
    """The analysis of a run, from its timelines alone.

    Raises:
        LabUsageError: the folder holds no run.
    """
    return analyse(of_run(run))


def as_json(run: Path, found: Analysis) -> dict[str, Any]:
    """What pause.json says."""
    bench = read_run(run).get("bench")
    emulated = "tcg" in json.dumps(bench).lower()
    return {
        **found.as_json(),
        "bench": bench,
        "answers": answers(found),
        "limits": VIRTUAL if emulated else "",
    }


def write(run: Path, found: Analysis) -> Path:
    """Write it."""
    partial = run / f".{FILE}.partial"
    partial.write_text(json.dumps(as_json(run, found), indent=1) + "\n", encoding="utf-8")
    return partial.replace(run / FILE)


def differences(run: Path) -> list[str]:
    """How the numbers of pause.json differ from those that the record gives; none without such a file."""
    if not (run / FILE).exists():
        return []
    try:
        recorded = json.loads((run / FILE).read_text(encoding="utf-8"))
    except ValueError as damage:
        return [f"{FILE} is damaged: {damage}"]
    again = json.loads(json.dumps(as_json(run, analysed(run))))
    return [f"{FILE}: {key} differs" for key in again if recorded.get(key) != again[key]]
