"""The calibration matrix, the bound and the certificate, on hand-made runs."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lab.calibration.bound import in_words, rate_below
from lab.calibration.certificate import certificate, header, issue, place, rests_on, standing
from lab.calibration.matrix import Row, of_run, together
from lab.cli.calibrate import left_to_do, status
from lab.errors import LabUsageError
from lab.faults import wrapper
from lab.faults.catalogue import FAULTS, chosen
from lab.report.calibration_page import add_page, matrix
from lab.report.html import environment
from lab.run_record import commit_of, now
from lab.verdict import Outcome, Verdict

FAIL, PASS, UNKNOWN = Outcome.FAIL, Outcome.PASS, Outcome.UNKNOWN
Said = dict[str, Outcome]


def row(said: Said, refutes: Iterable[str] = ("dma",), reason: str = "", **facts: Any) -> Row:
    verdicts = [Verdict(name, outcome, f"{name} says {outcome}") for name, outcome in said.items()]
    return Row.of({"name": "fault", "refutes": refutes, "spares": True} | facts, verdicts, reason)


TRUTH: dict[str, tuple[Row, bool, set[str], set[str]]] = {
    "caught": (row({"dma": FAIL, "pins": PASS}), True, set(), set()),
    "missed": (row({"dma": PASS, "pins": PASS}), False, {"dma"}, set()),
    "unknown is no catch": (row({"dma": UNKNOWN, "pins": PASS}), False, {"dma"}, {"dma"}),
    "wrong one": (row({"dma": FAIL, "pins": FAIL}), False, set(), {"pins"}),
    "wrong unknown": (row({"dma": FAIL, "pins": UNKNOWN}), False, set(), {"pins"}),
    "spares none": (row({"dma": FAIL, "pins": FAIL}, spares=False), True, set(), set()),
    "blind and green": (
        row({"dma": PASS, "pins": PASS}, refutes=(), unknown=["pins"]),
        False,
        {"pins"},
        set(),
    ),
    "blind and unknown": (row({"pins": UNKNOWN}, refutes=(), unknown=["pins"]), True, set(), set()),
    "failed while blind": (row({"pins": FAIL}, refutes=(), unknown=["pins"]), False, {"pins"}, {"pins"}),
    "unsure, too": (
        row({"pins": UNKNOWN, "pause": UNKNOWN}, refutes=(), unknown=["pins"], unsure=["pause"]),
        True,
        set(),
        set(),
    ),
    "sure though it need not be": (
        row({"pins": UNKNOWN, "pause": PASS}, refutes=(), unknown=["pins"], unsure=["pause"]),
        True,
        set(),
        set(),
    ),
    "sure of what is wrong": (
        row({"pins": UNKNOWN, "pause": FAIL}, refutes=(), unknown=["pins"], unsure=["pause"]),
        False,
        set(),
        {"pause"},
    ),
    "broken, as it must be": (row({}, (), "BenchError: disk full", breaks="full"), True, set(), set()),
    "broken by something else": (row({}, (), "BenchError: no bench", breaks="full"), False, set(), set()),
    "judged, though it must not be": (row({"dma": PASS}, (), "full", breaks="full"), False, set(), set()),
    "with its bound": (row({"guest_pause_below(10 s)": FAIL}, ["guest_pause_below"]), True, set(), set()),
    "never judged": (row({}), False, {"dma"}, set()),
    "asks for nothing": (row({"dma": PASS}, refutes=()), False, set(), set()),
}


@pytest.mark.parametrize("case", TRUTH)
def test_a_fault_is_caught_by_the_right_checkers_or_not_at_all(case: str) -> None:
    found, caught, missed, blamed = TRUTH[case]
    assert found.caught is caught
    assert set(found.missed) == missed
    assert set(found.blamed) == blamed


@pytest.mark.parametrize(
    ("alarms", "runs", "bound"), [(0, 30, 0.0950), (0, 5, 0.4507), (1, 30, 0.1486), (5, 5, 1.0), (0, 0, 1.0)]
)
def test_the_bound_is_that_of_clopper_and_pearson(alarms: int, runs: int, bound: float) -> None:
    assert rate_below(alarms, runs) == pytest.approx(bound, abs=1e-4)


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
        told.append({"nodeid": f"t::{number}", "folder": case.name, "status": status, "reason": ""})
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


@pytest.mark.parametrize(
    ("cases", "said"),
    [
        ([CAUGHT, CLEAN], 0),
        ([CAUGHT, MISSED, CLEAN], 1),
        ([CAUGHT, CLEAN, ALARM], 1),
        ([CAUGHT, SILENT], 1),
        ([CLEAN], 2),
        ([CAUGHT], 2),
        ([], 2),
    ],
)
def test_a_calibration_passes_by_faults_and_clean_runs(
    tmp_path: Path, cases: list[tuple[str, dict[str, Any], Said]], said: int
) -> None:
    found = of_run(run_of(tmp_path / "run", cases))
    assert status(found) == said and found.passed is (said == 0)


ONCE_MORE = ("calibration.fault", CAUGHT[1], {"dma": PASS, "pins": PASS})
UNJUDGED: tuple[str, dict[str, Any], Said] = ("calibration.fault", CAUGHT[1], {})


@pytest.mark.parametrize(
    ("one", "other", "caught", "missing"),
    [
        ([CAUGHT], [CLEAN], True, []),
        ([UNJUDGED], [CAUGHT, CLEAN], True, []),
        ([CAUGHT], [ONCE_MORE, CLEAN], False, []),
        ([ONCE_MORE], [CAUGHT, CLEAN], False, []),
        ([CLEAN], [CLEAN], True, ["drop"]),
    ],
    ids=["in pieces", "broken, then caught", "caught, then missed", "missed, then caught", "never planted"],
)
def test_runs_of_one_calibration_are_taken_together(
    tmp_path: Path, one: list[Any], other: list[Any], caught: bool, missing: list[str]
) -> None:
    runs = [run_of(tmp_path / "a", one), run_of(tmp_path / "b", other)]
    found = together(runs, wanted=["drop"])
    assert all(row.caught for row in found.rows) is caught and found.missing == missing
    assert found.passed is (caught and not missing)
    assert status(found) == (0 if found.passed else 2 if missing else 1)


def test_runs_of_different_labs_are_not(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / "a", [CAUGHT]), run_of(tmp_path / "b", [CLEAN])]
    record = json.loads((runs[1] / "run.json").read_text())
    (runs[1] / "run.json").write_text(json.dumps(record | {"commit": "def"}))
    with pytest.raises(LabUsageError, match=r"/b is of lab def, .*, not of lab abc, bench virtual, qemu_new"):
        together(runs)


def test_what_was_judged_is_not_done_again(tmp_path: Path) -> None:
    before = of_run(run_of(tmp_path / "a", [CAUGHT, UNJUDGED, CLEAN]))
    assert before.judged == {"drop"}
    cases, options = left_to_do(before, ["drop", "flip"], 3)
    assert len(cases) == 2 and options == ["--faults", "flip", "--clean-runs", "2"]
    cases, _ = left_to_do(before, ["drop"], 2)
    assert cases == ["testcases/test_calibration.py"]
    with pytest.raises(LabUsageError, match="nothing is left"):
        left_to_do(before, ["drop"], 1)


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


def test_what_may_harm_a_real_bench_is_planted_only_if_asked_for() -> None:
    harmless = chosen([], risky=False)
    assert {"host-warns", "wire-drops-a-frame"} < set(harmless) < set(chosen([], risky=True)) == set(FAULTS)
    assert not {"device-reset", "device-unbound", "engine-writes-where-nothing-is-mapped"} & set(harmless)
    with pytest.raises(LabUsageError, match=r"device-reset on a real bench must be asked for by --risky"):
        chosen(["host-warns", "device-reset"], risky=False)
    with pytest.raises(LabUsageError, match="there is no fault 'x'; there are "):
        chosen(["x"], risky=True)


def test_every_fault_says_who_must_notice() -> None:
    for name, fault in FAULTS.items():
        assert bool(fault.refutes | fault.unknown) != bool(fault.breaks), name
        assert not fault.wrapper or fault.wrapper in wrapper.FAULTS, name
    assert {fault.wrapper for fault in FAULTS.values()} - {""} == set(wrapper.FAULTS)


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


def test_the_reports_page_shows_who_caught_what(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", [CAUGHT, MISSED, CLEAN])
    found = together([run], wanted=["drop", "flip", "melt"])
    table = matrix(found)
    assert table.count("<tr>") == 3 and "<b>FAIL</b>" in table and "<b>·</b>" in table and "NO" in table
    path = run / "calibration.json"
    path.write_text(json.dumps(certificate(run, found, left_out=["reset"])))
    add_page(run, path, found)
    (told,) = (run / "allure-results").glob("*-result.json")
    page = json.loads(told.read_text())
    assert page["status"] == "failed"
    assert all((run / "allure-results" / one["source"]).exists() for one in page["attachments"])
    for says in ("dma: FAIL", "missed by", "still to be planted (1): melt", "harm a real bench (1): reset"):
        assert says in page["descriptionHtml"], says
    assert "0 of 1 clean runs were not green: fewer than 95.0%" in page["descriptionHtml"]
    assert in_words({"clean_runs": 0}).startswith("no clean run was done")
