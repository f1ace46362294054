"""The calibration matrix: who caught which fault with which sentence, from the record of a run. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import LabUsageError
from lab.record.case import read_verdicts
from lab.run_record import INTERRUPTED, read_run
from lab.timeline import Timeline
from lab.verdict import Outcome, Verdict

PLANTED, CLEAN = "calibration.fault", "calibration.clean"
"""Kinds of events: what a case says of itself."""
RECORDER = "recorder"
"""What catches a fault of the record itself: the case is broken, and judged by nobody."""


def claim(checker: str) -> str:
    """A checker's name without the bound that the bench's target file gave it."""
    return "guest_pause_below" if checker.startswith("guest_pause_below") else checker


@dataclass(frozen=True)
class Row:
    """One planted fault, and what became of it.

    expected: the checkers that must say FAIL
    unknown:  those that must say UNKNOWN: what blinds a witness proves nothing, and must not look like proof
    unsure:   those that may say UNKNOWN, too
    breaks:   what the case must say that cannot be judged; "" if it must be judged
    spares:   whether all others must say PASS
    verdicts: none if nothing was judged
    reason:   why nothing was judged
    """

    name: str
    expected: frozenset[str]
    unknown: frozenset[str]
    spares: bool
    verdicts: Sequence[Verdict]
    reason: str = ""
    unsure: frozenset[str] = frozenset()
    breaks: str = ""

    @classmethod
    def of(cls, facts: Mapping[str, Any], verdicts: Sequence[Verdict], reason: str = "") -> "Row":
        """facts: what the case says of itself, as `Fault.expected` gives it"""
        expected, unknown, unsure = (frozenset(facts.get(k, ())) for k in ("refutes", "unknown", "unsure"))
        breaks = str(facts.get("breaks", ""))
        name, spares = str(facts["name"]), bool(facts["spares"])
        return cls(name, expected, unknown, spares, verdicts, reason, unsure, breaks)

    def said(self, outcome: Outcome) -> frozenset[str]:
        """The checkers that came to an outcome."""
        return frozenset(claim(v.checker) for v in self.verdicts if v.outcome is outcome)

    @property
    def missed(self) -> frozenset[str]:
        """The checkers that did not say what they must."""
        return (self.expected - self.said(Outcome.FAIL)) | (self.unknown - self.said(Outcome.UNKNOWN))

    @property
    def blamed(self) -> frozenset[str]:
        """The checkers that spoke up although the fault was none of theirs."""
        if not self.spares:
            return frozenset()
        unknown = self.unknown | self.unsure
        return (self.said(Outcome.FAIL) - self.expected) | (self.said(Outcome.UNKNOWN) - unknown)

    @property
    def judged(self) -> bool:
        """Whether it is known if it was caught: what breaks a case must do so at once."""
        return bool(self.verdicts or self.breaks)

    @property
    def caught(self) -> bool:
        """Whether exactly the right checkers turned, where that can be asked for."""
        if self.breaks:
            return not self.verdicts and self.breaks in self.reason
        return bool(self.verdicts) and bool(self.expected | self.unknown) and not self.missed | self.blamed

    @property
    def wrong(self) -> str:
        """Who did not say what they must, in words; or why nothing was judged."""
        told = {"missed by": self.missed if self.verdicts else (), "wrongly blamed by": self.blamed}
        return "; ".join(f"{how} {', '.join(sorted(who))}" for how, who in told.items() if who) or self.reason

    @property
    def by(self) -> list[str]:
        """The checkers that caught it, the one whose sentence is told first; or the recorder."""
        if self.breaks:
            return [RECORDER] if self.caught else []
        return sorted((self.expected | self.unknown) - self.missed)

    @property
    def sentence(self) -> str:
        """What the first of them said; or what went wrong."""
        if self.by and not self.breaks:
            return next(v.summary for v in self.verdicts if claim(v.checker) == self.by[0])
        return self.reason or "nobody noticed"

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "expected": [RECORDER] if self.breaks else sorted(self.expected | self.unknown),
            "caught": self.caught,
            "by": self.by,
            "sentence": self.sentence,
            "missed": sorted(self.missed),
            "blamed": sorted(self.blamed),
        }


@dataclass(frozen=True)
class Calibration:
    """What a calibration run showed.

    rows:     every planted fault; one that was planted more than once is as good as the worst time
    clean:    outcomes of the clean runs; UNKNOWN for one that was never judged
    missing:  faults that belong to it and were not planted yet
    """

    rows: Sequence[Row]
    clean: Sequence[Outcome]
    missing: Sequence[str] = ()

    @property
    def alarms(self) -> int:
        """Clean runs that were red or unknown."""
        return sum(outcome is not Outcome.PASS for outcome in self.clean)

    @property
    def passed(self) -> bool:
        """Every fault caught by the right checkers, and no alarm without one; nothing tried is no pass."""
        green = all(row.caught for row in self.rows) and not self.alarms
        return green and bool(self.rows) and bool(self.clean) and not self.missing

    @property
    def judged(self) -> set[str]:
        """The faults of which it is known whether they were caught."""
        return {row.name for row in self.rows if row.judged}

    @property
    def checkers(self) -> list[str]:
        """The columns of the matrix."""
        return sorted({claim(v.checker) for row in self.rows for v in row.verdicts})


def together(runs: Sequence[Path], wanted: Sequence[str] = ()) -> Calibration:
    """What several runs show as one; a fault that was judged in one needs not be in the others.

    wanted: the faults that belong to it

    Raises:
        LabUsageError: as `of_run`; or they are not of one lab, bench and QEMU, and prove nothing together.
    """
    # one that never got as far as a guest knows of no versions, and judged nothing
    begun = {str(run): record for run in runs if (record := read_run(run))["versions"]}
    stands = {name: _stands_for(record) for name, record in begun.items()}
    for name, of in stands.items():
        if of != (first := next(iter(stands.values()))):
            raise LabUsageError(f"{name} is of {of}, not of {first}: calibrate anew, without --resume")
    found = [of_run(run) for run in runs]
    rows: dict[str, Row] = {}
    for row in (row for one in found for row in one.rows):
        before = rows.get(row.name)
        if before is None or (row.judged and (not before.judged or not row.caught)):
            rows[row.name] = row
    missing = [name for name in wanted if name not in rows]
    return Calibration(list(rows.values()), [outcome for one in found for outcome in one.clean], missing)


def _stands_for(record: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in sorted(record["versions"].items()))
    return f"lab {record['commit']}, bench {(record['bench'] or {}).get('name')}, {versions}"


def of_run(run: Path) -> Calibration:
    """What a run calibrates, from its record alone; a case that was interrupted shows nothing.

    Raises:
        LabUsageError: the folder holds no run, or its verdicts are damaged.
    """
    rows: list[Row] = []
    clean: list[Outcome] = []
    for case, timeline in _cases(run):
        verdicts = [recorded.verdict for recorded in read_verdicts(run / case["folder"])]
        for planted in timeline.of(PLANTED):
            rows.append(Row.of(planted.data, verdicts, _reason(case)))
        if timeline.of(CLEAN):
            whole = verdicts and case["status"] == "passed"
            worst = max((v.outcome for v in verdicts), key=lambda o: o.badness, default=Outcome.UNKNOWN)
            clean.append(worst if whole or worst is not Outcome.PASS else Outcome.UNKNOWN)
    return Calibration(rows, clean)


def _cases(run: Path) -> Iterator[tuple[dict[str, Any], Timeline]]:
    for case in read_run(run).get("cases", []):
        if not case.get("folder") or case.get("reason") == INTERRUPTED:
            continue
        try:
            yield case, Timeline.load(run / case["folder"] / "timeline.jsonl")
        except (OSError, ValueError) as error:
            raise LabUsageError(f"{run / case['folder']}: the timeline cannot be read: {error}") from error


def _reason(case: dict[str, Any]) -> str:
    return str(case.get("reason") or "nothing was judged")
