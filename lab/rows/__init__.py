"""Rows: which devices a guest is given, by which back-end, under which load. `table.py` lists them.

A row's device is made on the bench host before the guest is there (`attach`), and knows the load
that drives it; what it promises beyond the claims every case has, it brings as checkers.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol

from lab.bench import Bench
from lab.drivers.agent import HostAgent
from lab.evidence import Evidence
from lab.loads import Agent, Load
from lab.qemu.devices import Device
from lab.verdict import Checker

VFIO = ("type1", "iommufd")
VDPA = ("vdpa",)
VHOST = ("vhost",)

EXEC, TRANSFER, REBOOT, RESTART = "cpr-exec", "cpr-transfer", "cpr-reboot", "restart"
"""Modes of update, as in lab/cpr/modes.py."""


@dataclass(frozen=True)
class Site:
    """Where a case's devices are made.

    undo: closed when the case ends; what the host agent changed it undoes by itself
    seed: what all content is made from
    """

    bench: Bench
    agent: HostAgent
    evidence: Evidence
    undo: ExitStack
    seed: int


@dataclass(frozen=True)
class Attached:
    """A device that is ready to be given to a guest.

    load:     its load, by the address at which the guest finds it; None: it is only there
    function: the PCI function that the guest gets by VFIO, on the bench host
    far:      links to far-end agents, by the name of their clock
    reread:   looks at what is left when the guest is gone, and the host has its device back
    claims:   what is claimed of it alone
    """

    device: Device
    load: Callable[[str], Load] | None = None
    function: str | None = None
    far: Mapping[str, Agent] = field(default_factory=dict)
    reread: Callable[[], None] | None = None
    claims: tuple[Checker, ...] = ()


def far_ends(attached: Sequence[Attached]) -> dict[str, Agent]:
    """All far ends of a row, by the name of their clock."""
    return {clock: link for made in attached for clock, link in made.far.items()}


class DeviceClass(Protocol):
    """A kind of device; see `lab/rows/devices.py`.

    needs: what the bench must have, by names of lab/drivers/capabilities.py
    holds: what QEMU holds a descriptor of because of it; "" for none it can be told by
    """

    @property
    def needs(self) -> tuple[str, ...]: ...

    @property
    def holds(self) -> str: ...

    def attach(self, site: Site) -> Attached:
        """Make it.

        Raises:
            BenchError: the host could not.
        """


@dataclass(frozen=True)
class Fate:
    """What an update of one mode makes of a row's devices, by QEMU 11.1.3; by default all is well.

    refused: back-end -> what QEMU says when it refuses (a regular expression)
    lost:    what is said when the guest is lost, though QEMU accepts the update: a strict expectation
    forced:  back-end -> the findings by which preflight would refuse the update
    leaks:   descriptors that are left behind at each update: another one
    drops:   streams of which blocks are lost at each update: another one
    """

    refused: Mapping[str, str] = field(default_factory=dict)
    lost: str = ""
    forced: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    leaks: int = 0
    drops: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One line of the table.

    name:        as in test ids and on the command line
    title:       for people
    devices:     what the guest is given, in order
    backends:    how: "type1", "iommufd", "vdpa" or "vhost"; each makes a case
    kernel_args: for the guest
    viommu:      whether the guest has an IOMMU of its own
    fates:       mode of update -> what becomes of it, where not all is well
    """

    name: str
    title: str
    devices: tuple[DeviceClass, ...]
    backends: tuple[str, ...] = VFIO
    kernel_args: str = ""
    viommu: bool = False
    fates: Mapping[str, Fate] = field(default_factory=dict)

    def needs(self, backend: str, mode: str = EXEC) -> tuple[str, ...]:
        """What a bench must have for it, by names of lab/drivers/capabilities.py."""
        by_vfio = (backend,) if backend in VFIO else ("kvm",)
        by_mode = () if mode == RESTART else (f"mode:{mode}",)
        named = [*by_vfio, *by_mode, *(need for device in self.devices for need in device.needs)]
        return tuple(dict.fromkeys(named))

    @property
    def holds(self) -> str:
        """What QEMU must hold a descriptor of before an update."""
        return next((device.holds for device in self.devices if device.holds), "")


@dataclass(frozen=True)
class Case:
    """A row on one of its back-ends, by one mode: what a test case runs, and what doctor judges."""

    row: Row
    backend: str
    mode: str = EXEC

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def needs(self) -> tuple[str, ...]:
        return self.row.needs(self.backend, self.mode)

    @property
    def fate(self) -> Fate:
        return self.row.fates.get(self.mode, Fate())

    @property
    def forced(self) -> tuple[str, ...]:
        """What preflight has against it, and it is updated all the same."""
        return self.fate.forced.get(self.backend, ())

    @property
    def refused(self) -> str | None:
        """What QEMU says when it refuses to update it; None if it updates it."""
        return self.fate.refused.get(self.backend)
