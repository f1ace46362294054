"""QEMU refuses the update, says why, and goes on as before.

Source: QEMU docs/devel/migration/CPR.rst: what cannot be updated has a blocker. Which build refuses
what is known from probing it (cprlab doctor).
"""

import re
from dataclasses import dataclass

from lab.checkers.findings import Findings
from lab.checkers.guest import ended
from lab.checkers.updates import how_it_ended, updates
from lab.timeline import Timeline
from lab.verdict import Verdict


@dataclass(frozen=True)
class UpdateRefused:
    """Every update that was begun was refused for the reason that is expected, and QEMU lives on.

    Reads: cpr.*; host.exit; qmp.connected.
    reason: a regular expression; what this build of QEMU must say
    """

    reason: str

    @property
    def __name__(self) -> str:
        return "update_refused"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        begun = updates(timeline)
        if not begun:
            found.gap("no update was begun")
        ended(found, timeline)
        for update in begun:
            said = str(update.end.data.get("reason", "")) if update.end else ""
            if update.outcome == "ok":
                found.defect(f"{update.name} was not refused: it completed", *update.events)
            elif update.outcome != "fail":
                found.gap(f"{update.name}: {how_it_ended(update)}", *update.events)
            elif not re.search(self.reason, said):
                found.defect(f"{update.name} was refused, but for another reason: {said}", *update.events)
            else:
                found.fact(f"{update.name} was refused: {said}", *update.events)
        if greeted := timeline.of("qmp.connected", side="new"):
            found.defect("new QEMU was started all the same", greeted[0])
        return found.verdict()
