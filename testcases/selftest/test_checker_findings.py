"""What a checker found becomes one sentence: a defect outweighs what is missing, and that what was seen."""

import pytest

from lab.checkers.findings import Findings
from lab.timeline import Event
from lab.verdict import Outcome, Verdict

FAIL, UNKNOWN, PASS = Outcome.FAIL, Outcome.UNKNOWN, Outcome.PASS
ONE, TWO, THREE = (Event(index, 0, "seen", {}) for index in (4, 2, 9))


def found(*said: "tuple[str, str, tuple[Event, ...]]") -> Verdict:
    findings = Findings("claim")
    for how, text, events in said:
        getattr(findings, how)(text, *events)
    return findings.verdict()


def test_nothing_seen_is_unknown() -> None:
    assert found() == Verdict("claim", UNKNOWN, "nothing was seen that bears on this claim")


@pytest.mark.parametrize(
    "said, expected",
    [
        ([("fact", "a", (ONE,))], Verdict("claim", PASS, "a", (4,))),
        ([("fact", "a", (ONE,)), ("gap", "b", (TWO,))], Verdict("claim", UNKNOWN, "b", (2,))),
        ([("gap", "b", (TWO,)), ("defect", "c", (THREE,))], Verdict("claim", FAIL, "c", (9,))),
        ([("defect", "c", ()), ("fact", "a", (ONE,))], Verdict("claim", FAIL, "c")),
        (
            [("gap", "b", (THREE, ONE)), ("gap", "c", (ONE, TWO))],
            Verdict("claim", UNKNOWN, "b; c", (2, 4, 9)),
        ),
        ([("fact", text, ()) for text in "abc"], Verdict("claim", PASS, "a; b; c")),
        ([("fact", text, (ONE,)) for text in "abcde"], Verdict("claim", PASS, "a; b; c; and 2 more", (4,))),
    ],
)
def test_the_worst_that_was_found_is_the_verdict(
    said: "list[tuple[str, str, tuple[Event, ...]]]", expected: Verdict
) -> None:
    assert found(*said) == expected
