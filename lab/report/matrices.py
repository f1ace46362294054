"""All cells of the three matrices: what a run obtained of each, by which case, or that it did not.

Which cells there are is known from the tables alone (lab/rows/chardevs.py, lab/failures/table.py,
lab/preflight/proofs.py), so that a case that did not run leaves a hole, and not a smaller matrix.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab.failures import UNHARMED
from lab.failures.table import BY_IOMMUFD, SHORT, boots
from lab.preflight import RULES
from lab.preflight.proofs import NO_LOSS
from lab.record import chardev_matrix, failure_matrix
from lab.report import preflight_page
from lab.rows.chardevs import MATRIX

CHARDEVS, PREFLIGHT, FAILURES = "chardevs", "preflight", "failures"
NAMES: Mapping[str, str] = {
    CHARDEVS: "what an update makes of each chardev connection",
    PREFLIGHT: "whether a case showed the loss that preflight prevents",
    FAILURES: "what a failed update does to the guest",
}
KINDS: Mapping[str, str] = {
    "kept": "as the table says: no harm, or the loss was shown",
    "harm": "as the table says: something is lost, nothing better is promised",
    "defect": "as the table says: a known defect, promised was another answer",
    "wrong": "not what the table says: look at the case",
    "unknown": "its case ran, and what it saw is not to be believed",
    "missing": "not obtained: no case of this run was about it",
    "impossible": "no bench here can show it; the table says why",
}
OBTAINED = ("kept", "harm", "defect", "wrong")
LOSS = "the loss"
SHOWN: Mapping[str, tuple[str, str]] = {
    "shown": ("kept", "shown"),
    "not shown": ("wrong", "not seen"),
    "unknown": ("unknown", "unknown"),
    "not run": ("missing", ""),
    "cannot be shown": ("impossible", "not shown"),
}
"""What the page of preflight says of a finding -> kind and word."""
_WEIGHT = ("not run", "cannot be shown", "unknown", "shown", "not shown")
HARMLESS_GRADES = ("A", "B", "refused")
Place = tuple[str, str]
"""Row and column."""


@dataclass(frozen=True)
class Cell:
    """One question that a matrix asks.

    kind: one of KINDS
    word: the answer, short enough for a picture
    case: that obtained it; "" for none
    seen: what it saw, or why there is none
    """

    row: str
    column: str
    kind: str
    word: str = ""
    case: str = ""
    seen: str = ""


@dataclass(frozen=True)
class Matrix:
    """One of the three; cells of a table that has none there are left out."""

    name: str
    cells: Sequence[Cell]

    @property
    def rows(self) -> list[str]:
        return list(dict.fromkeys(cell.row for cell in self.cells))

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(cell.column for cell in self.cells))

    def count(self, *kinds: str) -> int:
        """How many cells are of these kinds."""
        return sum(cell.kind in kinds for cell in self.cells)

    def __str__(self) -> str:
        able = len(self.cells) - self.count("impossible")
        words = [f"{self.count(*OBTAINED)} of {able} cells obtained"]
        words += [f"{n} {kind}" for kind in ("wrong", "unknown") if (n := self.count(kind))]
        words += [f"{n} cannot be shown here" for n in [self.count("impossible")] if n]
        return f"{self.name}: {', '.join(words)}"


def matrices(run: Path) -> list[Matrix]:
    """The three of a run."""
    return [_chardevs(run), _preflight(run), _failures(run)]


def as_json(found: Sequence[Matrix]) -> dict[str, Any]:
    """For programs: name -> cells."""
    return {one.name: [asdict(cell) for cell in one.cells] for one in found}


def _whole(name: str, planned: Sequence[Place], obtained: Mapping[Place, Cell]) -> Matrix:
    """All that is planned, in its order; then what a run has besides, by an older table perhaps."""
    places = dict.fromkeys([*planned, *obtained])
    return Matrix(name, [obtained.get(place) or Cell(*place, "missing") for place in places])


def _chardevs(run: Path) -> Matrix:
    asked = {(b, f"{f}, {mode}") for guest in MATRIX for mode in guest.modes for b, f in guest.pairs}
    columns = [f"{f}, {mode}" for mode in chardev_matrix.MODES for f in chardev_matrix.FRONTENDS]
    planned = sorted(
        asked, key=lambda place: (columns.index(place[1]), list(chardev_matrix.BACKENDS).index(place[0]))
    )
    cells = [_chardev(cell) for cell in chardev_matrix.matrix(run).cells]
    return _whole(CHARDEVS, planned, {(cell.row, cell.column): cell for cell in cells})


def _chardev(cell: chardev_matrix.Cell) -> Cell:
    kind = {"UNKNOWN": "unknown", "FAIL": "wrong"}.get(cell.outcome, "harm")
    if kind == "harm" and cell.grade in HARMLESS_GRADES:
        kind = "kept"
    lost = ", ".join(f"{count} {way.replace('_', ' ')}" for way, count in cell.lost.items() if count)
    seen = f"grade {cell.grade}, the table says {cell.expected}; {lost or 'nothing'} lost"
    column = f"{cell.frontend}, {cell.mode}"
    seen = f"UNKNOWN, its case says why; {seen}" if kind == "unknown" else seen
    return Cell(cell.backend, column, kind, cell.grade, cell.case, seen)


def _preflight(run: Path) -> Matrix:
    found: dict[Place, Cell] = {}
    # of several cases that counts which knows more, and one that says otherwise most
    for line in sorted(preflight_page.every_finding(run), key=lambda line: _WEIGHT.index(line.kind)):
        place = (line.rule.name, LOSS)
        kind, word = SHOWN[line.kind]
        found[place] = Cell(*place, kind, word, line.case, line.seen)
    planned = [(rule.name, LOSS) for rule in RULES if rule.name not in NO_LOSS]
    return _whole(PREFLIGHT, planned, {place: found[place] for place in planned if place in found})


def _failures(run: Path) -> Matrix:
    found = [_failure(line, cell) for line in failure_matrix.matrix(run) for cell in line.cells]
    return _whole(FAILURES, list(_failures_planned()), {(cell.row, cell.column): cell for cell in found})


def _failures_planned() -> Iterator[Place]:
    by_type1 = [*SHORT, *(one for boot in boots().values() for one in boot)]
    by_iommufd = [one for boot in BY_IOMMUFD.values() for one in boot]
    for backend, failures in (("type1", by_type1), ("iommufd", by_iommufd)):
        for failure in failures:
            yield from ((f"{failure.name}, {backend}", question) for question in UNHARMED)


def _failure(line: failure_matrix.Line, cell: failure_matrix.Cell) -> Cell:
    kind = "wrong" if cell.kind == "other" else cell.kind
    return Cell(f"{line.failure}, {line.backend}", cell.question, kind, cell.word, line.case, cell.summary)
