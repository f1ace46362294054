"""What goes wrong between a bench and its host agent is told of the host.

Claim: issue 7, "Undo" and "Health": one that could not be restored is not handed out, a wedged one suspect.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lab import bench as bench_module
from lab.bench import Bench, prepared
from lab.drivers.agent import NotRestored
from lab.errors import BenchError
from lab.health import State, Store

TARGETS = Path(__file__).resolve().parents[2] / "targets"
LEFT = NotRestored("the host agent cannot undo what was changed before: 0000:3b:00.0: held", [])


class FakeAgent:
    """A session; what it left, and what the next one finds. `sessions` counts."""

    left: list[str] = []
    silent = False
    at_start: Exception | None = None
    later: Exception | None = None
    sessions = 0

    def __init__(self, connection: object, *_: object, **__: object) -> None: ...

    def __enter__(self) -> "FakeAgent":
        FakeAgent.sessions += 1
        error = self.at_start if FakeAgent.sessions == 1 else self.later
        if error is not None:
            raise error
        return self

    def __exit__(self, *_: object) -> None: ...

    def answers(self) -> bool:
        return not self.silent


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """The bench of the example, whose host is not there."""
    monkeypatch.setattr(bench_module, "HostAgent", FakeAgent)
    monkeypatch.setattr(Bench, "connection", None)
    for name, value in (
        ("left", []),
        ("silent", False),
        ("at_start", None),
        ("later", None),
        ("sessions", 0),
    ):
        monkeypatch.setattr(FakeAgent, name, value)
    yield prepared(TARGETS / "example-host.yaml")


def used(bench: Bench) -> None:
    with bench.agent():
        pass


CASES: dict[str, tuple[dict[str, Any], State, int]] = {
    "all is well": ({}, State.GOOD, 1),
    "undone by the next": ({"left": ["0000:3b:00.0: held"]}, State.GOOD, 2),
    "not undone by the next either": ({"left": ["x"], "later": LEFT}, State.QUARANTINED, 2),
    "left by an earlier one": ({"at_start": LEFT}, State.QUARANTINED, 1),
    "its agent is silent": ({"silent": True}, State.SUSPECT, 1),
}


@pytest.mark.parametrize(("is_so", "state", "sessions"), CASES.values(), ids=CASES)
def test_what_becomes_of_a_host(
    real: Bench, monkeypatch: pytest.MonkeyPatch, is_so: dict[str, Any], state: State, sessions: int
) -> None:
    for name, value in is_so.items():
        monkeypatch.setattr(FakeAgent, name, value)
    with suppress(NotRestored):
        used(real)
    known = Store().read("example-host")
    assert (known.state, FakeAgent.sessions) == (state, sessions)
    if state is not State.GOOD:
        assert known.machine == real.machine != ""
    if state is State.QUARANTINED:
        with pytest.raises(BenchError, match="host example-host is in quarantine"):
            real.ready()


def test_a_case_that_failed_does_not_hide_what_was_left(real: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own error is the one that is told; the next session finds what was left."""
    monkeypatch.setattr(FakeAgent, "left", ["x"])
    with pytest.raises(ZeroDivisionError), real.agent():
        raise ZeroDivisionError
    assert FakeAgent.sessions == 1


def test_a_virtual_bench_is_switched_off_and_nothing_is_kept(
    real: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next power-on makes a new host."""
    virtual = prepared(TARGETS / "virtual.yaml")
    offs: list[bool] = []
    monkeypatch.setattr(Bench, "off", lambda bench: offs.append(True))
    monkeypatch.setattr(FakeAgent, "at_start", LEFT)
    with pytest.raises(NotRestored):
        used(virtual)
    assert offs == [True] and Store().names() == []
