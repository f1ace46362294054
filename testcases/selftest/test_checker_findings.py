"""What a checker found becomes one sentence, and the list of harmless messages is read as it is written.

A defect outweighs what is missing, and that what was seen.
"""

import pytest

from lab.checkers.benign import harmless, parse
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


LIST = "# reviewed\n\nhost\ta.*\tbecause\nguest\tb\twhy\nqemu\tc\tso\n"


def test_the_list_of_harmless_messages_is_read() -> None:
    assert parse(LIST) == (("host", "a.*", "because"), ("guest", "b", "why"), ("qemu", "c", "so"))
    assert parse("  \n#\n") == ()


@pytest.mark.parametrize(
    "line", ["a\thost\twhy", "host\ta", "host\ta\twhy\tmore", "host\ta\t ", "host\t(\twhy"]
)
def test_a_line_that_is_wrong_is_named(line: str) -> None:
    with pytest.raises(
        ValueError, match=r"^benign\.txt:2: (want source, expression and reason, apart|missing|unterm)"
    ):
        parse("# one\n" + line)


@pytest.mark.parametrize(
    "where, text, told",
    [("host", "abc", True), ("guest", "abc", False), ("guest", "b", True), ("guest", "bb", False)],
)
def test_a_message_is_harmless_where_the_list_says_so(where: str, text: str, told: bool) -> None:
    assert harmless(where, text, parse(LIST)) is told
