"""pause.json of a run: written once, and the same when it is made again from the record."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.errors import LabUsageError
from lab.pause.analysis import Analysis, analyse
from lab.pause.plan import Point
from lab.pause.questions import VIRTUAL, answered
from lab.pause.samples import Sample, by_point, of_run, select
from lab.run_record import read_run

FILE = "pause.json"


OTHERS = "runs"
"""Key of the other runs whose samples are counted, by their names; they lie beside this one."""


def analysed(run: Path, others: Sequence[Path] = ()) -> Analysis:
    """The analysis of a run and others, from their timelines alone.

    Of a point that several runs have, the one with most samples of it counts alone.

    Raises:
        LabUsageError: a folder holds no run.
    """
    best: dict[Point, list[Sample]] = {}
    for one in (*others, run):
        for point, samples in by_point(of_run(one)).items():
            if len(samples) >= len(best.get(point, ())):
                best[point] = samples
    return analyse([sample for samples in best.values() for sample in samples])


def measured(run: Path, modes: Sequence[str], repeats: int) -> list[Point]:
    """The points of which a run has as many updates of each mode as are asked for.

    Raises:
        LabUsageError: the folder holds no run.
    """
    found = []
    for point, samples in by_point(of_run(run)).items():
        asked = ("cpr-exec",) if point.cost else modes
        if all(len(select(samples, point, mode)) >= repeats for mode in asked):
            found.append(point)
    return found


def as_json(run: Path, found: Analysis, others: Sequence[Path] = ()) -> dict[str, Any]:
    """What pause.json says."""
    bench = read_run(run).get("bench")
    emulated = "tcg" in json.dumps(bench).lower()
    answers = [answer.as_json() for answer in answered(found)]
    return {
        **found.as_json(),
        OTHERS: [other.name for other in others],
        "bench": bench,
        "answers": answers if emulated else [{**answer, "hardware": ""} for answer in answers],
        "limits": VIRTUAL if emulated else "",
    }


def write(run: Path, found: Analysis, others: Sequence[Path] = ()) -> Path:
    """Write it."""
    partial = run / f".{FILE}.partial"
    partial.write_text(json.dumps(as_json(run, found, others), indent=1) + "\n", encoding="utf-8")
    return partial.replace(run / FILE)


def differences(run: Path) -> list[str]:
    """How the numbers of pause.json differ from those that the record gives; none without such a file."""
    if not (run / FILE).exists():
        return []
    try:
        recorded = json.loads((run / FILE).read_text(encoding="utf-8"))
        others = [run.absolute().parent / name for name in recorded.get(OTHERS, [])]
    except (ValueError, AttributeError, TypeError) as damage:
        return [f"{FILE} is damaged: {damage}"]
    try:
        again = json.loads(json.dumps(as_json(run, analysed(run, others), others)))
    except LabUsageError as missing:
        return [f"{FILE}: {missing}"]
    return [f"{FILE}: {key} differs" for key in again if recorded.get(key) != again[key]]
