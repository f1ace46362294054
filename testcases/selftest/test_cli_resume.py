"""A run in pieces: what has a result is not tried again, and what has none is."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.cli import live, suite
from lab.cli.recording import resume_run
from lab.errors import LabUsageError
from lab.report.selection import Selection
from lab.run_record import INTERRUPTED, CaseResult, RunRecord, left, read_run, untested
from lab.waiting import wait_until

from .test_cli_command import BENCH, CPRLAB, ROOT

CASE = """
import json, pathlib, threading
import pytest
from lab.report.pytest_run import run_record

HERE = pathlib.Path(__file__).parent

@pytest.mark.parametrize("name", ["first", "second", "third"])
def test_says(request, name):
    with (HERE / "ran").open("a") as ran:
        ran.write(name + "\\\\n")
    folder = run_record(request.config).new_case_folder(request.node.nodeid)
    if name == "second" and not (HERE / "go-on").exists():
        (HERE / "hangs").touch()
        threading.Event().wait(60)
    verdict = {"checker": "c", "outcome": "PASS", "summary": "seen", "evidence": []}
    (folder / "verdicts.json").write_text(json.dumps([verdict]))
""".replace("\\\\", "\\")


@pytest.fixture
def interrupted(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A run whose second case of three was interrupted, and what was said of it."""
    (tmp_path / "bench.yaml").write_text(BENCH)
    (tmp_path / "test_cpr_demo.py").write_text(CASE)
    where = ["--bench", str(tmp_path / "bench.yaml"), "--runs-dir", str(tmp_path / "runs")]
    words = [*CPRLAB, "run", str(tmp_path / "test_cpr_demo.py"), *where]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as one:
        wait_until((tmp_path / "hangs").exists, 120, "the case that hangs")
        one.send_signal(signal.SIGINT)
        _, said = one.communicate(timeout=60)
    (tmp_path / "go-on").touch()
    [run] = (tmp_path / "runs").glob("*/run.json")
    yield run.parent, said


