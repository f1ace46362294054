"""A case whose bench failed before anything was tested runs once more; nothing else does."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from jsonschema import validate

from lab.errors import BenchError, Inconclusive, LabUsageError, OutcomeUnknown, Refused
from lab.report.second_chance import Ended, ended, nothing_tested
from lab.timeline import Event, Timeline

ROOT = Path(__file__).resolve().parents[2]
BENCH, SILENT, FAILED = BenchError("no ssh"), OutcomeUnknown("did not answer"), AssertionError("FAIL")


def timeline(*kinds: str) -> Timeline:
    return Timeline(tuple(Event(number, number, kind, {}) for number, kind in enumerate(kinds)))


BEFORE, DURING = timeline("case", "guest.booted"), timeline("case", "cpr.invoke", "cpr.info")


@pytest.mark.parametrize(
    ("errors", "recorded", "judged", "again"),
    [
        ((BENCH,), None, False, True),
        ((BENCH,), BEFORE, False, True),
        ((SILENT,), BEFORE, False, True),
        ((BENCH, Inconclusive("never judged")), BEFORE, False, True),
        ((BENCH,), DURING, False, False),
        ((SILENT,), DURING, False, False),
        ((BENCH,), BEFORE, True, False),
        ((FAILED,), BEFORE, False, False),
        ((FAILED, BENCH), BEFORE, False, False),
        ((Inconclusive("UNKNOWN"), BENCH), BEFORE, False, False),
        ((LabUsageError("no such row"),), None, False, False),
        ((Refused("no"),), BEFORE, False, False),
        ((KeyError("a mistake of the lab"),), BEFORE, False, False),
        ((), BEFORE, False, False),
    ],
)
def test_only_what_tested_nothing_runs_again(
    errors: tuple[BaseException, ...], recorded: Timeline | None, judged: bool, again: bool
) -> None:
    assert nothing_tested(Ended(errors, recorded, judged)) is again


def test_a_damaged_timeline_is_no_proof(tmp_path: Path) -> None:
    """An update may have begun in it."""
    assert ended(None, (BENCH,)) == Ended((BENCH,), None, judged=False)
    assert ended(tmp_path, (BENCH,)) == Ended((BENCH,), None, judged=False)
    (tmp_path / "timeline.jsonl").write_text("{}\n{}\n")
    assert ended(tmp_path, (BENCH,)) is None


CASES = """
import json
from pathlib import Path
import pytest
from lab.errors import BenchError
from lab.record.case import write_verdicts
from lab.report.pytest_run import run_record
from lab.timeline import Recorder, Timeline
from lab.verdict import Outcome, Verdict, raise_for

tries, made = {}, []

@pytest.fixture(scope="session")
def dear():
    made.append(1)
    return made

@pytest.fixture
def case(request, dear):
    nodeid = request.node.nodeid
    folder = run_record(request.config).new_case_folder(nodeid)
    tries[nodeid] = tries.get(nodeid, 0) + 1
    with Recorder(folder / "timeline.jsonl") as recorder:
        recorder.record("case", nodeid=nodeid, attempt=tries[nodeid])
        yield folder, recorder, tries[nodeid]

def judge(folder, recorder, outcome):
    verdict = Verdict("claim", outcome, "seen", ())
    write_verdicts(folder, Timeline.load(recorder.path), [lambda _: verdict], [verdict])
    raise_for([verdict])

@pytest.fixture
def bad_once(case):
    if case[2] == 1:
        raise BenchError("the guest did not boot")
    return case

def test_setup(bad_once):
    judge(*bad_once[:2], Outcome.PASS)

def test_call(case):
    folder, recorder, number = case
    if number == 1:
        raise BenchError("the guest did not start the load")
    recorder.record("cpr.invoke", mode="cpr-exec", update=1)
    judge(folder, recorder, Outcome.PASS)

def test_always(case):
    raise BenchError(f"dead for the time {case[2]}")

def test_after_invoke(case):
    case[1].record("cpr.invoke", mode="cpr-exec", update=1)
    raise BenchError("died in the update")

def test_fail(case):
    judge(*case[:2], Outcome.FAIL)

def test_unknown(case):
    judge(*case[:2], Outcome.UNKNOWN)

