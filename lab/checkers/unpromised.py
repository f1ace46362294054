"""What a mode of update does not promise is indeed not kept: stated, and shown to be so.

Source: lab/cpr/promises.py, for each mode with where QEMU says so.
"""

from dataclasses import dataclass

from lab.timeline import Timeline
from lab.verdict import Checker, Outcome, Verdict, checker_name


@dataclass(frozen=True)
class Unpromised:
    """A claim is false, as it must be: PASS if its checker says FAIL, FAIL if it says PASS.

    What its checker cannot tell stays UNKNOWN. Strict, so that it shows the day the mode keeps more.
    """

    claim: Checker

    @property
    def __name__(self) -> str:
        return f"unpromised({checker_name(self.claim)})"

    def __call__(self, timeline: Timeline) -> Verdict:
        said = self.claim(timeline)
        if said.outcome is Outcome.FAIL:
            text, outcome = f"not kept, and not promised: {said.summary}", Outcome.PASS
        elif said.outcome is Outcome.PASS:
            text, outcome = f"kept, though not promised: {said.summary}", Outcome.FAIL
        else:
            text, outcome = said.summary, Outcome.UNKNOWN
        return Verdict(self.__name__, outcome, text, said.evidence)
