"""Preflight found what an update loses before it lost it.

Source: lab/preflight; each finding names where it is known from.
"""

from dataclasses import dataclass

from lab.checkers.findings import Findings
from lab.timeline import Timeline
from lab.verdict import Verdict


@dataclass(frozen=True)
class PreflightRefuses:
    """Before every update preflight had this finding, and would have refused the update.

    Reads: preflight {findings [{name, severity, reason}]}; cpr.invoke.
    finding: its name
    """

    finding: str

    @property
    def __name__(self) -> str:
        return f"preflight_refuses({self.finding})"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        looks = timeline.of("preflight")
        for begun in timeline.of("cpr.invoke"):
            look = next((one for one in reversed(looks) if one.index < begun.index), None)
            if look is None:
                found.gap("nobody looked before the update", begun)
                continue
            refused = [one for one in look.data["findings"] if one["severity"] == "refuse"]
            if reasons := [one["reason"] for one in refused if one["name"] == self.finding]:
                found.fact(f"it was found: {reasons[0]}", look)
            else:
                names = ", ".join(str(one["name"]) for one in refused) or "nothing"
                found.defect(f"preflight had {names} against it", look)
        return found.verdict()


@dataclass(frozen=True)
class FileKept:
    """What a file on the bench host held before an update is in it after it: it did not get shorter.

    Reads: file.size {path, bytes, when}.
    """

    @property
    def __name__(self) -> str:
        return "file_kept"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        before, after = (timeline.of("file.size", when=when) for when in ("before", "after"))
        if not before or not after or not before[-1].data["bytes"]:
            found.gap("the file was not looked at, or empty before the update", *before, *after)
            return found.verdict()
        was, now = before[-1].data["bytes"], after[-1].data["bytes"]
        text = f"{before[-1].data['path']}: {was} bytes before the update, {now} after it"
        (found.fact if now >= was else found.defect)(text, before[-1], after[-1])
        return found.verdict()
