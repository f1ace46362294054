"""Checkers: pure functions Timeline -> Verdict, one claim a file.

`CHECKERS` names them all; `as_json` and `from_json` write one down with its configuration and
make it again, {"checker": "guest_pause_below", "args": {"seconds": 2}}.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from lab.checkers.accounting import accounting_kept
from lab.checkers.chardevs import ChardevGrade
from lab.checkers.container import ContainerKept
from lab.checkers.device import device_not_reset
from lab.checkers.display import FramesShown
from lab.checkers.dma import DmaIntact
from lab.checkers.failure import FailureAnswer
from lab.checkers.growth import NothingGrows
from lab.checkers.guest import SameGuest
from lab.checkers.handed_over import HandedOver
from lab.checkers.interrupts import interrupts_flow
from lab.checkers.kept import RamNotSaved, RamOutlivesKexec
from lab.checkers.logs import LogsClean
from lab.checkers.mappings import MappingsKept
from lab.checkers.medium import MediumIntact
from lab.checkers.memory import PagesAsAsked, StaysGivenBack
from lab.checkers.pause import GuestPauseBelow
from lab.checkers.pause_budget import PauseWithin, PhasesAddUp
from lab.checkers.pauses import LINES
from lab.checkers.pfns import pfns_unchanged
from lab.checkers.pins import PagesStayedPinned
from lab.checkers.preflight import FileKept, PreallocTouches, PreflightRefuses, PreflightSees
from lab.checkers.process import ReplacedInPlace
from lab.checkers.refused import UpdateRefused
from lab.checkers.unpromised import Unpromised
from lab.checkers.update import UpdateCompleted
from lab.verdict import Checker

__all__ = [
    "CHECKERS",
    "CONFIGURED",
    "PLAIN",
    "accounting_kept",
    "as_json",
    "chardev_grade",
    "container_kept",
    "device_not_reset",
    "dma_intact",
    "failure_answer",
    "file_kept",
    "frames_shown",
    "from_json",
    "guest_pause_below",
    "handed_over",
    "interrupts_flow",
    "logs_clean",
    "mappings_kept",
    "medium_intact",
    "nothing_grows",
    "pages_as_asked",
    "pages_stayed_pinned",
    "pause_within",
    "pfns_unchanged",
    "phases_add_up",
    "prealloc_touches",
    "preflight_refuses",
    "preflight_sees",
    "ram_not_saved",
    "ram_outlives_kexec",
    "refused",
    "replaced_in_place",
    "same_guest",
    "shared",
    "standard",
    "stays_given_back",
    "suspended",
    "unpromised",
    "update_completed",
    "update_refused",
]

# called like functions in a test case: dma_intact("nic.to-guest"), guest_pause_below(seconds=2)
chardev_grade = ChardevGrade
container_kept = ContainerKept
dma_intact = DmaIntact
file_kept = FileKept
failure_answer = FailureAnswer
frames_shown = FramesShown
guest_pause_below = GuestPauseBelow
handed_over = HandedOver
logs_clean = LogsClean
mappings_kept = MappingsKept
medium_intact = MediumIntact
nothing_grows = NothingGrows
pages_as_asked = PagesAsAsked
pages_stayed_pinned = PagesStayedPinned
pause_within = PauseWithin
phases_add_up = PhasesAddUp
prealloc_touches = PreallocTouches
preflight_refuses = PreflightRefuses
preflight_sees = PreflightSees
ram_not_saved = RamNotSaved
ram_outlives_kexec = RamOutlivesKexec
replaced_in_place = ReplacedInPlace
same_guest = SameGuest
unpromised = Unpromised
stays_given_back = StaysGivenBack
update_completed = UpdateCompleted
update_refused = UpdateRefused

CONFIGURED: Mapping[str, type[Any]] = {
    "chardev_grade": ChardevGrade,
    "container_kept": ContainerKept,
    "dma_intact": DmaIntact,
    "file_kept": FileKept,
    "failure_answer": FailureAnswer,
    "frames_shown": FramesShown,
    "guest_pause_below": GuestPauseBelow,
    "handed_over": HandedOver,
    "logs_clean": LogsClean,
    "mappings_kept": MappingsKept,
    "medium_intact": MediumIntact,
    "nothing_grows": NothingGrows,
    "pages_as_asked": PagesAsAsked,
    "pages_stayed_pinned": PagesStayedPinned,
    "pause_within": PauseWithin,
    "phases_add_up": PhasesAddUp,
    "prealloc_touches": PreallocTouches,
    "preflight_refuses": PreflightRefuses,
    "preflight_sees": PreflightSees,
    "ram_not_saved": RamNotSaved,
    "ram_outlives_kexec": RamOutlivesKexec,
    "replaced_in_place": ReplacedInPlace,
    "same_guest": SameGuest,
    "stays_given_back": StaysGivenBack,
    "unpromised": Unpromised,
    "update_completed": UpdateCompleted,
    "update_refused": UpdateRefused,
}
PLAIN: Mapping[str, Checker] = {
    "accounting_kept": accounting_kept,
    "device_not_reset": device_not_reset,
    "interrupts_flow": interrupts_flow,
    "pfns_unchanged": pfns_unchanged,
}


def _always(checker: Checker) -> Callable[[], Checker]:
    return lambda: checker


CHECKERS: Mapping[str, Callable[..., Checker]] = {
    **CONFIGURED,
    **{name: _always(checker) for name, checker in PLAIN.items()},
}
"""Every checker's name and what makes it from its configuration."""


