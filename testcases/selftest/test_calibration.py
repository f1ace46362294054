"""The calibration matrix, and the bound, on hand-made runs."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from lab.calibration.bound import in_words, rate_below
from lab.calibration.certificate import certificate
from lab.calibration.matrix import Row, of_run, together
from lab.cli.calibrate import left_to_do, status
from lab.errors import LabUsageError
from lab.faults import wrapper
from lab.faults.catalogue import FAULTS, chosen
from lab.report.calibration_page import add_page, matrix
from lab.run_record import INTERRUPTED
from lab.verdict import Verdict

from .calibration_runs import (
    ALARM,
    BROKEN_OFF,
    CAUGHT,
    CLEAN,
    FAIL,
    MISSED,
    ONCE_MORE,
    PASS,
    SILENT,
    UNJUDGED,
    UNKNOWN,
    Said,
    run_of,
)


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


@pytest.mark.parametrize(
    ("one", "other", "caught", "missing"),
    [
        ([CAUGHT], [CLEAN], True, []),
        ([UNJUDGED], [CAUGHT, CLEAN], True, []),
        ([CAUGHT], [UNJUDGED, CLEAN], True, []),
        ([CAUGHT], [ONCE_MORE, CLEAN], False, []),
        ([ONCE_MORE], [CAUGHT, CLEAN], False, []),
        ([CLEAN], [CLEAN], True, ["drop"]),
    ],
    ids=[
        "in pieces",
        "broken, then caught",
        "caught, then broken",
        "caught, then missed",
        "missed, then caught",
        "never planted",
    ],
)
def test_runs_of_one_calibration_are_taken_together(
    tmp_path: Path, one: list[Any], other: list[Any], caught: bool, missing: list[str]
) -> None:
    runs = [run_of(tmp_path / "a", one), run_of(tmp_path / "b", other)]
    found = together(runs, wanted=["drop"])
    assert all(row.caught for row in found.rows) is caught and found.missing == missing
    assert found.passed is (caught and not missing)
    assert status(found) == (0 if found.passed else 2 if missing else 1)


def test_what_was_interrupted_shows_nothing(tmp_path: Path) -> None:
    """Neither a false alarm nor a fault that was missed: a calibration can be done in pieces."""
    run = run_of(tmp_path / "run", [CAUGHT, CLEAN, SILENT, BROKEN_OFF])
    record = json.loads((run / "run.json").read_text())
    for case in record["cases"][2:]:
        case |= {"status": "broken", "reason": INTERRUPTED}
    (run / "run.json").write_text(json.dumps(record))
    found = of_run(run)
    assert found.passed and found.clean == [PASS] and [row.name for row in found.rows] == ["drop"]


def test_runs_of_different_labs_are_not(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / "a", [CAUGHT]), run_of(tmp_path / "b", [CLEAN])]
    record = json.loads((runs[1] / "run.json").read_text())
    (runs[1] / "run.json").write_text(json.dumps(record | {"commit": "def"}))
    with pytest.raises(LabUsageError, match=r"/b is of lab def, .*, not of lab abc, bench virtual, qemu_new"):
        together(runs)
    (runs[1] / "run.json").write_text(json.dumps(record | {"commit": "def", "versions": {}}))
    assert together(runs).judged == {"drop"}, "the other one never had a guest"


def test_what_was_judged_is_not_done_again(tmp_path: Path) -> None:
    before = of_run(run_of(tmp_path / "a", [CAUGHT, UNJUDGED, CLEAN]))
    assert before.judged == {"drop"}
    cases, options = left_to_do(before, ["drop", "flip"], 3)
    assert len(cases) == 2 and options == ["--faults", "flip", "--clean-runs", "2"]
    cases, _ = left_to_do(before, ["drop"], 2)
    assert cases == ["testcases/test_calibration.py"]
    with pytest.raises(LabUsageError, match="nothing is left"):
        left_to_do(before, ["drop"], 1)


def test_what_may_harm_a_real_bench_is_planted_only_if_asked_for() -> None:
    harmless = chosen([], risky=False)
    assert {"host-warns", "wire-drops-a-frame"} < set(harmless) < set(chosen([], risky=True)) == set(FAULTS)
    assert not {"device-reset", "device-unbound", "engine-writes-where-it-may-not"} & set(harmless)
    with pytest.raises(LabUsageError, match=r"device-reset on a real bench must be asked for by --risky"):
        chosen(["host-warns", "device-reset"], risky=False)
    with pytest.raises(LabUsageError, match="there is no fault 'x'; there are "):
        chosen(["x"], risky=True)


def test_every_fault_says_who_must_notice() -> None:
    for name, fault in FAULTS.items():
        assert bool(fault.refutes | fault.unknown) != bool(fault.breaks), name
        assert not fault.wrapper or fault.wrapper in wrapper.FAULTS, name
    assert {fault.wrapper for fault in FAULTS.values()} - {""} == set(wrapper.FAULTS)


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
