"""What a rule is, and what it may say."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from lab.preflight.facts import Facts

Severity = Literal["refuse", "warn", "note"]
SEVERITIES: tuple[Severity, ...] = ("refuse", "warn", "note")


@dataclass(frozen=True)
class Saying:
    """One thing a rule says; severity None: it cannot tell, and this is what it lacks."""

    severity: Severity | None
    text: str


Says = Iterator[Saying]


def refuse(text: str) -> Saying:
    """The guest, or what it wrote, would be lost; or the update cannot succeed."""
    return Saying("refuse", text)


def warn(text: str) -> Saying:
    """The guest lives, and something is worse for it."""
    return Saying("warn", text)


def note(text: str) -> Saying:
    """Nothing the guest sees."""
    return Saying("note", text)


def untold(text: str) -> Saying:
    """It matters here and is not known."""
    return Saying(None, text)


@dataclass(frozen=True)
class Rule:
    """One thing that goes wrong.

    source: where that is known from
    remedy: what to do about it
    """

    name: str
    source: str
    remedy: str
    says: Callable[[Facts], Says]


def rule(name: str, *, source: str, remedy: str) -> Callable[[Callable[[Facts], Says]], Rule]:
    """Make a rule of a function that says what is wrong with some facts."""
    return lambda says: Rule(name, source, remedy, says)
