"""What every checker asks of a timeline, asked directly: what ended, who was awake, how far it is judged."""

from typing import Any

import pytest

from lab.checkers.clocks import window
from lab.checkers.findings import Findings
from lab.checkers.updates import alive_until, awake, completed, fresh_epoch, how_it_ended, seeing, updates
from lab.timeline import Timeline
from lab.verdict import Outcome, Verdict

from .test_checker_models import told

UNKNOWN, NOTHING = Outcome.UNKNOWN, "nothing was seen that bears on this claim"
WELL: list[tuple[str, dict[str, Any]]] = [
    ("witness.start", {"witness": "pins"}),
    ("cpr.invoke", {}),
    ("cpr.ok", {}),
    ("epoch", {"number": 2}),
    ("load.settled", {}),
    ("load.stop", {}),
    ("witness.stop", {"witness": "pins"}),
]


def without(*kinds: str) -> Timeline:
    return told(*(event for event in WELL if event[0] not in kinds))


def after(kind: str, *more: "tuple[str, dict[str, Any]]") -> Timeline:
    at = [event[0] for event in WELL].index(kind) + 1
    return told(*WELL[:at], *more, *WELL[at:])


def said(found: Findings) -> tuple[str, tuple[int, ...]]:
    verdict: Verdict = found.verdict()
    assert verdict.outcome is UNKNOWN
    return verdict.summary, verdict.evidence


@pytest.mark.parametrize(
    "timeline, watching, summary, evidence",
    [
        (told(*WELL), True, NOTHING, ()),
        (without("witness.stop"), True, NOTHING, ()),
        (without("witness.start"), False, "the witness pins was not watching when the update began", ()),
        (
            after("cpr.invoke", ("witness.stop", {"witness": "pins"})),
            False,
            "the witness pins stopped before the end",
            (2,),
        ),
        (after("cpr.invoke", ("witness.stop", {"witness": "kmsg"})), True, NOTHING, ()),
        (
            after("cpr.ok", ("witness.blind", {"witness": "pins", "reason": "gone"})),
            False,
            "the witness pins went blind: gone",
            (3,),
        ),
        (
            after("cpr.ok", ("witness.blind", {"witness": "pins"})),
            False,
            "the witness pins went blind: no reason given",
            (3,),
        ),
        (after("cpr.ok", ("witness.blind", {"witness": "kmsg"})), True, NOTHING, ()),
        # with no update, or one that did not end, to the end of the recording
        (without("cpr.invoke", "cpr.ok", "witness.stop"), True, NOTHING, ()),
        (without("cpr.invoke", "cpr.ok"), False, "the witness pins stopped before the end", (4,)),
        (without("cpr.ok"), False, "the witness pins stopped before the end", (5,)),
        (
            told(WELL[1], WELL[0], *WELL[2:]),
            False,
            "the witness pins was not watching when the update began",
            (),
        ),
    ],
)
def test_a_witness_is_awake(
    timeline: Timeline, watching: bool, summary: str, evidence: "tuple[int, ...]"
) -> None:
    found = Findings("claim")
    assert awake(found, timeline, "pins") is watching
    assert said(found) == (summary, evidence)
    blind = "blind" in summary
    assert seeing(Findings("claim"), timeline, "pins") is not blind


@pytest.mark.parametrize(
    "end, outcome, words",
    [
        (("cpr.ok", {}), "ok", "completed"),
        (("cpr.fail", {"reason": "no"}), "fail", "refused: no"),
        (("cpr.info", {}), "info", "nobody knows"),
        (("other", {}), "open", "the recording ends in it"),
    ],
)
def test_how_an_update_ended_is_said(end: Any, outcome: str, words: str) -> None:
    timeline = told(("cpr.invoke", {}), end)
    (update,) = updates(timeline)
    assert (update.outcome, how_it_ended(update), update.name) == (outcome, words, "update 1")
    events = (0,) if outcome == "open" else (0, 1)
    for wanted, wrong in (("ok", "did not complete"), ("fail", "was not refused")):
        found = Findings("claim")
        done = completed(found, timeline, wanted)
        if outcome == wanted:
            assert done == [update] and said(found) == (NOTHING, ())
        else:
            assert done == [] and said(found) == (f"update 1 {wrong} ({words})", events)


def test_no_update_at_all_is_a_gap() -> None:
    found = Findings("claim")
    assert completed(found, told()) == []
    assert said(found) == ("no update was begun", ())


def test_without_a_new_epoch_nothing_is_fresh() -> None:
    timeline = told(("epoch", {"number": 1}), ("cpr.invoke", {}), ("cpr.ok", {}), ("epoch", {"number": 1}))
    found = Findings("claim")
    assert fresh_epoch(found, timeline, updates(timeline)[0]) is None
    assert said(found) == ("no new epoch was opened after update 1", (2,))


def test_the_guest_runs_until_its_load_is_stopped() -> None:
    again: list[tuple[str, dict[str, Any]]] = [("cpr.invoke", {}), ("cpr.ok", {}), ("load.stop", {})]
    timeline = told(*WELL, *again)
    first, second = updates(timeline)
    assert (alive_until(timeline, first).index, alive_until(timeline, second).index) == (5, 9)
    timeline = without("load.settled", "load.stop")
    assert alive_until(timeline, updates(timeline)[0]).index == 2


def test_an_update_on_a_clock_that_was_never_compared_is_a_gap() -> None:
    timeline = told(("cpr.invoke", {}), ("cpr.ok", {}))
    (update,) = updates(timeline)
    found = Findings("claim")
    assert window(found, timeline, "host", update) is None
    assert said(found) == ("the host clock was never compared with the controller's", ())
    found = Findings("claim")
    at = window(found, timeline, "controller", update)
    assert at is not None and (at.start_ns, at.end_ns, at.error_ns) == (0, 1_000_000, 0)
    assert said(found) == (NOTHING, ())