def resume(run: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    argv = [*CPRLAB, "run", "--resume", str(run), *words]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def test_a_run_goes_on_where_it_was_interrupted(interrupted: tuple[Path, str]) -> None:
    run, said = interrupted
    assert f"2 of 3 cases are left; to go on: cprlab run --resume {run}" in said
    done = resume(run)
    assert done.returncode == 0, done.stderr
    assert "2 cases, 1 done before, about 1 min by earlier runs" in done.stderr
    assert (run.parents[1] / "ran").read_text().split() == ["first", "second", "second", "third"]
    record = read_run(run)
    assert [case["outcome"] for case in record["cases"]] == ["PASS"] * 3 and left(record) == []
    [attempt] = record["cases"][1]["attempts"]
    assert attempt["reason"] == INTERRUPTED and (run / attempt["folder"]).is_dir()
    assert ["--cprlab-resume" in piece["argv"] for piece in record["resumed"]] == [True]
    assert (run / "junit.xml").exists() and (run / "junit.2.xml").exists()
    assert len(list((run / "allure-results").glob("*-result.json"))) >= 3
    with pytest.raises(LabUsageError, match="nothing is left of"):
        resume_run(run, None, alone=True)


def test_a_run_that_is_of_something_else_is_not_gone_on_with(tmp_path: Path) -> None:
    record = RunRecord.create(tmp_path / "r", ["pytest", suite.LEASED, "4"])
    record.note(planned=["a"])
    with pytest.raises(LabUsageError, match="leave out what it is of"):
        resume_run(record.folder, None, alone=False)
    with pytest.raises(LabUsageError, match="was made on a leased place"):
        resume_run(record.folder, None, alone=True)
    with pytest.raises(LabUsageError, match=r"it has no run\.json"):
        resume_run(tmp_path / "nowhere", None, alone=True)


RESULT = {"status": "broken", "outcome": None, "reason": "BenchError: no ssh", "folder": "c"}


@pytest.mark.parametrize(
    ("change", "timeline", "again"),
    [
        ({}, None, True),
        ({}, '{"kind":"guest.booted"}', True),
        ({}, '{"kind":"cpr.invoke"}', False),
        ({"reason": INTERRUPTED}, '{"kind":"cpr.invoke"}', True),
        ({"folder": None}, None, True),
        ({"outcome": "UNKNOWN"}, None, False),
        ({"status": "failed"}, None, False),
        ({"status": "passed"}, None, False),
    ],
)
def test_what_was_tested_is_not_tried_again(
    tmp_path: Path, change: dict[str, Any], timeline: str | None, again: bool
) -> None:
    (tmp_path / "c").mkdir()
    if timeline is not None:
        (tmp_path / "c" / "timeline.jsonl").write_text(timeline)
    case = {**RESULT, **change}
    assert untested(tmp_path, case) is again
    assert untested(tmp_path, case, unknown=True) is (again or case["outcome"] == "UNKNOWN")


def test_the_command_of_a_piece_forgets_the_limits_of_the_last() -> None:
    argv = ["/x/pytest", "-k", "a", "--cprlab-minutes", "9", "--cprlab-progress-fd", "4", "--cprlab-resume"]
    assert suite.resumed(argv, None)[3:] == ["-k", "a", "--cprlab-resume"]
    assert suite.resumed(argv, 5.0, unknown=True)[-3:] == ["--cprlab-again", "--cprlab-minutes", "5.0"]
    assert suite.resumed(suite.resumed(argv, 5.0, unknown=True)[2:], None) == suite.resumed(argv, None)


@pytest.mark.parametrize(("minutes", "begun"), [(None, True), (1.0, True), (0.0, False)])
def test_no_case_is_begun_too_late(tmp_path: Path, minutes: float | None, begun: bool) -> None:
    """None lets pytest run it; True says that it was taken care of."""
    selection = Selection(RunRecord.create(tmp_path / "r", []), None, minutes)
    item: Any = SimpleNamespace(nodeid="t.py::test")
    assert (selection.pytest_runtest_protocol(item) is None) is begun


def test_a_case_takes_as_long_as_last_time(tmp_path: Path) -> None:
    for name, seconds in (("1", 30.0), ("2", 50.0)):
        record = RunRecord.create(tmp_path / name, [])
        record.case_finished(CaseResult("a", None, "passed", "PASS", seconds))
        record.case_finished(CaseResult(f"b{name}", None, "passed", "PASS", 10.0))
    assert live.expected_s(["a", "b1", "new"], tmp_path) == 50.0 + 10.0 + 10.0
    assert live.expected_s(["new"], tmp_path / "nowhere") is None
    (tmp_path / "1" / "run.json").write_text("{")
    assert live.expected_s(["a"], tmp_path) == 50.0


def test_a_record_knows_what_was_planned(tmp_path: Path) -> None:
    record = RunRecord.create(tmp_path / "r", [])
    record.note(planned=["a", "b"])
    record.case_finished(CaseResult("a", None, "passed", "PASS", 1.0))
    assert left(read_run(tmp_path / "r")) == ["b"] and record.done == {"a"}
    assert json.loads((tmp_path / "r" / "run.json").read_text())["resumed"] == []


def test_a_suite_says_which_cases_to_run() -> None:
    chosen = suite.selection([], "matrices")
    assert chosen[-2:] == ["--cprlab-suite", "matrices"] and "testcases/test_chardevs.py" in chosen
    with pytest.raises(LabUsageError, match="there is no such suite; there are matrices"):
        suite.selection([], "matrix")
    with pytest.raises(LabUsageError, match=r"leave out test_x\.py"):
        suite.selection(["test_x.py"], "matrices")


def test_a_suite_takes_its_cases_out_of_what_was_collected(tmp_path: Path) -> None:
    """What it holds is planned; what has a result is not tried again."""
    proof = "testcases/test_reproductions.py::test_the_defect_is_there[{}]"
    names = [
        proof.format("private-ram"),
        proof.format("client-chardev"),
        "testcases/test_chardevs.py::test_x[y]",
    ]
    record = RunRecord.create(tmp_path / "r", [])
    record.case_finished(CaseResult(names[2], None, "passed", "PASS", 1.0))
    items: Any = [SimpleNamespace(nodeid=name) for name in names]
    dropped: list[Any] = []
    config: Any = SimpleNamespace(hook=SimpleNamespace(pytest_deselected=lambda items: dropped.extend(items)))
    Selection(record, "matrices", None).pytest_collection_modifyitems(config, items)
    assert [item.nodeid for item in items] == names[:1]
    assert {item.nodeid for item in dropped} == set(names[1:])
    assert read_run(tmp_path / "r")["planned"] == [names[0], names[2]]


@pytest.mark.parametrize(
    "status, outcome, word",
    [
        ("passed", "PASS", "PASS"),
        ("passed", None, "passed"),
        ("passed", "FAIL", "caught"),
        ("passed", "UNKNOWN", "caught"),
        ("failed", "FAIL", "FAIL"),
        ("failed", "PASS", "failed"),
        ("failed", None, "failed"),
        ("broken", "UNKNOWN", "UNKNOWN"),
        ("broken", "PASS", "broken"),
        ("xfailed", "FAIL", "known"),
    ],
)
def test_what_a_case_came_to_in_a_word(status: str, outcome: str | None, word: str) -> None:
    """A fault that nobody noticed is not shown as PASS, and one that was caught not as a FAIL."""
    assert live.in_a_word(status, outcome)[0] == word
