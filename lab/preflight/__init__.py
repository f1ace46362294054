"""What speaks against an update before it is tried: QEMU accepts updates that lose the guest without a word.

Pure: command lines, and what is known of QEMU and its host, in; findings out. One rule a function, by theme.

    preflight(Facts(old=Command.parse(argv))).refused
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from lab.errors import LabUsageError
from lab.preflight import chardevs, devices, differences, host, memory
from lab.preflight.facts import Facts
from lab.preflight.rule import SEVERITIES, Rule, Severity

T = TypeVar("T")

RULES: tuple[Rule, ...] = (
    *memory.RULES,
    *differences.RULES,
    *devices.RULES,
    *chardevs.RULES,
    *host.RULES,
)


@dataclass(frozen=True)
class Finding:
    """One thing that an update would lose, or that would stop it.

    source: where it is known from
    """

    name: str
    severity: Severity
    reason: str
    source: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}; {self.remedy}"


@dataclass(frozen=True)
class Untold:
    """What matters here and is not known; name: the finding that it would be."""

    name: str
    what: str


@dataclass(frozen=True)
class Report:
    """What preflight says.

    findings: the worst first
    untold:   what could not be told
    assumed:  what nobody asked, and is taken for granted
    """

    findings: tuple[Finding, ...]
    untold: tuple[Untold, ...]
    assumed: tuple[str, ...] = ()

    @property
    def refused(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "refuse")

    @property
    def exit_status(self) -> int:
        """0 clean, 1 refused, 2 cannot tell; a refusal is one whatever else is not known."""
        return 1 if self.refused else 2 if self.untold else 0


def preflight(facts: Facts) -> Report:
    """What all rules say, each thing once."""
    untold: list[Untold] = []
    if facts.new is not None and not facts.new.program:
        hidden = f"what new QEMU's command line is: {' '.join(facts.new.through)} names no QEMU"
        untold.append(Untold("more-arguments", hidden))
        facts = replace(facts, new=None)
    found: list[Finding] = []
    for rule in RULES:
        for said in rule.says(facts):
            if said.severity is None:
                untold.append(Untold(rule.name, said.text))
            else:
                found.append(Finding(rule.name, said.severity, said.text, rule.source, rule.remedy))
    found.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Report(_once(found), _once(untold), tuple(_assumed(facts)))


def require_safe(facts: Facts, forced: Iterable[str] = ()) -> Report:
    """Refuse an update that would lose something.

    forced: names of findings that refuse it, and do not count

    Raises:
        LabUsageError: naming every other finding.
    """
    report = preflight(facts)
    if found := [finding for finding in report.refused if finding.name not in set(forced)]:
        told = " | ".join(map(str, found))
        raise LabUsageError(f"refusing {facts.mode}: {told} (--force updates all the same)")
    return report


def told(report: Report) -> dict[str, Any]:
    """A report for the record, and for programs."""
    return {
        "findings": [vars(finding) for finding in report.findings],
        "untold": [vars(one) for one in report.untold],
        "assumed": list(report.assumed),
    }


def _assumed(facts: Facts) -> Iterable[str]:
    if facts.state.modes is None and not facts.version:
        yield f"old QEMU knows {facts.mode}"
    if facts.new_modes is None and not facts.new_version:
        yield f"new QEMU knows {facts.mode}"
    if facts.new is None:
        yield "new QEMU's command line is old QEMU's with -incoming"
    if facts.state.devices is None:
        yield "nothing was plugged or unplugged since old QEMU's start"
    if facts.state.blocked is None:
        yield "QEMU has no blocked-reasons of its own"


def _once(items: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(items))
