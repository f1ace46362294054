"""What a calibration leaves, and what later runs stand on."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from lab.calibration.bound import in_words
from lab.calibration.certificate import certificate, header, issue, place, rests_on, standing
from lab.calibration.matrix import of_run, together
from lab.cli.calibrate import calibrate
from lab.cli.recording import Ran
from lab.errors import LabUsageError
from lab.faults.catalogue import FAULTS
from lab.record.validate import problems
from lab.report.html import environment
from lab.run_record import commit_of, now

from .calibration_runs import (
    CAUGHT,
    CLEAN,
    FAIL,
    MISSED,
    PASS,
    UNKNOWN,
    Said,
    run_of,
)


def test_a_calibration_names_the_runs_that_it_rests_on(tmp_path: Path) -> None:
    earlier, run = run_of(tmp_path / "a", [CAUGHT]), run_of(tmp_path / "b", [CLEAN])
    with pytest.raises(LabUsageError, match="/a is no calibration that can be gone on with"):
        rests_on(earlier)
    found = together([earlier, run], wanted=["drop"])
    written = certificate(run, found, earlier=[earlier], left_out=["reset"])
    assert (written["runs"], written["left_out"], written["passed"]) == (["a", "b"], ["reset"], True)
    (run / "calibration.json").write_text(json.dumps(written))
    assert rests_on(run) == [earlier, run]
    (run / "calibration.json").write_text("{")
    with pytest.raises(LabUsageError, match=r"calibration\.json is damaged"):
        rests_on(run)


VIRTUAL = Path(__file__).parents[2] / "targets" / "virtual.yaml"
STANDING = {
    "missing": (None, "bench virtual was never calibrated here; cprlab calibrate"),
    "too old": ({"made": "2020-01-01T00:00:00+00:00"}, "days old, 30 are allowed; cprlab calibrate"),
    "of another lab": ({"lab": "abc"}, "was calibrated by the lab's version abc, this is "),
    "good": ({}, "c-1 of 20"),
}


@pytest.mark.parametrize("case", STANDING)
def test_the_header_of_a_run_and_its_report_say_what_it_stands_on(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    lab, (held, says) = commit_of(VIRTUAL.parent), STANDING[case]
    if held is not None:
        place("virtual").parent.mkdir(parents=True)
        place("virtual").write_text(json.dumps({"run_id": "c-1", "made": now(), "lab": lab} | held))
    assert says in header(VIRTUAL)
    record = {"bench": {"name": "virtual"}, "certificate": standing("virtual", lab, 30)}
    assert says in environment(record)["calibration"]


def test_a_certificate_holds_every_fault_and_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    run = run_of(tmp_path / "run", [CAUGHT, CLEAN])
    found = of_run(run)
    written = certificate(run, found)
    path = issue(run, written)
    assert json.loads(path.read_text()) == json.loads(place("virtual").read_text()) == written
    assert written["faults"] == [
        {"name": "drop", "expected": ["dma"], "caught": True, "by": ["dma"], "sentence": "dma: FAIL"}
        | {"missed": [], "blamed": []}
    ]
    assert in_words(written["bound"]).startswith("0 of 1 clean runs were not green: fewer than 95.0%")


def test_the_command_goes_on_where_it_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces of all faults make a certificate; what was judged in one is not planted in the next."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("lab.cli.calibrate.prepare_images", lambda bench: None)
    monkeypatch.setattr("lab.cli.run.make_report", lambda folder: None)
    asked: list[list[str]] = []

    def record_run(folder: Path, bench: Path, cases: list[str], options: list[str], tell: Any) -> Ran:
        faults, clean = options[1].split(","), int(options[3])
        asked.append(faults)
        ran = faults[:20]  # interrupted by then
        planted = [("calibration.fault", FAULTS[name].expected(name), _as_expected(name)) for name in ran]
        runs = [("calibration.clean", {"number": n}, {"dma": PASS}) for n in range(clean)]
        return Ran(run_of(folder, [*planted, *(runs if ran == faults else [])]), 0, interrupted=ran != faults)

    monkeypatch.setattr("lab.cli.recording.record_run", record_run)
    monkeypatch.setattr("lab.cli.recording.new_folder", lambda runs_dir: tmp_path / f"run{len(asked) + 1}")
    application = typer.Typer()
    application.command()(calibrate)
    pieces = -(-len(FAULTS) // 20)
    for number in range(1, pieces + 1):
        resume = ["--resume", str(tmp_path / f"run{number - 1}")] if number > 1 else []
        done = CliRunner().invoke(application, ["--clean", "3", *resume])
        last = number == pieces
        assert done.exit_code == (0 if last else 130), done.output
        assert ("still to be planted" in done.output) is not last
    assert [name for piece in asked for name in piece[:20]] == list(FAULTS)
    held = json.loads(place("virtual").read_text())
    assert held["passed"] and len(held["faults"]) == len(FAULTS) and len(held["runs"]) == pieces
    assert held["bound"]["clean_runs"] == 3 and not held["missing"]
    for number in range(1, pieces + 1):
        assert not [p for p in problems(tmp_path / f"run{number}") if "calibration.json" in p]


def _as_expected(name: str) -> Said:
    fault = FAULTS[name]
    return dict.fromkeys(fault.refutes, FAIL) | dict.fromkeys(fault.unknown, UNKNOWN)


def test_a_calibration_that_failed_is_no_ground_to_stand_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    run = run_of(tmp_path / "run", [MISSED, CLEAN])
    issue(run, certificate(run, of_run(run)))
    assert not place("virtual").exists()
    assert "never calibrated" in standing("virtual", "abc", 30)["remark"]


def test_a_run_says_why_it_stands_on_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    run = run_of(tmp_path / "run", [CAUGHT, CLEAN])
    written = certificate(run, of_run(run))
    issue(run, written)
    made = datetime.fromisoformat(written["made"])
    good = standing("virtual", "abc", 30, made + timedelta(days=29))
    assert good == {"run_id": "run", "made": written["made"], "remark": ""}
    assert "31 days old" in standing("virtual", "abc", 30, made + timedelta(days=31))["remark"]
    assert "version abc, this is def" in standing("virtual", "def", 30, made)["remark"]
    place("virtual").write_text("{}")
    assert "damaged" in standing("virtual", "abc", 30, made)["remark"]