@pytest.mark.xfail(strict=True)
def test_expected(case):
    raise BenchError("as known")

def test_tries(dear):
    (Path(__file__).parent / "tries.json").write_text(json.dumps([tries, dear]))
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A real session by the virtual bench's target file, none of whose cases powers the bench on."""
    folder = tmp_path_factory.mktemp("second")
    (folder / "test_cases.py").write_text(CASES)
    argv = [sys.executable, "-m", "pytest", "-p", "lab.report.pytest_run", "-p", "no:cacheprovider"]
    argv += ["-p", "lab.drivers.labgrid_pytest"]
    argv += ["--lg-env", str(ROOT / "targets/virtual.yaml"), "--rootdir", str(folder), "-c", "/dev/null"]
    argv += ["--cprlab-run", str(folder / "run"), str(folder)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1, done.stdout + done.stderr
    return folder, done.stdout


def cases(folder: Path) -> dict[str, Any]:
    record = json.loads((folder / "run/run.json").read_text())
    validate(record, json.loads((ROOT / "lab/record/schemas/run.json").read_text()))
    return {case["nodeid"].split("::")[1]: case for case in record["cases"]}


def test_each_case_was_tried_as_often_as_it_may(session: tuple[Path, str]) -> None:
    """And the fixtures of the session were made once."""
    tries, made = json.loads((session[0] / "tries.json").read_text())
    assert {name.split("::")[1]: number for name, number in tries.items()} == {
        **{"test_setup": 2, "test_call": 2, "test_always": 2},
        **dict.fromkeys(("test_after_invoke", "test_fail", "test_unknown", "test_expected"), 1),
    }
    assert made == [1]


def test_the_record_has_both_attempts_and_one_result(session: tuple[Path, str]) -> None:
    """The case's folder is that of the last attempt; the first keeps its own."""
    found = cases(session[0])
    assert {name: case["status"] for name, case in found.items()} == {
        **dict.fromkeys(("test_setup", "test_call", "test_tries"), "passed"),
        **dict.fromkeys(("test_always", "test_after_invoke", "test_unknown"), "broken"),
        **{"test_fail": "failed", "test_expected": "xfailed"},
    }
    [first] = found["test_call"]["attempts"]
    assert first["status"] == "broken" and first["folder"] == "test_cases.test_call.attempt-1"
    assert first["reason"] == "BenchError: the guest did not start the load"
    for folder, number in ((first["folder"], 1), (found["test_call"]["folder"], 2)):
        timeline = Timeline.load(session[0] / "run" / folder / "timeline.jsonl")
        assert timeline.events[0].data["attempt"] == number
    assert found["test_always"]["reason"] == "BenchError: dead for the time 2"
    assert [name for name, case in found.items() if case["attempts"]] == [
        "test_setup",
        "test_call",
        "test_always",
    ]


def test_junit_has_each_case_once(session: tuple[Path, str]) -> None:
    """What failed by its bench and then passed is passed, and nothing more."""
    suite = ElementTree.parse(session[0] / "run/junit.xml").getroot()[0]
    names = [str(case.get("name")) for case in suite.iter("testcase")]
    assert sorted(names) == sorted(cases(session[0]))
    assert len([case for case in suite.iter("testcase") if len(case)]) == 5


def test_allure_has_the_attempt_as_a_retry(session: tuple[Path, str]) -> None:
    """Results of one history are one case there; the last one is its result, and says what came before."""
    results = [
        json.loads(path.read_text()) for path in (session[0] / "run").glob("allure-results/*-result.json")
    ]
    mine = sorted((r for r in results if r["name"] == "test_call"), key=lambda r: int(r["start"]))
    assert [r["status"] for r in mine] == ["broken", "passed"]
    assert len({r["historyId"] for r in mine}) == 1
    assert "bench failed once before" in {label["value"] for label in mine[1]["labels"]}
    [told] = mine[1]["attachments"]
    text = (session[0] / "run/allure-results" / told["source"]).read_text()
    assert "did not start the load" in text and "test_call.attempt-1" in text


def test_the_terminal_says_so(session: tuple[Path, str]) -> None:
    assert (
        "bench failed, run again: test_cases.py::test_setup: BenchError: the guest did not boot" in session[1]
    )
