"""The three matrices of a run: every cell of the tables is there, with its case or as not obtained."""

import json
from pathlib import Path
from typing import Any

import pytest

from lab.checkers import failure_answer
from lab.failures.table import FAILURES
from lab.preflight import RULES
from lab.preflight.proofs import NO_LOSS, NOT_SHOWN, PROOFS, nodes
from lab.record.case import write_verdicts
from lab.report.matrices import KINDS, Matrix, matrices
from lab.report.matrices_page import add_page, wanted
from lab.report.matrices_picture import COLOURS, EDGES, HATCHES
from lab.rows.chardevs import MATRIX
from lab.suites import MATRICES, SUITES
from lab.timeline import Timeline
from lab.verdict import Outcome, Verdict

from .test_checker_chardevs import ended, told
from .test_report_chardevs import BACKEND, FRONTEND
from .test_report_chardevs import case as chardev_case

REPRODUCED = "testcases/test_reproductions.py::test_the_defect_is_there"
HERE = "testcases/test_preflight.py::test_what_is_refused_is_lost[type1-cpr-exec-{}]"


def failure_case(run: Path) -> dict[str, str]:
    """A case of one failure by type1, four of whose answers are of four kinds."""
    claims = [
        failure_answer("exec-missing", "update", "died", promised="refused"),
        failure_answer("exec-missing", "guest", "lost"),
        failure_answer("exec-missing", "DMA", "stopped"),
        failure_answer("exec-missing", "interrupts", "stopped"),
    ]
    said = [
        (Outcome.PASS, "died, as expected"),
        (Outcome.PASS, "lost, as expected"),
        (Outcome.FAIL, "intact; the table says stopped"),
        (Outcome.UNKNOWN, "nobody looked"),
    ]
    verdicts = [Verdict(c.__name__, outcome, text) for c, (outcome, text) in zip(claims, said, strict=True)]
    (run / "failed").mkdir()
    events = [
        {"index": 0, "t_ns": 1, "kind": "case", "data": {"parameters": {"backend": "type1"}}},
        {"index": 1, "t_ns": 2, "kind": "failure.begin", "data": {"failure": "exec-missing", "title": "x"}},
    ]
    (run / "failed" / "timeline.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    write_verdicts(run / "failed", Timeline((), None), claims, verdicts)
    return {"nodeid": "t.py::test_failure[type1-exec-missing]", "folder": "failed"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with a few cells of each matrix."""
    (tmp_path / "failed-proof").mkdir()
    cases: list[dict[str, Any]] = [
        chardev_case(tmp_path, "pty-exec", "C", told(lost=2, eofs=1, connections=2), ended),
        failure_case(tmp_path),
        {"nodeid": f"{REPRODUCED}[private-ram]", "status": "passed", "folder": None},
        {"nodeid": f"{REPRODUCED}[aux-ram]", "status": "broken", "reason": "no bench", "folder": None},
        {"nodeid": HERE.format("pty-path"), "status": "failed", "reason": "kept", "folder": None},
    ]
    record = {"cases": cases, "suite": "matrices", "planned": ["x"], "commit": "a"}
    resumed = [{"start": "x", "commit": "b", "argv": []}] * 2
    (tmp_path / "run.json").write_text(json.dumps({**record, "resumed": resumed}))
    return tmp_path


def cells(found: Matrix) -> dict[tuple[str, str], tuple[str, str, str]]:
    return {(one.row, one.column): (one.kind, one.word, one.case) for one in found.cells}


def test_every_cell_of_the_tables_is_there(run: Path) -> None:
    chardevs, preflight, failures = matrices(run)
    asked = {(b, f"{f}, {mode}") for guest in MATRIX for mode in guest.modes for b, f in guest.pairs}
    assert {(one.row, one.column) for one in chardevs.cells} == asked
    assert preflight.rows == [rule.name for rule in RULES if rule.name not in NO_LOSS]
    assert {row.partition(",")[0] for row in failures.rows} == {one.name for one in FAILURES}
    assert all(len(set(cells(one))) == len(one.cells) for one in (chardevs, preflight, failures))


def test_a_cell_says_which_case_obtained_it_or_that_none_did(run: Path) -> None:
    chardevs, preflight, failures = matrices(run)
    place = (BACKEND, f"{FRONTEND}, cpr-exec")
    assert cells(chardevs)[place] == ("harm", "C", "pty-exec")
    others = {kind for where, (kind, _, _) in cells(chardevs).items() if where != place}
    assert others == {"missing"}
    found = {row: told for (row, _), told in cells(preflight).items()}
    assert found["ram-private"] == ("kept", "shown", "test_the_defect_is_there[private-ram]")
    assert found["pty-path"] == ("wrong", "not seen", HERE.format("pty-path").split("::")[-1])
    assert found["aux-ram-private"][:2] == ("unknown", "unknown")
    assert found["add-fd"] == ("missing", "", "")
    assert {row for row, told in found.items() if told[0] == "impossible"} == set(NOT_SHOWN)
    by_question = {
        column: told[:2] for (row, column), told in cells(failures).items() if row == "exec-missing, type1"
    }
    assert by_question["update"] == ("defect", "died") and by_question["guest"] == ("harm", "lost")
    assert by_question["DMA"] == ("wrong", "intact") and by_question["interrupts"] == ("unknown", "unknown")
    assert by_question["chardevs"] == ("missing", "")
    assert cells(failures)["exec-missing, iommufd", "update"] == ("missing", "", "")


def test_what_is_unknown_is_not_counted_as_obtained(run: Path) -> None:
    chardevs, preflight, failures = matrices(run)
    assert str(chardevs) == f"chardevs: 1 of {len(chardevs.cells)} cells obtained"
    able = len(RULES) - len(NOT_SHOWN) - len(NO_LOSS)
    assert str(preflight).startswith(
        f"preflight: 2 of {able} cells obtained, 1 wrong, 1 unknown, {len(NOT_SHOWN)} cannot"
    )
    assert str(failures) == f"failures: 3 of {len(failures.cells)} cells obtained, 1 wrong, 1 unknown"


def test_the_page_tells_them_apart_without_colour(run: Path) -> None:
    found = add_page(run)
    [result] = (run / "allure-results").glob("*-result.json")
    page = json.loads(result.read_text())
    words = page["descriptionHtml"]
    assert "data:image/png" in words and "1 of 1 cases have not run yet" in words
    assert "made in 3 pieces, by lab a, b" in words and words.count("<img ") == 4
    missing = sum(one.count("missing") for one in found)
    assert words.count(">not obtained<") == missing and words.count(">none<") >= missing
    picture = (run / "matrices" / "matrices.svg").read_text()
    assert picture.count(">not obtained<") == missing and "pattern" in picture
    assert json.loads((run / "matrices" / "matrices.json").read_text())["chardevs"][0]["kind"] in KINDS
    assert COLOURS.keys() == KINDS.keys() and {"missing", "impossible"} == HATCHES.keys() and "wrong" in EDGES


def test_a_run_about_something_else_has_no_page(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    for suite, cases, is_wanted in (
        (None, record["cases"], True),  # it has something of each
        (None, record["cases"][:1], False),
        ("matrices", [], True),
    ):
        (run / "run.json").write_text(json.dumps({"cases": cases, "suite": suite}))
        assert wanted(run, matrices(run)) is is_wanted
    (run / "run.json").write_text(json.dumps({"cases": [], "suite": None}))
    assert add_page(run) == [] and not (run / "matrices").exists()
    assert add_page(run / "nowhere") == []


def test_the_suite_holds_what_obtains_each_cell() -> None:
    assert SUITES["matrices"] is MATRICES
    for finding in PROOFS:
        base, part = next(nodes(finding))
        assert MATRICES.holds(f"{base}[x-{part.strip('[]')}]") or MATRICES.holds(f"{base}{part}"), finding
    for path in ("test_chardevs", "test_failures", "test_preflight"):
        assert MATRICES.holds(f"testcases/{path}.py::test_x[y]")
    assert not MATRICES.holds(f"{REPRODUCED}[client-chardev]")
    assert not MATRICES.holds("testcases/test_cpr_exec_nic.py::test_dma_survives[cpr-exec-iommufd]")


def test_every_finding_has_a_proof_or_a_reason() -> None:
    sorts = [set(PROOFS), set(NOT_SHOWN), set(NO_LOSS)]
    assert {rule.name for rule in RULES} == set.union(*sorts)
    assert sum(map(len, sorts)) == len(RULES)
