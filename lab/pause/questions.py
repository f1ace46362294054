"""The questions of the thread "[PATCH V2 00/11] Live update: cpr-exec" (2024), with what a sweep answers.

To each what an emulated bench can say of real hardware, and what it cannot. Pure.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from lab.pause import answers
from lab.pause.analysis import Analysis

VIRTUAL = (
    "What this bench cannot say: its processor is emulated, so every time is far longer than on hardware; "
    "user code, page tables and TLB misses are not slowed down alike: shares of a pause may shift. One "
    "processor of the controller does everything, so nothing of new QEMU's start runs beside the guest for "
    "free. It has no memory of hundreds of GiB and no NUMA. What it can say: which phases are in the pause "
    "of which mode, in what order, which of them grow with memory, pages and devices, and whether a "
    "difference is there at all."
)


@dataclass(frozen=True)
class Question:
    """One question.

    asked:    by whom, in short
    hardware: what an emulated bench can say of hardware here, and what it cannot
    how:      the option of `cprlab pause` that measures it
    """

    question: str
    asked: str
    say: Callable[[Analysis], Iterator[str]]
    hardware: str
    how: str


@dataclass(frozen=True)
class Answer:
    """What a sweep says to a question; `says` is empty if it was not measured, and `how` tells the "
    "option."""

    question: str
    says: list[str]
    hardware: str
    how: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


QUESTIONS = (
    Question(
        "Is cpr-exec slower than cpr-transfer, and because of teardown, load, or initialisation?",
        "Xu, 2024-07-18",
        answers.slower,
        "the order of phases, and which mode has them in its pause, are QEMU's and hold on hardware; "
        "the ratio does "
        "not: start and devices are user code, which emulation slows down most",
        "--modes cpr-exec,cpr-transfer",
    ),
    Question(
        "How does the pause grow with memory?",
        "Xu: page tables of terabytes; Sistare: a fast O(n)",
        answers.memory,
        "that a phase grows at all holds on hardware; milliseconds per GiB do not, and nothing here "
        "says whether the "
        "growth stays linear up to terabytes",
        "--ram 256,512,1024",
    ),
    Question(
        "And with the size of pages?",
        "Sistare: fast when backed by huge pages",
        answers.pages,
        "fewer entries to tear down and to fault in are fewer on hardware too; what one costs there is "
        "not known here",
        "--pages any,2m",
    ),
    Question(
        "What does prealloc=on do to an update?",
        "this lab",
        answers.prealloc,
        "that new QEMU touches every page again within the pause of cpr-exec holds on hardware, where "
        "it has threads "
        "on processors of their own for it",
        "--prealloc off,old,both",
    ),
    Question(
        "Does async-teardown help?",
        "Hildenbrand, 2024-07-22",
        answers.async_teardown,
        "what leaves the pause, and the process that stays behind, hold on hardware; the share does not",
        "--async-teardown off,on",
    ),
    Question(
        "Does the number of devices count?",
        "this lab",
        answers.devices,
        "emulated NICs without real reset or link training: on hardware a device may cost far more or less",
        "--devices 1,0,2",
    ),
    Question(
        "What does a container change?",
        "Sistare, 2024-06-30",
        answers.container,
        "cgroup and namespaces are the kernel's own here; the charge for memory at scale is not seen "
        "with a small guest",
        "--boxed",
    ),
    Question(
        "Does DMA load change the pause, and what do the guest's peers see?",
        "this lab",
        answers.load,
        "the far end's clock works the same on hardware; here the load takes the guest's one processor "
        "from the update",
        "--load",
    ),
    Question(
        "Why does the QMP clock overstate the guest's own gap?",
        "this lab",
        answers.clocks,
        "where the guest's clock stands still is QEMU's and KVM's doing and holds on hardware; how "
        "much QMP's answer "
        "adds is the emulated host's",
        "--modes cpr-exec,cpr-transfer",
    ),
    Question(
        "What is in the pause of cpr-reboot?",
        "Sistare: suspending and resuming VFIO devices adds seconds",
        answers.reboot,
        "the phases hold on hardware; how long drivers of real devices take to sleep and wake up is "
        "not seen here",
        "--modes cpr-exec,cpr-transfer,cpr-reboot",
    ),
    Question(
        "What do the witnesses themselves cost?",
        "this lab",
        answers.cost,
        "here they run on the one processor that runs the update as well; on hardware they have "
        "others, and what is "
        "left is the kernel's tracing and QEMU's own: the figure here is an upper bound (inferred)",
        "--cost",
    ),
)


def answered(found: Analysis) -> list[Answer]:
    """Every question with its answer."""
    return [Answer(f"{q.question} ({q.asked})", list(q.say(found)), q.hardware, q.how) for q in QUESTIONS]
