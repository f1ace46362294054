"""What can go wrong with an update: each failure as data, with what QEMU promises and what it does.

A failure is brought about, recorded like any update, and answered for by lab/checkers/failure.py. Failures
that the guest must survive share one guest, one after the other, each followed by an ordinary update.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lab.checkers.failure import ANSWERS, FailureAnswer
from lab.cpr import Mode
from lab.drivers.agent import HostAgent
from lab.drivers.ssh import HostConnection
from lab.guest import Guest

UNHARMED: Mapping[str, str] = {
    "update": "refused",
    "guest": "lives",
    "DMA": "intact",
    "interrupts": "flow",
    "chardevs": "held",
    "next update": "succeeds",
    "unpinned": "yes",
}
"""The update did not take place, and nothing else is different."""
LOST: Mapping[str, str] = {
    "update": "died",
    "guest": "lost",
    "DMA": "stopped",
    "interrupts": "stopped",
    "chardevs": "lost",
    "next update": "fails",
    "unpinned": "yes",
}
"""QEMU is gone, and leaves the host as it found it."""
IN_PLACE: Mapping[str, str] = {**UNHARMED, "update": "done", "chardevs": "reconnected"}
"""The update took place after all: by cpr-exec, where a listening chardev is connected anew."""


@dataclass(frozen=True)
class Scene:
    """What a failure can reach.

    qemu:      path of new QEMU on the bench host
    stream_hz: lines a second that go through each of the lab's own chardevs
    """

    host: HostConnection
    agent: HostAgent
    guest: Guest
    qemu: str
    stream_hz: float
    timeout_s: float = 60.0


def killed(guest: Guest, pid: int) -> str:
    """Kill a QEMU of a guest, and say how it ended."""
    end = guest.qemus.agent.kill(pid)
    return f"was killed by signal {end['signal']}" if end["signal"] else f"ended with {end['status']}"


@dataclass(frozen=True)
class Failure:
    """One thing that goes wrong with an update.

    name:     as in test ids
    title:    what is done, for people
    does:     makes the update that is to fail
    says:     what must be said for it to have failed for this reason (a regular expression)
    promised: question -> answer, by QEMU
    source:   where QEMU promises so, or why nothing better can be asked for
    known:    version of QEMU (its beginning) -> the answers that are known to be others
    reason:   why those are
    words:    what QEMU is started with for it, both old and new
    """

    name: str
    title: str
    does: Callable[[Scene], Mode]
    says: str
    source: str
    promised: Mapping[str, str] = field(default_factory=lambda: UNHARMED)
    known: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    reason: str = ""
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    def defects(self, version: str) -> Mapping[str, str]:
        """What a version of QEMU, such as 11.1.3, is known to answer otherwise."""
        found = (wrong for begins, wrong in self.known.items() if f"{version}.".startswith(f"{begins}."))
        return next(found, {})

    def told(self, version: str) -> Mapping[str, str]:
        """What the record says of it: `failure.begin`."""
        reason = self.reason if self.defects(version) else ""
        return {"failure": self.name, "title": self.title, "source": self.source, "reason": reason}

    def answers(self, version: str) -> list[FailureAnswer]:
        """All questions about it, strictly as this version of QEMU answers them."""
        wrong = self.defects(version)
        return [
            FailureAnswer(
                self.name,
                question,
                wrong.get(question, self.promised[question]),
                self.promised[question] if question in wrong else "",
                self.says if question == "update" else "",
            )
            for question in ANSWERS
        ]
