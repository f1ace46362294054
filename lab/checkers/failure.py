"""What became of a guest whose update did not go well: one question about one failure, answered by a word.

Source: QEMU docs/devel/migration/CPR.rst; what is promised of each failure, and what QEMU makes of it, is
data in lab/failures/. The expected word is held strictly: an answer that is better is a FAIL, too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lab.checkers import failure_answers as answers
from lab.checkers.failure_window import Window, window_of
from lab.checkers.findings import Findings
from lab.timeline import Timeline
from lab.verdict import Verdict

ANSWERS: Mapping[str, tuple[str, ...]] = {
    "update": ("refused", "done", "split", "died", "hung"),
    "guest": ("lives", "rebooted", "paused", "silent", "lost"),
    "DMA": ("intact", "lost", "stopped"),
    "interrupts": ("flow", "stopped"),
    "chardevs": ("held", "reconnected", "lost"),
    "next update": ("succeeds", "fails"),
    "unpinned": ("yes", "no"),
}
"""Question -> the words that may answer it, the best first."""
_ASKED: Mapping[str, Callable[[Findings, Window], str | None]] = {
    "update": answers.update,
    "guest": answers.guest,
    "DMA": answers.dma,
    "interrupts": answers.interrupts,
    "chardevs": answers.chardevs,
    "next update": answers.next_update,
    "unpinned": answers.unpinned,
}


@dataclass(frozen=True)
class FailureAnswer:
    """One question about one failure has exactly the expected answer.

    Reads: failure.begin, .end, .said {failure}; cpr.*; host.exit; log; qmp.*; guest.*; load.*;
        host.interrupts, .pinned; chardev.*; epoch; tables of blocks.
    failure:  as in failure.begin
    expected: one of ANSWERS[question]
    promised: what QEMU promises, where that is another answer: then the expected one is a known defect
    says:     for "update": a regular expression for what QEMU or the recorded reason must say, which proves
        that it failed for the reason that was meant
    """

    failure: str
    question: str
    expected: str
    promised: str = ""
    says: str = ""

    def __post_init__(self) -> None:
        for word in (self.expected, self.promised or self.expected):
            if word not in ANSWERS.get(self.question, ()):
                raise ValueError(f"{word!r} is no answer to {self.question!r}; known: {ANSWERS}")

    @property
    def __name__(self) -> str:
        return f"failure({self.failure}: {self.question})"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        window = window_of(found, timeline, self.failure)
        if window is None:
            return found.verdict()
        answer = _ASKED[self.question](found, window)
        if self.says:
            answers.reason(found, window, self.says)
        if answer is not None and answer != self.expected:
            found.defect(f"{answer}; the table says {self.expected}", window.begin)
        elif answer is not None:
            wrong = f" (a known defect: promised is {self.promised})" if self.promised else ""
            found.fact(f"{answer}, as expected{wrong}", window.begin)
        return found.verdict()
