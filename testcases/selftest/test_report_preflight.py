"""The matrix of preflight in the report: from the record alone, with a word in every cell."""

import json
from pathlib import Path
from typing import Any

import pytest

from lab.preflight import RULES
from lab.preflight.proofs import NOT_SHOWN, PROOFS, nodes
from lab.report.preflight_page import KINDS, Line, add_page, matrix, table

HERE = "testcases/test_preflight.py::test_what_is_refused_is_lost[cpr-exec-type1-{}]"
REPRODUCED = "testcases/test_reproductions.py::test_the_defect_is_there[{}]"
LOST = {
    "checker": "unpromised(same_guest)",
    "outcome": "PASS",
    "summary": "not kept: QEMU <ended>",
    "evidence": [],
}
FOUND = {"checker": "preflight_refuses(x)", "outcome": "PASS", "summary": "it was found", "evidence": []}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with a case of its own, a reproduction, one that came out otherwise, and one of another row."""
    (tmp_path / "pty").mkdir()
    (tmp_path / "pty" / "verdicts.json").write_text(json.dumps([FOUND, LOST]))
    known = "testcases/test_known_defects.py::test_an_accepted_update_keeps_the_guest[{}]"
    cases: list[dict[str, Any]] = [
        {"nodeid": HERE.format("pty-path"), "folder": "pty", "status": "passed"},
        {"nodeid": HERE.format("devices-differ"), "status": "failed", "reason": "kept"},
        {"nodeid": REPRODUCED.format("private-ram"), "status": "passed", "reason": ""},
        {
            "nodeid": known.format("cpr-exec-vsock-vhost"),
            "status": "xfailed",
            "reason": "AssertionError: lost",
        },
    ]
    (tmp_path / "run.json").write_text(json.dumps({"cases": cases}))
    return tmp_path


def line(run: Path, name: str) -> Line:
    [found] = [one for one in matrix(run) if one.rule.name == name]
    return found


def test_each_finding_has_what_this_run_shows_of_it(run: Path) -> None:
    said = {name: (line(run, name).kind, line(run, name).seen) for name in ("pty-path", "devices-differ")}
    assert said == {"pty-path": ("shown", "not kept: QEMU <ended>"), "devices-differ": ("not shown", "kept")}
    assert line(run, "ram-private").kind == line(run, "vhost-vsock").kind == "shown"
    assert line(run, "tap-by-name").kind == "not run"  # the same test, of another row
    assert line(run, "ram-epc").kind == "cannot be shown"
    assert [one.rule.name for one in matrix(run)] == [rule.name for rule in RULES]


def test_a_run_of_other_cases_has_no_page(run: Path) -> None:
    (run / "run.json").write_text(json.dumps({"cases": [{"nodeid": REPRODUCED.format("private-ram")}]}))
    assert matrix(run) == [] and not add_page(run)
    (run / "run.json").write_text("")
    assert not add_page(run)


def test_the_page_has_a_word_in_every_cell_and_escapes(run: Path) -> None:
    assert add_page(run) and add_page(run)
    [result] = (run / "allure-results").glob("*-result.json")
    told = json.loads(result.read_text())
    assert "QEMU &lt;ended&gt;" in told["descriptionHtml"] and "<ended>" not in told["descriptionHtml"]
    assert (
        (run / "allure-results" / told["attachments"][0]["source"]).read_text().startswith("<!doctype html>")
    )
    assert all(one.kind in KINDS for one in matrix(run)) and table(matrix(run)).count("<tr>") == 1 + len(
        RULES
    )


def test_a_proof_is_found_by_its_name() -> None:
    assert list(nodes("ram-private")) == [(REPRODUCED.partition("[")[0], "[private-ram]")]
    assert list(nodes("pty-path")) == [(HERE.partition("[")[0], "pty-path")]
    assert list(nodes("ram-epc")) == [] and all(list(nodes(name)) for name in PROOFS)
    assert not PROOFS.keys() & NOT_SHOWN.keys()
