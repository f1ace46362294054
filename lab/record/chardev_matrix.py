"""What became of every chardev connection in a run, read from its record."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.calibration.matrix import PLANTED
from lab.checkers import from_json
from lab.checkers.chardevs import GRADES, ChardevGrade
from lab.errors import LabUsageError
from lab.qemu.chardevs import BACKENDS
from lab.record.case import read_verdicts
from lab.run_record import read_run
from lab.timeline import Timeline

__all__ = ["BACKENDS", "GRADES", "Cell", "Matrix", "matrix"]

FRONTENDS = ("virtio-serial", "isa-serial", "qmp", "hmp", "gdbstub", "vnc")
MODES = ("cpr-exec", "cpr-transfer", "cpr-reboot")


@dataclass(frozen=True)
class Cell:
    """One connection in one mode of update.

    grade:    as obtained (lab/checkers/chardevs.py, GRADES); "?" if it could not be known
    expected: what the table says
    outcome:  of the verdict: without PASS the grade is not the expected one, or not to be believed
    lost:     direction -> lines, or answers
    """

    backend: str
    frontend: str
    mode: str
    grade: str
    expected: str
    outcome: str
    lost: Mapping[str, int] = field(default_factory=dict)
    case: str = ""


@dataclass(frozen=True)
class Matrix:
    """All cells of a run; of a connection that was tried twice, the later one."""

    cells: tuple[Cell, ...]

    @property
    def columns(self) -> list[tuple[str, str]]:
        """(front-end, mode), those that were tried."""
        tried = {(cell.frontend, cell.mode) for cell in self.cells}
        return [(f, m) for m in MODES for f in FRONTENDS if (f, m) in tried]

    @property
    def rows(self) -> list[str]:
        """Back-ends that were tried."""
        tried = {cell.backend for cell in self.cells}
        return [name for name in BACKENDS if name in tried]

    def at(self, backend: str, column: tuple[str, str]) -> Cell | None:
        """A cell; None if it was not tried."""
        return next(
            (c for c in self.cells if (c.backend, (c.frontend, c.mode)) == (backend, column)),
            None,
        )

    def as_json(self) -> dict[str, Any]:
        return {"cells": [asdict(cell) for cell in self.cells]}


def matrix(run: Path) -> Matrix:
    """The matrix of a run; no cells if it has no case of it, or what it has cannot be read."""
    cells = {(c.backend, c.frontend, c.mode): c for folder, name in _cases(run) for c in _of(folder, name)}
    return Matrix(tuple(cells.values()))


def _cases(run: Path) -> Iterator[tuple[Path, str]]:
    with suppress(LabUsageError):
        for case in read_run(run).get("cases", []):
            if case.get("folder"):
                yield run / case["folder"], str(case.get("nodeid", "")).split("::")[-1]


def _of(folder: Path, case: str) -> Iterator[Cell]:
    try:
        claims = [row for row in read_verdicts(folder) if (row.claim or {}).get("checker") == "chardev_grade"]
        timeline = Timeline.load(folder / "timeline.jsonl") if claims else Timeline(())
    except (LabUsageError, OSError, ValueError):
        return
    if timeline.of(PLANTED):  # what a planted fault made of it says nothing of QEMU
        return
    known = {str(e.data["chardev"]): e.data for e in timeline.of("chardev.connection")}
    for row in claims:
        checker = from_json(row.claim or {})
        assert isinstance(checker, ChardevGrade)
        if connection := known.get(checker.chardev):
            yield _cell(timeline, connection, checker, str(row.verdict.outcome), case)


def _cell(
    timeline: Timeline, connection: Mapping[str, Any], checker: ChardevGrade, outcome: str, case: str
) -> Cell:
    graded = checker.graded(timeline)
    modes = [str(event.data.get("mode", "?")) for event in timeline.of("cpr.invoke")]
    return Cell(
        str(connection["backend"]),
        str(connection["frontend"]),
        modes[-1] if modes else "?",
        graded.grade or "?",
        checker.expected,
        outcome,
        dict(graded.lost),
        case,
    )
