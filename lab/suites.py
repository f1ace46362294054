"""Sets of cases that have a name: `cprlab run --suite NAME`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lab.preflight.proofs import PROOFS, nodes

CASES = "testcases/"


@dataclass(frozen=True)
class Suite:
    """Cases by their files, and single ones of other files.

    files:  all cases of these
    nodes:  node id without parameters, and a part of these: of each the cases that have it
    """

    title: str
    files: Sequence[str]
    nodes: Sequence[tuple[str, str]] = ()

    @property
    def arguments(self) -> list[str]:
        """What pytest is to collect; more than the suite holds."""
        return list(dict.fromkeys([*self.files, *(node for node, _ in self.nodes)]))

    def holds(self, nodeid: str) -> bool:
        """Whether a collected case belongs to it."""
        base, mark, parameters = nodeid.partition("[")
        if base.partition("::")[0] in self.files:
            return True
        return any(base == node and part in f"{mark}{parameters}" for node, part in self.nodes)


def _first_proofs() -> Iterator[tuple[str, str]]:
    """Of each finding of preflight the first case that shows it: the shortest one."""
    for finding in PROOFS:
        yield from list(nodes(finding))[:1]


MATRICES = Suite(
    "all cells of the matrices of chardevs, preflight and failures",
    tuple(f"{CASES}test_{name}.py" for name in ("chardevs", "preflight", "failures")),
    tuple(_first_proofs()),
)
SUITES: Mapping[str, Suite] = {"matrices": MATRICES}
