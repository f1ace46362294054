"""Why a guest must not get a function: one list, which binding refuses by and which discovery writes down.

Source: Linux Documentation/driver-api/vfio.rst (groups), ABI/testing/sysfs-bus-pci (reset_method).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ..rpc import AgentError
from . import inuse, netuse
from .holders import holders, vfio_nodes
from .sysfs import Sysfs

VFIO = "vfio-pci"
STORAGE_CLASS = "0x01"


@dataclass(frozen=True)
class Allowed:
    """What the target file says of a function that may be assigned.

    ids:           "vendor:device", that it must still have; None: not looked at
    disk_*:        the one disk on it that may be overwritten; needed of whatever can hold a disk
    without_reset: it may be assigned although the kernel cannot reset it
    """

    bdf: str
    ids: str | None = None
    disk_model: str | None = None
    disk_serial: str | None = None
    disk_bytes: int | None = None
    without_reset: bool = False


class AllowList:
    """The functions that this session may touch: none until the controller has named them."""

    def __init__(self) -> None:
        self._allowed: dict[str, Allowed] = {}

    def allow(self, functions: Sequence[Mapping[str, Any]]) -> None:
        """Take the target file's functions, and no others."""
        known = {field.name for field in fields(Allowed)}
        self._allowed = {
            one["bdf"]: Allowed(**{key: one[key] for key in one.keys() & known}) for one in functions
        }

    def of(self, bdf: str) -> Allowed:
        """What is said of a function.

        Raises:
            AgentError: nothing; the text lists what may be touched.
        """
        if bdf not in self._allowed:
            listed = ", ".join(sorted(self._allowed)) or "none"
            raise AgentError(f"{bdf} is not on the target file's list of functions: {listed}")
        return self._allowed[bdf]

    def parent(self, sysfs: Sysfs, name: str) -> None:
        """Raises AgentError if no devices must be made on it: a function that is not listed, or the host's.

        What is no PCI function, like the kernel's simulators, takes nothing from the host.
        """
        if name in sysfs.bdfs():
            self.of(name)
            refuse(name, Uses.of(sysfs).objections(name))


@dataclass(frozen=True)
class Objection:
    """One reason. kind: a word for programs; text: a sentence about the function, without its address."""

    kind: str
    text: str


@dataclass(frozen=True)
class Uses:
    """What the host needs which function for: BDF -> the sentence."""

    network: Mapping[str, str]
    parts: Mapping[str, str]
    disks: Mapping[str, str]

    @classmethod
    def of(cls, sysfs: Sysfs) -> "Uses":
        """Those of now."""
        return cls(
            netuse.management_functions(sysfs), netuse.part_functions(sysfs), inuse.disk_functions(sysfs)
        )

    def objections(self, bdf: str) -> Iterator[Objection]:
        """What the host needs one function for."""
        for kind, uses in (("network", self.network), ("disk", self.disks), ("network-part", self.parts)):
            if bdf in uses:
                yield Objection(kind, uses[bdf])


def objections(
    sysfs: Sysfs, bdf: str, uses: Uses, told: Allowed, together: Sequence[str] = ()
) -> Iterator[Objection]:
    """Everything that speaks against giving a function to a guest, the worst first.

    together: other members of its IOMMU group that the caller is going to bind as well
    """
    if sysfs.is_bridge(bdf):
        yield Objection("bridge", "it is a bridge: name the function behind it")
    yield from uses.objections(bdf)
    members = [m for m in sysfs.group_members(bdf) if m != bdf and not sysfs.is_bridge(m)]
    for member in members:
        for found in uses.objections(member):
            yield Objection(
                f"group-{found.kind}", f"{member} is in its IOMMU group, and of that: {found.text}"
            )
    if held := inuse.held_disks(sysfs, bdf):
        yield Objection("disk-held", held)
    if sysfs.driver(bdf) == VFIO and (by := holders(sysfs, vfio_nodes(sysfs, bdf))):
        yield Objection("assigned", f"it is given to somebody already: {', '.join(by)}")
    yield from _of_the_iommu(sysfs, bdf, [m for m in members if m not in together])
    if (made := sysfs.attribute(bdf, "sriov_numvfs") or "0") != "0":
        yield Objection(
            "virtual-functions", f"it has {made} virtual functions, which would go with its own driver"
        )
    if not told.without_reset and not (sysfs.attribute(bdf, "reset_method") or "").split():
        yield Objection(
            "no-reset",
            "the kernel knows no way to reset it: what one guest leaves in it another would find; "
            "`without_reset: true` in the target file lets it through",
        )


def mismatches(sysfs: Sysfs, told: Allowed) -> Iterator[Objection]:
    """How a function differs from what the target file says is there."""
    ids = device_ids(sysfs, told.bdf)
    if told.ids is not None and told.ids != ids:
        yield Objection(
            "ids",
            f"it is {ids}, and the target file says {told.ids}: the host was changed; run cprlab discover",
        )
    if (sysfs.attribute(told.bdf, "class") or "").startswith(STORAGE_CLASS):
        yield from _of_the_disk(sysfs, told)


def device_ids(sysfs: Sysfs, bdf: str) -> str:
    """ "vendor:device", in hexadecimal as lspci -n prints them."""
    return ":".join((sysfs.attribute(bdf, name) or "?").removeprefix("0x") for name in ("vendor", "device"))


def refuse(bdf: str, found: Iterable[Objection]) -> None:
    """Raises AgentError with the worst of the reasons, if there is one."""
    for objection in found:
        subject, verb = (
            (bdf, objection.text[3:]) if objection.text.startswith("it ") else (f"{bdf}:", objection.text)
        )
        raise AgentError(f"{subject} {verb}")


def _of_the_iommu(sysfs: Sysfs, bdf: str, others: Sequence[str]) -> Iterator[Objection]:
    if (group := sysfs.group(bdf)) is None:
        yield Objection(
            "no-iommu",
            "it has no IOMMU group: switch the IOMMU on in the firmware and on the kernel "
            "command line (intel_iommu=on); AMD's is on by itself",
        )
    if held := [f"{m} ({sysfs.driver(m)})" for m in others if sysfs.driver(m) not in (None, VFIO)]:
        yield Objection(
            "group", f"it shares IOMMU group {group} with {', '.join(held)}: bind them all or none"
        )


def _of_the_disk(sysfs: Sysfs, told: Allowed) -> Iterator[Objection]:
    wanted = {"model": told.disk_model, "serial": told.disk_serial, "bytes": told.disk_bytes}
    if None in wanted.values():
        yield Objection(
            "identity",
            "it can hold disks: name the one that may be overwritten by disk_model, disk_serial and "
            "disk_bytes in the target file, as cprlab discover does",
        )
        return
    there = [inuse.identity(sysfs, disk) for disk in inuse.disks(sysfs, told.bdf)]
    if [{key: one[key] for key in wanted} for one in there] != [wanted]:
        driver = sysfs.driver(told.bdf) or "no driver"
        found = "; ".join(_disk_words(one) for one in there) or f"none (bound to {driver})"
        yield Objection(
            "identity",
            f"it does not hold the one disk of the target file: {_disk_words(wanted)}; found: {found}",
        )


def _disk_words(disk: Mapping[str, Any]) -> str:
    return f"{disk['model']}, serial {disk['serial']}, {disk['bytes']} bytes"
