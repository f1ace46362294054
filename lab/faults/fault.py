"""What a planted fault is, what it can reach, and what must be said of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.drivers.agent import HostAgent
from lab.drivers.ssh import HostConnection
from lab.evidence import Evidence
from lab.guest import Guest
from lab.loads import Agent

WRAPPER = Path(__file__).with_name("wrapper.py")
TO_GUEST, FROM_GUEST = "dma_intact(nic.to-guest)", "dma_intact(nic.from-guest)"
ALL_DMA = (TO_GUEST, FROM_GUEST)


@dataclass(frozen=True)
class Scene:
    """What a fault can reach.

    too_long_s: longer than any pause that passes on this bench
    """

    host: HostConnection
    functions: Sequence[str]
    guest: Guest
    far: Mapping[str, Agent]
    agent: HostAgent
    evidence: Evidence
    too_long_s: float


Plant = Callable[[Scene], object]


def _nothing(scene: Scene) -> None: ...


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    refutes: the checkers that must say FAIL
    unknown: those that must say UNKNOWN: what blinds a witness proves nothing
    unsure:  those that may say UNKNOWN, too: it depends on what they had seen by then
    breaks:  what the case must say when it cannot be judged at all; "" if it must be judged
    spares:  whether all others must say PASS; a fault that kills the guest leaves them unknown
    serves:  whether the guest is as good as before, and may be given another fault
    wrapper: which fault of lab/faults/wrapper.py new QEMU is started through; "" for none
    last:    done when all witnesses watch and the load flows, right before the update begins
    after:   done when new QEMU runs the guest
    row, iommu, contained: where it is planted: also, whether in a guest whose QEMU is in a container
    risky:   what it may do to a real host or its device, so that it must be asked for there; "" for nothing
    everyday: whether it is planted for every change of the lab; the others by `cprlab calibrate`
    """

    refutes: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    unsure: frozenset[str] = frozenset()
    breaks: str = ""
    spares: bool = True
    serves: bool = True
    wrapper: str = ""
    last: Plant = field(default=_nothing)
    after: Plant = field(default=_nothing)
    row: str = "nic"
    iommu: str = "type1"
    contained: bool = False
    risky: str = ""
    everyday: bool = False

    def command(self, host: HostConnection, too_long_s: float) -> list[str]:
        """The command to start new QEMU through."""
        if not self.wrapper:
            return []
        return ["/usr/bin/python3", host.put_blob(WRAPPER), self.wrapper, f"{too_long_s:g}"]

    def expected(self, name: str) -> dict[str, Any]:
        """What the case says of itself."""
        checkers = {key: sorted(getattr(self, key)) for key in ("refutes", "unknown", "unsure")}
        return {"name": name, **checkers, "breaks": self.breaks, "spares": self.spares}


def checkers(*names: str) -> frozenset[str]:
    return frozenset(names)
