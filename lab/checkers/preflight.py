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
class PreflightSees:
    """Of a QEMU that runs preflight refuses exactly what it must, and has asked all that there is to ask.

    Reads: preflight.look {look, refused [name], untold [what], assumed [what]}.
    look:   which one
    refuse: names of findings
    """

    look: str
    refuse: tuple[str, ...] = ()

    @property
    def __name__(self) -> str:
        return f"preflight_sees({self.look})"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        looks = timeline.of("preflight.look", look=self.look)
        if not looks:
            found.gap("nobody looked")
        for one in looks:
            for what in (*one.data["untold"], *one.data["assumed"]):
                found.defect(f"it was not asked: {what}", one)
            refused = ", ".join(sorted(one.data["refused"])) or "nothing"
            if set(one.data["refused"]) == set(self.refuse):
                found.fact(f"it refuses {refused}", one)
            else:
                found.defect(f"it refuses {refused}, not {', '.join(self.refuse) or 'nothing'}", one)
        return found.verdict()


_PAGES_PER_MIB = 256
_NEARLY = 0.9


@dataclass(frozen=True)
class PreallocTouches:
    """An update with prealloc in new QEMU touches all of the guest's memory once more, one without does not.

    Reads: qemu.faults {prealloc, faults}: page faults of QEMU while it was updated; case {memory_mib}.
    """

    @property
    def __name__(self) -> str:
        return "prealloc_touches"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        seen = {on: timeline.of("qemu.faults", prealloc=on) for on in (True, False)}
        case = timeline.of("case")
        if not seen[True] or not seen[False] or not case:
            found.gap("page faults were not counted with prealloc and without", *seen[True], *seen[False])
            return found.verdict()
        pages = int(case[0].data["parameters"]["memory_mib"]) * _PAGES_PER_MIB
        with_it, without = int(seen[True][-1].data["faults"]), int(seen[False][-1].data["faults"])
        text = f"{with_it} page faults with prealloc, {without} without; the guest's memory has {pages} pages"
        enough = with_it - without >= _NEARLY * pages
        (found.fact if enough else found.defect)(text, seen[True][-1], seen[False][-1])
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
