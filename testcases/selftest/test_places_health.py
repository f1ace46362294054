"""A host's health between its place and this controller, and what makes one doubt that it was given back."""

import json
from pathlib import Path

import pytest

from lab.cli.places import trouble
from lab.errors import BenchError
from lab.health import State, Store
from lab.places import health
from lab.places.demo import Back, Ran, require_whole
from lab.places.view import Place
from lab.scale.measure import Spread, handed_over


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def place(**tags: str) -> Place:
    return Place("bench-a", tags, ())


@pytest.mark.parametrize(
    "says, known, becomes",
    [
        ("", State.GOOD, State.GOOD),
        ("", State.SUSPECT, State.SUSPECT),
        ("good", State.GOOD, State.GOOD),
        ("good", State.SUSPECT, State.SUSPECT),
        ("good", State.QUARANTINED, State.SUSPECT),
        ("good", State.MAINTENANCE, State.SUSPECT),
        ("suspect", State.GOOD, State.SUSPECT),
        ("suspect", State.QUARANTINED, State.SUSPECT),
    ],
)
def test_what_a_place_says_goes_and_is_checked(says: str, known: State, becomes: State) -> None:
    Store().set("bench-a", known, "because")
    health.heed_tag(place(**({"health": says} if says else {})))
    assert Store().read("bench-a").state is becomes


@pytest.mark.parametrize("known", [State.QUARANTINED, State.MAINTENANCE])
def test_what_a_controller_knows_goes_if_the_place_says_nothing(known: State) -> None:
    Store().set("bench-a", known, "its disk died")
    with pytest.raises(BenchError, match="its disk died"):
        health.heed_tag(place())
    assert health.tags(place()) == {"health": known.value, "health_reason": "its disk died"}


def test_a_place_is_told_what_changed_and_nothing_else() -> None:
    assert health.tags(place()) == {}
    assert health.tags(place(health="good")) == {}
    assert health.tags(place(health="suspect", health_reason="x")) == {"health": "good", "health_reason": ""}


def recorded(folder: Path, *statuses: str) -> Path:
    cases = [{"status": status, "reason": f"it was {status}"} for status in statuses]
    (folder / "run.json").write_text(json.dumps({"cases": cases}))
    return folder


@pytest.mark.parametrize(
    "pytest_status, statuses, said",
    [
        (0, ("passed", "xfailed"), ""),
        (1, ("failed",), ""),
        (1, ("passed", "broken"), "a case was broken: it was broken"),
        (2, ("broken",), ""),
        (-9, ("passed",), "its run was killed"),
    ],
    ids=["all well", "what was tested failed", "the bench failed", "interrupted, and torn down", "killed"],
)
def test_what_makes_one_doubt_that_a_host_was_given_back(
    pytest_status: int, statuses: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    assert trouble(pytest_status, recorded(tmp_path, *statuses)) == said


def test_a_run_that_recorded_nothing_touched_nothing(tmp_path: Path) -> None:
    assert trouble(4, tmp_path) == ""


GOOD = [Ran("run 1", status=0, place="a"), Ran("run 2", status=0, place="b")]
FREE = Back(place(), power_on=False)


def test_a_demonstration_that_went_well() -> None:
    require_whole(GOOD, {"a": FREE, "b": FREE})


@pytest.mark.parametrize(
    "ran, back, said",
    [
        ([GOOD[0], Ran("run 2", status=1, place="b")], FREE, "run 2 ended with 1"),
        ([GOOD[0], Ran("run 2", status=0, place="a")], FREE, "two runs were on one host"),
        (GOOD, Back(place(), power_on=True), "not given back: a"),
        (GOOD, Back(Place("a", {}, (), holder="x/y"), power_on=False), "not given back: a"),
        (GOOD, Back(place(in_use_1="x/y now"), power_on=False), "not given back: a"),
    ],
)
def test_a_demonstration_that_did_not(ran: list[Ran], back: Back, said: str) -> None:
    with pytest.raises(BenchError, match=said):
        require_whole(ran, {"a": back})


def test_only_who_waited_was_handed_a_place() -> None:
    runs = [
        {"place": "a", "asked_s": 0.0, "had_s": 1.0, "released_s": 10.0},
        {"place": "a", "asked_s": 5.0, "had_s": 10.5, "released_s": 20.0},
        {"place": "b", "asked_s": 5.0, "had_s": 5.5, "released_s": 6.0},
        {"place": "a", "asked_s": 30.0, "had_s": 31.0, "released_s": 32.0},
    ]
    assert list(handed_over(runs)) == [0.5]


def test_a_spread_of_nothing_is_no_number() -> None:
    assert Spread.of([1.0, 2.0, 9.0]).median_s == 2.0
    assert Spread.of([]).median_s != Spread.of([]).median_s
