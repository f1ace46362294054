"""The run record: verdicts and measurements written, held against the schemas, judged again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.checkers import dma_intact, same_guest, standard
from lab.errors import LabUsageError
from lab.record.case import read_verdicts, write_verdicts
from lab.record.rejudge import differences, rejudge, summary
from lab.record.validate import KINDS, problems, schema
from lab.run_record import CaseResult, RunRecord
from lab.timeline import Timeline
from lab.verdict import Checker, Outcome, Verdict, judge, worst

from .timelines import healthy

NODEID = "testcases/test_x.py::test_dma"
RECEIVED = "columns/nic.to-guest.received"


def made(folder: Path, *checkers: Checker) -> tuple[Path, Path]:
    """A run with one judged case; returns the run and the case folder."""
    record = RunRecord.create(folder / "run", ["pytest"])
    case = record.new_case_folder(NODEID)
    events = healthy().timeline(case / "columns").events
    lines = [{"index": e.index, "t_ns": e.t_ns, "kind": e.kind, "data": e.data} for e in events]
    (case / "timeline.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    timeline = Timeline.load(case / "timeline.jsonl")
    chosen = checkers or tuple(standard(pause_limit_s=2))
    verdicts = judge(timeline, chosen)
    write_verdicts(case, timeline, chosen, verdicts)
    record.case_finished(CaseResult(NODEID, case.name, "passed", str(worst(verdicts)), 1.0))
    record.finish(0)
    return record.folder, case


def lines_of(case: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (case / "timeline.jsonl").read_text().splitlines()]


def rewrite(case: Path, change: Callable[[dict[str, Any]], None]) -> None:
    lines = lines_of(case)
    for line in lines:
        change(line)
    (case / "timeline.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_the_record_alone_gives_the_same_verdicts(tmp_path: Path) -> None:
    run, case = made(tmp_path)
    judged = rejudge(run)
    assert judged[NODEID] == [row.verdict for row in read_verdicts(case)]
    assert worst(judged[NODEID]) is Outcome.PASS
    assert differences(run, judged) == []
    assert summary(run)["differences"] == []


def test_it_follows_the_schemas(tmp_path: Path) -> None:
    run, case = made(tmp_path)
    assert problems(run) == []
    (case / "timeline.jsonl").open("a").write('{"index": ')  # cut short by a crash
    assert problems(run) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_schemas_are_schemas(kind: str) -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(schema(kind))


def test_what_breaks_a_schema_is_named(tmp_path: Path) -> None:
    run, case = made(tmp_path)
    rewrite(case, lambda e: e["data"].pop("number", None))
    (case / "verdicts.json").write_text(
        '[{"checker": "x", "outcome": "MAYBE", "summary": "", "evidence": []}]'
    )
    (case / "measurements.json").write_text("[{}]")
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(facts | {"schema_version": 99}))
    text = "\n".join(problems(run))
    for name in ("run.json", "timeline.jsonl:", "verdicts.json", "measurements.json", "'MAYBE'", "'number'"):
        assert name in text


def flip_a_byte(case: Path) -> None:
    column = np.load(case / RECEIVED / "good.npy", mmap_mode="r+")
    column[100] = 0


def lose_a_row(case: Path) -> None:
    for path in (case / RECEIVED).glob("*.npy"):
        np.save(path, np.delete(np.load(path), 100))


@pytest.mark.parametrize(
    "tamper, checker, outcome",
    [
        (flip_a_byte, "dma_intact(nic.to-guest)", Outcome.FAIL),
        (lose_a_row, "dma_intact(nic.to-guest)", Outcome.FAIL),
        (lambda c: rewrite(c, lambda e: e["data"].update(memory_intact=False)), "same_guest", Outcome.FAIL),
        (
            lambda c: rewrite(c, lambda e: e["kind"] == "cpr.ok" and e.update(kind="cpr.fail")),
            "update_completed",
            Outcome.FAIL,
        ),
        (lambda c: (c / RECEIVED / "seq.npy").write_bytes(b"x"), "dma_intact(nic.to-guest)", Outcome.UNKNOWN),
        (lambda c: (c / "timeline.jsonl").write_text("x\n"), "same_guest", Outcome.UNKNOWN),
        (lambda c: (c / "timeline.jsonl").unlink(), "same_guest", Outcome.UNKNOWN),
        (lambda c: rewrite(c, lambda e: e.update(index=e["index"] + 1)), "same_guest", Outcome.UNKNOWN),
    ],
)
def test_a_tampered_record_gives_another_verdict(
    tmp_path: Path, tamper: Callable[[Path], Any], checker: str, outcome: Outcome
) -> None:
    run, case = made(tmp_path)
    tamper(case)
    judged = rejudge(run)
    assert {v.checker: v.outcome for v in judged[NODEID]}[checker] is outcome
    assert any(checker in line for line in differences(run, judged))


def test_tampered_verdicts_are_told(tmp_path: Path) -> None:
    run, case = made(tmp_path, dma_intact("nic.to-guest"))
    rows = json.loads((case / "verdicts.json").read_text())
    rows[0]["outcome"] = "FAIL"
    (case / "verdicts.json").write_text(json.dumps(rows))
    (line,) = differences(run, rejudge(run))
    assert "recorded FAIL dma_intact(nic.to-guest)" in line and "now PASS" in line
    (case / "verdicts.json").write_text("[]")
    assert rejudge(run) == {NODEID: []}
    (case / "verdicts.json").write_text("{")
    assert rejudge(run)[NODEID][0].outcome is Outcome.UNKNOWN
    assert "damaged" in differences(run, rejudge(run))[0]


def test_a_checker_of_somebody_elses_cannot_be_judged_again(tmp_path: Path) -> None:
    def theirs(_: Timeline) -> Verdict:
        return Verdict("theirs", Outcome.PASS, "as we like it")

    run, _ = made(tmp_path, theirs, same_guest())
    first, second = rejudge(run)[NODEID]
    assert first.outcome is Outcome.UNKNOWN and "cannot be judged again" in first.summary
    assert second.outcome is Outcome.PASS


def test_all_standard_checkers_on_request(tmp_path: Path) -> None:
    run, _ = made(tmp_path, same_guest())
    assert len(rejudge(run, everything=True)[NODEID]) == len(standard(pause_limit_s=2))


def test_a_case_that_was_never_judged_has_no_verdicts(tmp_path: Path) -> None:
    run, case = made(tmp_path)
    (case / "verdicts.json").unlink()
    assert rejudge(run) == {NODEID: []}


def test_no_run_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(LabUsageError, match="no run record"):
        rejudge(tmp_path)


def test_damaged_evidence_leaves_the_verdicts(tmp_path: Path) -> None:
    _, case = made(tmp_path)
    rewrite(case, lambda e: e["kind"] == "host.process" and e["data"].update(vmlck_kb="x"))
    timeline = Timeline.load(case / "timeline.jsonl")
    assert write_verdicts(case, timeline, [same_guest()], judge(timeline, [same_guest()])) == []
    assert len(read_verdicts(case)) == 1
