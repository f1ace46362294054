"""All faults by name, those that can share a guest one after the other."""

from collections.abc import Mapping, Sequence

from lab.errors import LabUsageError
from lab.faults import contained, devices, guest, host, new_qemu, wire, witness
from lab.faults.fault import Fault

_FAMILIES = (wire, new_qemu, host, guest, witness, devices, contained)


def _shared(fault: Fault) -> tuple[bool, str, str, bool]:
    return fault.contained, fault.row, fault.iommu, not (fault.serves and fault.spares)


FAULTS: Mapping[str, Fault] = dict(
    sorted(
        ((name, fault) for family in _FAMILIES for name, fault in family.FAULTS.items()),
        key=lambda item: _shared(item[1]),
    )
)
"""A guest serves all faults of its row that leave it as it was; those that do not come after them."""


def chosen(names: Sequence[str], *, risky: bool) -> list[str]:
    """The faults to plant: those named, or all; without `risky` none that must be asked for.

    Raises:
        LabUsageError: there is no such fault, or it must be asked for.
    """
    if unknown := [name for name in names if name not in FAULTS]:
        raise LabUsageError(f"there is no fault {unknown[0]!r}; there are {', '.join(FAULTS)}")
    if refused := [name for name in names if FAULTS[name].risky and not risky]:
        name = refused[0]
        raise LabUsageError(f"{name} on a real bench must be asked for by --risky: {FAULTS[name].risky}")
    return [name for name in (names or FAULTS) if risky or not FAULTS[name].risky]
