"""Preflight before each update of the lab's: what would lose the guest is refused, unless it is meant."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.cpr.modes import Wanted, new_command
from lab.drivers.agent import HostAgent
from lab.drivers.preflight_host import host_of, looked
from lab.errors import BenchError
from lab.evidence import Evidence
from lab.preflight import Report, preflight, require_safe, told
from lab.preflight.command import Command
from lab.preflight.facts import Facts, State
from lab.preflight.modes import JUDGED
from lab.qemu.state import state


@dataclass(frozen=True)
class Forced:
    """What preflight has against an update that is made all the same.

    names:      findings that refuse it; each of them must be found, or the case does not try what it says
    everything: whatever it finds
    """

    names: frozenset[str] = frozenset()
    everything: bool = False

    def checked(self, facts: Facts) -> Report:
        """The report, if the update may be made.

        Raises:
            LabUsageError: preflight refuses it, by a finding that is not forced.
            BenchError: preflight does not find what the case is about.
        """
        if self.everything:
            return preflight(facts)
        report = require_safe(facts, self.names)
        if missed := self.names - {finding.name for finding in report.refused}:
            raise BenchError(f"preflight was expected to refuse this update by {', '.join(sorted(missed))}")
        return report


@dataclass(frozen=True)
class Preflight:
    """Looks at a guest before it is updated.

    old, new: what `agent.qemu_probe` says of both QEMUs; empty if nobody asked
    """

    agent: HostAgent
    evidence: Evidence
    old: Mapping[str, Any] = field(default_factory=dict)
    new: Mapping[str, Any] = field(default_factory=dict)
    forced: Forced = Forced()

    def __call__(self, wanted: Wanted, by: str) -> None:
        """Look, and record `preflight`; modes that start the devices anew have nothing to look at.

        Raises:
            LabUsageError: it is refused.
            BenchError: it is not refused though the case says so.
        """
        mode = by.split()[0]
        if mode not in JUDGED or self.evidence.exit_of(wanted.guest.pid) is not None:
            return
        facts = self._facts(wanted, mode)
        report = preflight(facts)
        self.evidence.record("preflight", mode=mode, **told(report), forced=sorted(self.forced.names))
        self.forced.checked(facts)

    def _facts(self, wanted: Wanted, mode: str) -> Facts:
        guest = wanted.guest
        new = Command.parse(new_command(wanted, mode))
        modes = frozenset(self.old["modes"]) if self.old else None
        seen = looked(self.agent, new, guest.pid)
        return Facts(
            old=Command.parse(seen["argv"]),
            new=new,
            mode=mode,
            version=guest.version,
            new_version=str(self.new.get("version", "")),
            new_modes=frozenset(self.new["modes"]) if self.new else None,
            state=state(guest.monitor, mode, modes) if guest.monitor.connected() else State(modes),
            host=host_of(seen),
        )
