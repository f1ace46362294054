"""Which functions of a host the lab is offered, under which name, and why not the others."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Function = Mapping[str, Any]

_WRITABLE = re.compile(r"[A-Za-z0-9 ._+/:-]+")
"""Of a disk's model and serial: what neither YAML nor labgrid's templates read as anything else."""
_KINDS = (("nic", "0x02"), ("nvme", "0x0108"), ("gpu", "0x03"), ("dma", "0x0880"), ("accel", "0x12"))
"""Names by the first digits of the class; rows ask for functions by such names (lab/rows/table.py)."""
_BY_IDS = {"1234:11e8": "edu"}
_UNWANTED = "a kind of device that cprlab has no load for"


@dataclass(frozen=True)
class Offer:
    """A function that may be assigned.

    doubts: why it is written down switched off, until somebody has looked; none for one that is ready
    """

    name: str
    function: Function
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class KeptOut:
    """A function that is not offered, and why."""

    function: Function
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Discovery:
    """What was found on a host; survey: as lab/agents/host/survey.py says it."""

    survey: Mapping[str, Any]
    offers: tuple[Offer, ...]
    kept_out: tuple[KeptOut, ...]

    @property
    def ready(self) -> tuple[Offer, ...]:
        """Those that may be used as they are written down."""
        return tuple(offer for offer in self.offers if not offer.doubts)


def sorted_out(survey: Mapping[str, Any], known: Mapping[str, str] | None = None) -> Discovery:
    """Sort the functions of a host.

    known: BDF -> name, of functions that somebody has named before
    """
    offers: list[Offer] = []
    kept: list[KeptOut] = []
    taken = set((known or {}).values())
    for function in survey["functions"]:
        if reasons := tuple(_against(function)):
            kept.append(KeptOut(function, reasons))
            continue
        name = (known or {}).get(function["bdf"]) or _free(_kind(function), taken)
        taken.add(name)
        offers.append(Offer(name, function, tuple(_doubts(function))))
    return Discovery(survey, tuple(offers), tuple(kept))


def is_disk(function: Function) -> bool:
    """Whether it can hold a disk."""
    return str(function["class"]).startswith("0x01")


def _kind(function: Function) -> str:
    """The beginning of its name; "" for a kind that no load drives."""
    if found := _BY_IDS.get(function["ids"]):
        return found
    found = next((name for name, begins in _KINDS if str(function["class"]).startswith(begins)), "")
    # a row of its own asks for it: QEMU 11.1 loses its guest, see testcases/reproductions/no-flr-reset.sh
    return f"{found}-no-flr" if found == "nic" and "flr" not in function["reset_methods"] else found


def _free(name: str, taken: set[str]) -> str:
    numbered = (f"{name}{number}" for number in range(2, len(taken) + 3))
    return next(free for free in (name, *numbered) if free not in taken)


def _against(function: Function) -> Iterator[str]:
    objections: Sequence[Mapping[str, str]] = function["objections"]
    yield from (objection["text"] for objection in objections if objection["kind"] != "no-reset")
    if function["physfn"]:
        yield f"it is a virtual function of {function['physfn']}, which somebody made; cprlab makes its own"
    if function["boot_display"]:
        yield "it is the display that the host booted on"
    if objections and any(objection["kind"] == "bridge" for objection in objections):
        return
    if not _kind(function):
        yield f"it is {_UNWANTED}"
    elif is_disk(function):
        yield from _against_disks(function)


def _against_disks(function: Function) -> Iterator[str]:
    disks = function["disks"]
    if not disks:
        driver = function["driver"] or "no driver"
        yield f"it shows no disk (bound to {driver}), and what is not known by its serial is not written to"
    if len(disks) > 1:
        names = ", ".join(disk["disk"] for disk in disks)
        yield f"it holds {len(disks)} disks ({names}), and cprlab can tell a target file of one only"
    for disk in disks:
        for key in ("model", "serial"):
            if not _WRITABLE.fullmatch(disk[key] or ""):
                yield f"its disk {disk['disk']} has no {key} that can be written down: {disk[key]!r}"
        if not disk["bytes"]:
            yield f"its disk {disk['disk']} does not tell its size"


def _doubts(function: Function) -> Iterator[str]:
    yield from (one["text"] for one in function["objections"] if one["kind"] == "no-reset")
    for disk in function["disks"] if is_disk(function) else ():
        if disk["partitions"]:
            yield f"its disk holds {', '.join(disk['partitions'])}, which a guest would overwrite"
        elif disk["blank"] is None:
            yield "its disk could not be read: what is on it, a guest would overwrite"
        elif not disk["blank"]:
            yield "its disk is not blank: what is on it, a guest would overwrite"
