"""What a run came to, read from its record: the table for people, the object for programs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from lab.cli.console import STYLE
from lab.cli.exit_status import Ended, of_run
from lab.report.case_folder import CaseFolder
from lab.run_record import left, read_run
from lab.verdict import Outcome, Verdict, worst

Judged = Mapping[str, Sequence[Verdict]]


def verdicts_of(run: Path, cases: Sequence[Mapping[str, Any]]) -> dict[str, list[Verdict]]:
    """The verdicts of every case by node id, read from the case folders."""
    return {
        str(case["nodeid"]): CaseFolder(run / case["folder"]).verdicts() if case.get("folder") else []
        for case in cases
    }


def exit_status(record: Mapping[str, Any], judged: Judged) -> int:
    """The exit status by the record; a run that did not end by itself, or has cases left, is broken."""
    ended = [
        Ended(
            str(case["status"]),
            tuple(v.outcome for v in judged.get(str(case["nodeid"]), ())),
            bool(case.get("folder")),
        )
        for case in record.get("cases", [])
    ]
    return of_run(ended, None if left(record) else record.get("exit_status"))


def table(cases: Sequence[Mapping[str, Any]], judged: Judged) -> Table:
    """Case by case: the worst verdict, how many of each, and every claim that did not pass."""
    out = Table("case", "verdict", "what did not pass", box=None, pad_edge=False, padding=(0, 2))
    for case in cases:
        nodeid = str(case["nodeid"])
        verdicts = judged.get(nodeid, ())
        name = nodeid.split("::", 1)[-1]
        out.add_row(_escape(name), headline(case, verdicts), _bad(case, verdicts))
    return out


def headline(case: Mapping[str, Any], verdicts: Sequence[Verdict]) -> str:
    """One word for a case, with how many claims passed."""
    if case["status"] == "xfailed":
        return "[cyan]known defect[/]"
    if not verdicts and case["status"] == "passed" and not case.get("folder"):
        return f"[{STYLE[Outcome.PASS]}]PASS[/] asserted"
    if not verdicts:
        return f"[yellow]{case['status'] if case['status'] != 'passed' else 'not judged'}[/]"
    outcome = worst(verdicts)
    if outcome is Outcome.PASS and case["status"] != "passed":
        return f"[yellow]{case['status']}[/]"
    passed = sum(verdict.outcome is Outcome.PASS for verdict in verdicts)
    return f"[{STYLE[outcome]}]{outcome}[/] {passed}/{len(verdicts)}"


def _bad(case: Mapping[str, Any], verdicts: Sequence[Verdict]) -> str:
    ordered = sorted(verdicts, key=lambda verdict: -verdict.outcome.badness)
    lines = [
        f"[{STYLE[v.outcome]}]{v.outcome}[/] {_escape(v.checker)}: {_escape(v.summary)}"
        for v in ordered
        if v.outcome is not Outcome.PASS
    ]
    if not lines and case["status"] != "passed":
        lines = [_escape(str(case.get("reason") or "no reason given"))]
    lines += [f"bench failed before: {_escape(str(one['reason']))}" for one in case.get("attempts", ())]
    return "\n".join(lines)


def as_json(run: Path, status: int, report: str | None) -> dict[str, Any]:
    """For programs: the run record with the verdicts of every case in it."""
    record = read_run(run)
    judged = verdicts_of(run, record.get("cases", []))
    cases = [
        {**case, "verdicts": [v.as_json() for v in judged[str(case["nodeid"])]]}
        for case in record.get("cases", [])
    ]
    return {"run": str(run), "report": report, "result": status, **record, "cases": cases}


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
