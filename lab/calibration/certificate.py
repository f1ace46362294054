"""The certificate: what a calibration of a bench showed, and whether a later run may stand on it."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab.calibration.bound import CONFIDENCE, rate_below
from lab.calibration.matrix import Calibration
from lab.drivers import target_file
from lab.drivers.run_dirs import state_dir
from lab.errors import LabUsageError
from lab.run_record import commit_of, now, read_run

FILE = "calibration.json"
SCHEMA_VERSION = 1


def certificate(
    run: Path, found: Calibration, *, earlier: Sequence[Path] = (), left_out: Sequence[str] = ()
) -> dict[str, Any]:
    """What calibration.json says.

    earlier:  runs that it takes together with this one
    left_out: faults that are not planted on this bench, as nobody asked for them

    Raises:
        LabUsageError: the folder holds no run.
    """
    record = read_run(run)
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": record["run_id"],
        "runs": [*(one.name for one in earlier), record["run_id"]],
        "made": record["end"] or now(),
        "lab": record["commit"],
        "bench": record["bench"],
        "versions": record["versions"],
        "bound": {
            "clean_runs": len(found.clean),
            "alarms": found.alarms,
            "rate_below": round(rate_below(found.alarms, len(found.clean)), 6),
            "confidence": CONFIDENCE,
        },
        "missing": list(found.missing),
        "left_out": list(left_out),
        "faults": [row.as_json() for row in found.rows],
        "passed": found.passed,
    }


def rests_on(run: Path) -> list[Path]:
    """The runs that a calibration takes together, this one included, to go on with it.

    Raises:
        LabUsageError: it is no calibration, or one of them is not beside it any more.
    """
    if not (run / FILE).exists():
        raise LabUsageError(f"{run} is no calibration that can be gone on with: it has no {FILE}")
    try:
        named = json.loads((run / FILE).read_text(encoding="utf-8"))["runs"]
        runs = [run.absolute().parent / str(name) for name in named]
    except (OSError, ValueError, KeyError, TypeError) as damage:
        raise LabUsageError(f"{run / FILE} is damaged: {type(damage).__name__}: {damage}") from damage
    for earlier in runs:
        read_run(earlier)
    return runs


def place(bench: str) -> Path:
    """Where the last certificate of a bench is, by the bench's name."""
    return state_dir() / "calibration" / f"{bench}.json"


def issue(run: Path, written: Mapping[str, Any]) -> Path:
    """Write it into the run, and, if the calibration passed, as that of its bench."""
    text = json.dumps(written, indent=1) + "\n"
    path = _write(run / FILE, text)
    bench = (written.get("bench") or {}).get("name")
    if written["passed"] and bench:
        _write(place(str(bench)), text)
    return path


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    return partial.replace(path)


def standing(bench: str, lab: str | None, days: float, at: datetime | None = None) -> dict[str, Any]:
    """On which certificate a run on a bench stands: {run_id, made, remark}; remark is "" if on a good one.

    lab:  the commit of the lab that runs
    days: how old a certificate may be
    """
    try:
        held = json.loads(place(bench).read_text(encoding="utf-8"))
        made = datetime.fromisoformat(held["made"])
        run_id, by = str(held["run_id"]), held["lab"]
    except FileNotFoundError:
        return _stands(None, None, f"bench {bench} was never calibrated here; cprlab calibrate")
    except (OSError, ValueError, KeyError, TypeError) as damage:
        return _stands(None, None, f"{place(bench)} is damaged: {damage}; cprlab calibrate")
    age = (at or datetime.now(UTC)) - made
    if age.total_seconds() > days * 86400:
        remark = (
            f"the calibration of bench {bench} is {age.days} days old, {days:g} are allowed; cprlab calibrate"
        )
    elif by != lab:
        remark = f"bench {bench} was calibrated by the lab's version {by}, this is {lab}; cprlab calibrate"
    else:
        remark = ""
    return _stands(run_id, held["made"], remark)


def in_words(held: Mapping[str, Any]) -> str:
    """What `standing` found: the calibration that a run stands on, or why on none."""
    return str(held["remark"] or f"{held['run_id']} of {held['made']}")


def header(target: Path) -> str:
    """The same of a target file's bench and this lab.

    Raises:
        LabUsageError: the file is wrong.
    """
    file, lab = target_file.load(target), commit_of(Path(__file__).parent)
    return in_words(standing(file.name, lab, file.options.limits.calibration_days))


def _stands(run_id: str | None, made: str | None, remark: str) -> dict[str, Any]:
    return {"run_id": run_id, "made": made, "remark": remark}
