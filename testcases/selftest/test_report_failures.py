"""The matrix of failures in the report: from the record alone, with a word in every cell."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lab.checkers import failure_answer
from lab.checkers.failure import ANSWERS
from lab.failures import UNHARMED
from lab.failures.table import FAILURES
from lab.record.case import write_verdicts
from lab.record.failure_matrix import HARMLESS, KINDS, QUESTIONS, Cell, matrix
from lab.report.failure_page import COLOURS, TITLE, add_page, draw, page_html, remark
from lab.timeline import Timeline
from lab.verdict import Outcome, Verdict

CLAIMS = {
    failure_answer("gone", "update", "refused", says="No such file"): (Outcome.PASS, "refused: No such file"),
    failure_answer("gone", "guest", "lost", promised="lives"): (Outcome.PASS, "lost, as expected"),
    failure_answer("gone", "DMA", "intact"): (Outcome.PASS, "9 blocks intact"),
    failure_answer("gone", "interrupts", "flow"): (Outcome.FAIL, "stopped; the table says flow"),
    failure_answer("gone", "chardevs", "lost"): (Outcome.UNKNOWN, "nobody looked"),
    failure_answer("gone", "next update", "fails"): (Outcome.PASS, "fails"),
    failure_answer("gone", "unpinned", "yes"): (
        Outcome.FAIL,
        "nothing says 'x': it failed for another reason",
    ),
}
TIMELINE = [
    ("case", {"parameters": {"backend": "iommufd"}}),
    (
        "failure.begin",
        {"failure": "gone", "title": "exec of <nothing>", "source": "exec.c", "reason": "a bug"},
    ),
    ("cpr.invoke", {"mode": "cpr-exec", "update": 1}),
    ("cpr.fail", {"mode": "cpr-exec", "update": 1, "reason": "No such file"}),
    ("cpr.invoke", {"mode": "cpr-exec", "update": 2}),
    ("cpr.fail", {"mode": "cpr-exec", "update": 2, "reason": "of the ordinary update"}),
    ("failure.end", {"failure": "gone"}),
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with a failure whose answers are of all kinds, and a case whose verdicts are damaged."""
    verdicts = [Verdict(claim.__name__, outcome, text) for claim, (outcome, text) in CLAIMS.items()]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    events = [
        {"index": index, "t_ns": index, "kind": kind, "data": data}
        for index, (kind, data) in enumerate(TIMELINE)
    ]
    (tmp_path / "one" / "timeline.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    write_verdicts(tmp_path / "one", Timeline((), None), list(CLAIMS), verdicts)
    (tmp_path / "two" / "verdicts.json").write_text("[{}, 3]")
    cases = [{"nodeid": f"t.py::{name}", "folder": name} for name in ("one", "two")]
    (tmp_path / "run.json").write_text(json.dumps({"cases": cases}))
    return tmp_path


def test_each_cell_has_a_word_a_kind_and_what_was_promised(run: Path) -> None:
    [line] = matrix(run)
    assert [(a.word, a.promised, a.kind, remark(a)) for a in line.cells] == [
        ("refused", "refused", "kept", ""),
        ("lost", "lives", "defect", "promised: lives"),
        ("intact", "intact", "kept", ""),
        ("stopped", "flow", "other", "expected: flow"),
        ("unknown", "lost", "unknown", ""),
        ("fails", "fails", "harm", ""),
        ("yes", "yes", "other", "for another reason"),
    ]
    assert [cell.question for cell in line.cells] == list(QUESTIONS)


def test_a_line_tells_what_was_done_and_what_was_said_of_it(run: Path) -> None:
    [line] = matrix(run)
    assert (line.failure, line.title, line.source, line.reason) == (
        "gone",
        "exec of <nothing>",
        "exec.c",
        "a bug",
    )
    assert (line.case, line.backend, line.mode) == ("one", "iommufd", "cpr-exec")
    assert line.said == ("No such file",), "what the ordinary update said is not of the failure"


def test_the_page_tells_each_failure_whole_and_escapes(run: Path) -> None:
    shown = page_html(matrix(run), [])
    for text in (
        "exec of &lt;nothing&gt;",
        "exec.c",
        "No such file",
        "a bug",
        "9 blocks intact",
        "nobody looked",
    ):
        assert text in shown
    assert "<nothing>" not in shown
    assert all(COLOURS[kind] in shown and KINDS[kind] in shown for kind in KINDS)


def test_the_picture_has_every_word(run: Path, tmp_path: Path) -> None:
    lines = matrix(run)
    _, svg = draw(lines, tmp_path / "drawn")
    words = svg.read_text()
    assert all(question in words for question in QUESTIONS)
    assert all(text in words for cell in lines[0].cells for text in (cell.word, remark(cell)))
    assert "exec of &lt;nothing&gt; (iommufd)" in words


def test_the_page_is_in_the_results_once(run: Path) -> None:
    for _ in range(2):
        assert add_page(run)
    [result] = (run / "allure-results").glob("*-result.json")
    told = json.loads(result.read_text())
    assert told["name"] == TITLE and "data:image/png" in told["descriptionHtml"]
    assert {part["name"] for part in told["attachments"]} == {
        *("matrix.png", "matrix.svg", "matrix.json", "failures.html")
    }
    assert json.loads((run / "failures" / "matrix.json").read_text())[0]["cells"][1]["kind"] == "defect"


def test_a_run_without_failures_gets_no_page(run: Path, tmp_path: Path) -> None:
    (run / "one" / "verdicts.json").unlink()
    assert not add_page(run) and not (run / "failures").exists()
    assert not add_page(tmp_path / "nowhere")


def test_only_what_is_as_promised_is_called_so() -> None:
    good = Cell("guest", "lives", "lives", "lives", "PASS", "")
    assert good.kind == "kept"
    assert replace(good, outcome="UNKNOWN").kind == "unknown"
    assert replace(good, outcome="FAIL").kind == "other"
    assert replace(good, promised="lost").kind == "defect", (
        "the version is better than promised, and known to be"
    )
    known = {word for words in ANSWERS.values() for word in words}
    assert set(HARMLESS) <= known and set(HARMLESS) >= set(UNHARMED.values())
    assert all(failure.title for failure in FAILURES)
