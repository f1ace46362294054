"""The core: timeline, verdict, columns."""

import errno
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from lab.columns import BLOCKS, Table, read
from lab.errors import Inconclusive, OutcomeUnknown, Refused
from lab.timeline import Recorder, Timeline
from lab.verdict import Outcome, Verdict, checker_name, judge, raise_for, worst

PASS, UNKNOWN, FAIL = Outcome.PASS, Outcome.UNKNOWN, Outcome.FAIL


def recorded(folder: Path, count: int = 3) -> Path:
    with Recorder(folder / "case" / "timeline.jsonl") as recorder:
        for number in range(count):
            assert recorder.record("kind.a" if number % 2 else "kind.b", number=number) == number
    return recorder.path


def test_what_is_recorded_is_read_back(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    timeline = Timeline.load(path)
    assert [e.index for e in timeline.events] == [0, 1, 2]
    assert [e.data["number"] for e in timeline.of("kind.b")] == [0, 2]
    assert timeline.of("kind.b", number=2) == [timeline.events[2]]
    assert timeline.of("kind.b", number=2, other=1) == []
    assert len(timeline.starting("kind.")) == 3 and timeline.starting("x") == []
    assert timeline.tables == path.parent / "columns"
    assert [e.t_ns for e in timeline.events] == sorted(e.t_ns for e in timeline.events)


def test_it_is_on_disk_before_record_returns(tmp_path: Path) -> None:
    with Recorder(tmp_path / "t.jsonl") as recorder:
        recorder.record("kind")
        assert json.loads(recorder.path.read_text())["kind"] == "kind"


def test_many_threads_write_one_timeline(tmp_path: Path) -> None:
    with Recorder(tmp_path / "t.jsonl") as recorder:
        threads = [
            threading.Thread(target=lambda n=n: [recorder.record("kind", thread=n) for _ in range(200)])
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    timeline = Timeline.load(tmp_path / "t.jsonl")
    assert len(timeline.events) == 1600
    assert all(len(timeline.of("kind", thread=n)) == 200 for n in range(8))


def test_a_timeline_is_never_written_twice(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        Recorder(recorded(tmp_path))


def test_a_closed_recorder_drops_what_comes_later(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "t.jsonl")
    recorder.record("a")
    recorder.close()
    assert recorder.record("late") == -1
    assert [event.kind for event in Timeline.load(tmp_path / "t.jsonl").events] == ["a"]


@pytest.mark.parametrize(
    "spoil, events",
    [
        (lambda text: text[:-1], 2),
        (lambda text: text[:-30], 2),
        (lambda text: text + '{"ind', 3),
        (lambda text: "", 0),
    ],
)
def test_a_last_line_cut_short_is_dropped(tmp_path: Path, spoil: "object", events: int) -> None:
    path = recorded(tmp_path)
    assert callable(spoil)
    path.write_text(spoil(path.read_text()))
    assert len(Timeline.load(path).events) == events


@pytest.mark.parametrize(
    "old, new, says",
    [
        ('"index": 1', '"index": 7', ":2: index 7, expected 1"),
        ('"index": 0', '"index": 1', ":1: index 1, expected 0"),
        ('"index": 1', '"indx": 1', ":2: not an event"),
        ('"kind": "kind.a"', '"kind": ', ":2: not an event"),
        ('{"index": 1', "[1", ":2: not an event"),
    ],
)
def test_a_tampered_timeline_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = recorded(tmp_path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=says):
        Timeline.load(path)


def test_a_removed_line_is_noticed(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[2])
    with pytest.raises(ValueError, match="index 2, expected 1"):
        Timeline.load(path)


@pytest.mark.parametrize(
    "error, kinds",
    [
        (None, ["cpr.invoke", "cpr.ok"]),
        (Refused("no"), ["cpr.invoke", "cpr.fail"]),
        (OutcomeUnknown("?"), ["cpr.invoke", "cpr.info"]),
    ],
)
def test_what_the_system_does_is_recorded_not_raised(
    tmp_path: Path, error: Exception | None, kinds: list[str]
) -> None:
    with Recorder(tmp_path / "t.jsonl") as recorder, recorder.operation("cpr", update=1):
        if error is not None:
            raise error
    events = Timeline.load(tmp_path / "t.jsonl").events
    assert [e.kind for e in events] == kinds
    assert all(e.data["update"] == 1 for e in events)
    assert error is None or events[1].data["reason"] == str(error)


def test_the_labs_own_errors_go_on(tmp_path: Path) -> None:
    with (
        Recorder(tmp_path / "t.jsonl") as recorder,
        pytest.raises(KeyError),
        recorder.operation("cpr", update=1),
    ):
        raise KeyError
    assert [e.kind for e in Timeline.load(tmp_path / "t.jsonl").events] == ["cpr.invoke"]


def verdict(outcome: Outcome) -> Verdict:
    return Verdict("x", outcome, "because", (1, 2))


@pytest.mark.parametrize(
    "outcomes, expected",
    [
        ([], UNKNOWN),
        ([PASS], PASS),
        ([PASS, UNKNOWN], UNKNOWN),
        ([UNKNOWN, PASS], UNKNOWN),
        ([FAIL, UNKNOWN], FAIL),
        ([UNKNOWN, FAIL, PASS], FAIL),
    ],
)
def test_the_worst_wins(outcomes: list[Outcome], expected: Outcome) -> None:
    verdicts = [verdict(outcome) for outcome in outcomes]
    assert worst(verdicts) is expected
    if expected is PASS:
        raise_for(verdicts)
    else:
        with pytest.raises(AssertionError if expected is FAIL else Inconclusive):
            raise_for(verdicts)


def test_what_did_not_pass_is_said_with_its_evidence() -> None:
    with pytest.raises(AssertionError, match=r"^FAIL x: because \[events 1, 2\]\nUNKNOWN x: because"):
        raise_for([verdict(PASS), verdict(FAIL), verdict(UNKNOWN)])
    with pytest.raises(Inconclusive, match=r"^nothing was judged$"):
        raise_for([])
    assert str(Verdict("x", PASS, "because")) == "PASS x: because"


def test_a_verdict_is_written_down_whole() -> None:
    written = {"checker": "x", "outcome": "FAIL", "summary": "because", "evidence": [1, 2]}
    assert verdict(FAIL).as_json() == written


def test_checkers_are_given_the_timeline() -> None:
    timeline, seen = Timeline(()), list[Timeline]()

    def looks(given: Timeline) -> Verdict:
        seen.append(given)
        return verdict(PASS)

    judge(timeline, [looks, looks])
    assert [one is timeline for one in seen] == [True, True]


def test_what_cannot_be_written_is_told_and_nothing_after_it(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "timeline.jsonl")
    assert recorder.failure is None
    assert recorder.record("a") == 0
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, recorder.fileno())
    os.close(full)
    assert recorder.record("b") == -1
    first = recorder.failure
    assert first is not None and first.errno == errno.ENOSPC
    assert recorder.record("c") == -1
    recorder.close()  # which tries once more to write what it holds
    assert recorder.failure is first
    assert recorder.record("d") == -1
    assert [event.kind for event in Timeline.load(recorder.path).events] == ["a"]


def test_a_recorder_makes_the_folders_it_needs(tmp_path: Path) -> None:
    assert Timeline.load(recorded(tmp_path / "run" / "case")).events


def test_a_crashed_checker_is_unknown_and_hides_nobody() -> None:
    def crashes(timeline: Timeline) -> Verdict:
        raise KeyError("seq")

    def fine(timeline: Timeline) -> Verdict:
        return verdict(PASS)

    first, second = judge(Timeline(()), [crashes, fine])
    assert (first.checker, first.outcome) == ("crashes", UNKNOWN)
    assert first.summary == "the checker crashed: KeyError: 'seq'"
    assert second.outcome is PASS
    assert judge(Timeline(()), []) == []


def test_a_checker_has_a_name() -> None:
    class Configured:
        def __call__(self, timeline: Timeline) -> Verdict:
            return verdict(PASS)

    assert checker_name(Configured()) == "Configured"
    assert checker_name(judge) == "judge"  # type: ignore[arg-type]


def batch(first: int, count: int) -> dict[str, object]:
    numbers = np.arange(first, first + count)
    return {"seq": numbers, "epoch": numbers * 0 + 1, "t_ns": numbers * 10, "good": numbers * 0 + 1}


def test_a_table_grows_by_batches_and_is_whole_after_each(tmp_path: Path) -> None:
    table = Table(tmp_path / "t", BLOCKS)
    empty = read(tmp_path, "t")
    assert empty is not None and all(len(c) == 0 for c in empty.values())
    for first in (0, 5):
        table.append(batch(first, 5))  # type: ignore[arg-type]
        found = read(tmp_path, "t")
        assert found is not None and found["seq"].tolist() == list(range(first + 5))
        assert {name: c.dtype.str for name, c in found.items()} == BLOCKS
    table.close()


@pytest.mark.parametrize("wrong", [{"seq": [1]}, batch(0, 2) | {"more": [1, 2]}, batch(0, 2) | {"seq": [1]}])
def test_a_batch_fills_all_columns_equally(tmp_path: Path, wrong: dict[str, object]) -> None:
    table = Table(tmp_path / "t", BLOCKS)
    with pytest.raises(ValueError, match="batch"):
        table.append(wrong)  # type: ignore[arg-type]
    table.close()


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    table = Table(tmp_path / "t", BLOCKS)
    table.append(batch(0, 50))  # type: ignore[arg-type]
    table.close()
    column = tmp_path / "t" / "seq.npy"
    whole = column.read_bytes()
    column.write_bytes(whole[:-8])
    with pytest.raises(ValueError, match=r"mmap|array|file"):
        read(tmp_path, "t")
    column.write_bytes(b"not numpy")
    with pytest.raises(ValueError):
        read(tmp_path, "t")
    np.save(column, np.arange(49))
    with pytest.raises(ValueError, match="differ in length"):
        read(tmp_path, "t")


def test_no_table_is_none(tmp_path: Path) -> None:
    assert read(tmp_path, "t") is None
    assert read(None, "t") is None
