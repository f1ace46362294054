"""The matrix of failures in the report: from the record alone, with a word in every cell."""

import json
from pathlib import Path

import pytest

from lab.checkers import failure_answer
from lab.checkers.failure import ANSWERS
from lab.failures import UNHARMED
from lab.failures.table import FAILURES
from lab.record.case import write_verdicts
from lab.report.failure_page import HARMLESS, KINDS, add_page, matrix, table
from lab.timeline import Timeline
from lab.verdict import Outcome, Verdict


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with a failure whose four answers are of four kinds, and a case of another sort."""
    claims = [
        failure_answer("gone", "update", "refused"),
        failure_answer("gone", "guest", "lost", promised="lives"),
        failure_answer("gone", "DMA", "intact"),
        failure_answer("gone", "interrupts", "flow"),
        failure_answer("gone", "chardevs", "lost"),
    ]
    said = [
        (Outcome.PASS, "refused"),
        (Outcome.PASS, "lost, as expected"),
        (Outcome.FAIL, "stopped; the table says intact"),
        (Outcome.UNKNOWN, "nobody looked"),
        (Outcome.PASS, "lost"),
    ]
    verdicts = [Verdict(c.__name__, outcome, text) for c, (outcome, text) in zip(claims, said, strict=True)]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    begin = {"failure": "gone", "title": "exec of <nothing>"}
    event = {"index": 0, "t_ns": 1, "kind": "failure.begin", "data": begin}
    (tmp_path / "one" / "timeline.jsonl").write_text(json.dumps(event) + "\n")
    write_verdicts(tmp_path / "one", Timeline((), None), claims, verdicts)
    (tmp_path / "two" / "verdicts.json").write_text("[{}, 3]")
    cases = [{"nodeid": f"t.py::{name}", "folder": name} for name in ("one", "two")]
    (tmp_path / "run.json").write_text(json.dumps({"cases": cases}))
    return tmp_path


def test_each_cell_has_a_word_and_a_kind(run: Path) -> None:
    [line] = matrix(run)
    assert (line.failure, line.title, line.case) == ("gone", "exec of <nothing>", "one")
    assert [(cell.word, cell.kind) for cell in line.cells] == [
        ("refused", "kept"),
        ("lost (promised: lives)", "defect"),
        ("stopped", "other"),
        ("unknown", "unknown"),
        ("lost", "harm"),
    ]


def test_the_page_says_what_the_colours_mean_and_escapes(run: Path) -> None:
    shown = table(matrix(run))
    assert "exec of &lt;nothing&gt;" in shown and "<nothing>" not in shown
    assert all(colour in shown and text in shown for colour, text in KINDS.values())


def test_a_run_without_failures_gets_no_page(run: Path, tmp_path: Path) -> None:
    assert add_page(run)
    [result] = (run / "allure-results").glob("*-result.json")
    assert json.loads(result.read_text())["name"] == "What failed updates do to the guest"
    assert add_page(run) and len(list((run / "allure-results").iterdir())) == 2
    (run / "one" / "verdicts.json").unlink()
    assert not add_page(run)


def test_the_words_without_harm_are_those_of_the_checker() -> None:
    known = {word for words in ANSWERS.values() for word in words}
    assert set(HARMLESS) <= known
    assert set(HARMLESS) >= set(UNHARMED.values())
    assert all(failure.title for failure in FAILURES)
