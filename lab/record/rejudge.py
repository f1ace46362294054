"""Judge a run again from its record alone: the same checkers, the same configuration, no bench."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.checkers import from_json, standard
from lab.errors import LabUsageError
from lab.record.case import Recorded, read_verdicts
from lab.run_record import read_run
from lab.timeline import Timeline
from lab.verdict import Checker, Outcome, Verdict, judge

_PAUSE_LIMIT_S = 2.0


def rejudge(run: Path, *, everything: bool = False) -> dict[str, list[Verdict]]:
    """The verdicts of every case of a run by node id, in the recorded order.

    everything: with all standard checkers, not with those that judged the case

    A case that was never judged has no verdicts. What cannot be judged again (a damaged
    timeline, a checker that is not one of lab.checkers) is UNKNOWN.

    Raises:
        LabUsageError: if the folder holds no run.
    """
    cases = read_run(run).get("cases", [])
    return {
        str(case["nodeid"]): rejudge_case(run / case["folder"], everything=everything)
        if case.get("folder")
        else []
        for case in cases
    }


def rejudge_case(folder: Path, *, everything: bool = False) -> list[Verdict]:
    """The verdicts of one case from its folder."""
    try:
        recorded = read_verdicts(folder)
    except LabUsageError as damage:
        return [Verdict("record", Outcome.UNKNOWN, str(damage))]
    try:
        timeline = Timeline.load(folder / "timeline.jsonl")
    except (OSError, ValueError) as damage:
        names = [row.verdict.checker for row in recorded] or ["record"]
        return [Verdict(name, Outcome.UNKNOWN, f"the timeline cannot be read: {damage}") for name in names]
    if everything:
        return judge(timeline, standard(pause_limit_s=_PAUSE_LIMIT_S))
    return judge(timeline, [_checker(row) for row in recorded])


def differences(run: Path, judged: Mapping[str, Sequence[Verdict]]) -> list[str]:
    """How the verdicts differ from the recorded ones, one line each; none if they are the same."""
    lines = []
    for case in read_run(run).get("cases", []):
        nodeid = str(case["nodeid"])
        try:
            recorded = (
                [row.verdict for row in read_verdicts(run / case["folder"])] if case.get("folder") else []
            )
        except LabUsageError as damage:
            lines.append(f"{nodeid}: {damage}")
            continue
        lines += [f"{nodeid}: {text}" for text in _differ(recorded, judged.get(nodeid, ()))]
    return lines


def _differ(recorded: Sequence[Verdict], judged: Sequence[Verdict]) -> list[str]:
    if [v.checker for v in recorded] != [v.checker for v in judged]:
        return [f"recorded {len(recorded)} verdicts, judged {len(judged)}, by other checkers"]
    pairs = zip(recorded, judged, strict=True)
    return [f"recorded {old}, now {new}" for old, new in pairs if old != new]


def _checker(row: Recorded) -> Checker:
    try:
        return from_json(row.claim or {})
    except ValueError as error:
        reason, name = str(error), row.verdict.checker

    def unknown(_: Timeline) -> Verdict:
        return Verdict(name, Outcome.UNKNOWN, f"cannot be judged again: {reason}")

    return unknown


def summary(run: Path) -> dict[str, Any]:
    """For programs: every case's verdicts judged again, and how they differ from the record."""
    judged = rejudge(run)
    cases = {nodeid: [v.as_json() for v in verdicts] for nodeid, verdicts in judged.items()}
    return {"run": str(run), "cases": cases, "differences": differences(run, judged)}