def as_json(checker: Checker) -> dict[str, Any] | None:
    """A checker as {"checker", "args"}; what it leaves at its default is left out. None: not one of ours."""
    for name, made in CONFIGURED.items():
        if type(checker) is made and is_dataclass(checker):
            values = {f.name: getattr(checker, f.name) for f in fields(checker)}
            defaults = {f.name: f.default for f in fields(checker) if f.default is not MISSING}
            args = {n: _written(v) for n, v in values.items() if n not in defaults or v != defaults[n]}
            return {"checker": name, "args": args}
    for name, plain in PLAIN.items():
        if checker is plain:
            return {"checker": name, "args": {}}
    return None


def from_json(written: Mapping[str, Any]) -> Checker:
    """The checker that `as_json` wrote down.

    Raises:
        ValueError: if there is none of this name, or it does not take these arguments.
    """
    name = str(written.get("checker"))
    if name not in CHECKERS:
        raise ValueError(f"there is no checker {name!r}; there are {', '.join(sorted(CHECKERS))}")
    args = {key: _read(value) for key, value in dict(written.get("args", {})).items()}
    try:
        return CHECKERS[name](**args)
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from error


def _written(value: Any) -> Any:
    """A checker within a checker is written down as one."""
    return as_json(value) if callable(value) else value


def _read(value: Any) -> Any:
    """JSON has lists where frozen configuration has tuples, and objects where it has checkers."""
    if isinstance(value, dict) and "checker" in value:
        return from_json(value)
    return tuple(_read(v) for v in value) if isinstance(value, list) else value


STREAMS = ("nic.to-guest", "nic.from-guest")
GRADES = {"stream-fd": "A", "stream-path": "C"}
"""What cpr-exec of QEMU 11.1.3 makes of the two chardevs: one is inherited, the other listened on anew."""


def standard(
    streams: Sequence[str] = STREAMS,
    *,
    pause_limit_s: float,
    updates: int | None = None,
    grades: Mapping[str, str] = GRADES,
    own_iommu: bool = False,
    in_place: bool = True,
    growth: int = 0,
) -> list[Checker]:
    """The claims of a case with functions assigned by VFIO whose DMA goes on through the update.

    grades:    chardev -> the grade that this QEMU is known to give
    in_place:  the process must stay the same; otherwise another one must have taken over
    own_iommu: the guest has an IOMMU of its own: it maps and pins what it likes, when it likes
    growth:    descriptors that are known to come to stay
    """
    # memory that is not pinned the kernel may move as it likes
    pinned: list[Checker] = [] if own_iommu else [PagesStayedPinned(), pfns_unchanged]
    return [
        *shared(
            streams,
            pause_limit_s=pause_limit_s,
            updates=updates,
            grades=grades,
            in_place=in_place,
            growth=growth,
        ),
        *pinned,
        MappingsKept(own_iommu),
        device_not_reset,
        interrupts_flow,
    ]


def shared(
    streams: Sequence[str],
    *,
    pause_limit_s: float,
    updates: int | None = None,
    grades: Mapping[str, str] = GRADES,
    holds: str = "/dev/vfio",
    growth: int = 0,
    in_place: bool = True,
) -> list[Checker]:
    """The claims of a case that loses nothing, whatever devices the guest has.

    holds:  what QEMU holds a descriptor of
    growth: descriptors that are known to come to stay
    """
    from_outside = next((name for name in streams if name.endswith(".from-guest")), LINES)
    return [
        UpdateCompleted(updates),
        SameGuest(),
        *(DmaIntact(name) for name in streams),
        (ReplacedInPlace if in_place else HandedOver)(holds=holds, growth=growth),
        *(ChardevGrade(chardev, grade) for chardev, grade in grades.items()),
        GuestPauseBelow(pause_limit_s, from_outside),
        LogsClean(),
    ]


def suspended(
    streams: Sequence[str] = (),
    *,
    pause_limit_s: float,
    updates: int | None = None,
    grades: Mapping[str, str],
    holds: str = "/dev/vfio",
) -> list[Checker]:
    """The claims of a case whose devices are closed and opened anew: the guest lives on.

    Where they do DMA by VFIO the guest sleeps meanwhile, and its DMA does not go on, which is asserted. The
    resets in the host's log are those of devices that are closed and opened, so the logs are not judged.

    streams: those that lose nothing all the same
    """
    lost = (PagesStayedPinned(), MappingsKept(), device_not_reset) if holds == "/dev/vfio" else ()
    return [
        UpdateCompleted(updates),
        SameGuest(),
        HandedOver(holds=holds),
        *(ChardevGrade(chardev, grade) for chardev, grade in grades.items()),
        *(DmaIntact(name) for name in streams),
        # what a device sends may wait for its driver to wake up; a chardev does not
        GuestPauseBelow(pause_limit_s, LINES),
        *(Unpromised(claim) for claim in lost),
    ]


def refused(streams: Sequence[str], reason: str) -> list[Checker]:
    """The claims of a case whose update QEMU must refuse: it says why, and all goes on as before."""
    return [
        UpdateRefused(reason),
        SameGuest("fail"),
        *(DmaIntact(name, outcome="fail") for name in streams),
    ]
