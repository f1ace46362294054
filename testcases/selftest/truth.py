"""Truth tables: a row spoils a healthy recording and says what the checker must make of it."""

import re
from pathlib import Path
from typing import Any

import pytest

from lab.verdict import Checker, Outcome

from .reviewed import hold_to_review
from .story import Spoiler
from .timelines import healthy

PASS, UNKNOWN, FAIL = Outcome.PASS, Outcome.UNKNOWN, Outcome.FAIL


def row(sentence: str, outcome: Outcome, says: str, *spoil: Spoiler, updates: int = 1) -> Any:
    """A row of a truth table.

    sentence: what happened
    says:     a regular expression for the verdict's sentence
    spoil:    what is done to a healthy recording of so many updates
    """
    return pytest.param(spoil, outcome, says, updates, id=sentence)


def hold(
    checker: Checker, folder: Path, spoil: "tuple[Spoiler, ...]", updates: int, outcome: Outcome, says: str
) -> None:
    """Hold the checker against one row."""
    story = healthy(updates)
    for change in spoil:
        change(story)
    timeline = story.timeline(folder)
    verdict = checker(timeline)
    assert verdict.outcome is outcome, str(verdict)
    assert re.search(says, verdict.summary), str(verdict)
    assert all(0 <= index < len(timeline.events) for index in verdict.evidence)
    assert "\n" not in verdict.summary
    hold_to_review(verdict, timeline, folder)
