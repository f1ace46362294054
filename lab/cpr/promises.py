"""What each mode of update promises, and what it does not: data, with its source."""

from collections.abc import Mapping
from dataclasses import dataclass, field

CHARDEVS = ("stream-fd", "stream-path")
"""One on a descriptor that QEMU inherits, one on a path that it listens on."""


@dataclass(frozen=True)
class Promises:
    """What holds over an update of one mode.

    source:     where QEMU says so
    in_place:   the process stays the same
    dma:        the device goes on: nothing is reset, unmapped or unpinned, and no block is lost
    same_guest: the guest lives on, with its memory
    grades:     chardev -> what becomes of its connection (lab/checkers/chardevs.py), by QEMU 11.1.3
    """

    source: str
    in_place: bool = False
    dma: bool = False
    same_guest: bool = True
    grades: Mapping[str, str] = field(default_factory=lambda: dict.fromkeys(CHARDEVS, "C"))


PROMISES: Mapping[str, Promises] = {
    "cpr-exec": Promises(
        source="CPR.rst, cpr-exec: descriptors are inherited, devices and RAM stay as they are",
        in_place=True,
        dma=True,
        grades={"stream-fd": "A", "stream-path": "C"},
    ),
    "cpr-transfer": Promises(
        source="CPR.rst, cpr-transfer: a socket carries descriptors of RAM and VFIO, of no chardev",
        dma=True,
    ),
    "cpr-reboot": Promises(
        source="CPR.rst, cpr-reboot: the guest is suspended, devices are closed, shared RAM stays",
    ),
    "restart": Promises(source="the control: QEMU is ended and started, the guest boots", same_guest=False),
}
