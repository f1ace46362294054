"""All faults by name, those that can share a guest one after the other."""

from collections.abc import Mapping, Sequence

from lab.errors import LabUsageError
from lab.faults import devices, guest, host, new_qemu, wire, witness
from lab.faults.contained import CONTAINED
from lab.faults.fault import Fault

_FAMILIES = (wire, new_qemu, host, guest, witness, devices)


def _shared(fault: Fault) -> tuple[str, str, bool]:
    return fault.row, fault.iommu, not (fault.serves and fault.spares)


FAULTS: Mapping[str, Fault] = dict(
    sorted(
        ((name, fault) for family in _FAMILIES for name, fault in family.FAULTS.items()),
        key=lambda item: _shared(item[1]),
    )
)
"""A guest serves all faults of its row that leave it as it was; those that do not come after them."""

EVERY: Mapping[str, Fault] = {**FAULTS, **CONTAINED}


def chosen(names: Sequence[str], *, risky: bool) -> list[str]:
    """The faults to plant: those named, or all; without `risky` none that must be asked for.

    Raises:
        LabUsageError: there is no such fault, or it must be asked for.
    """
    if unknown := [name for name in names if name not in EVERY]:
        raise LabUsageError(f"there is no fault {unknown[0]!r}; there are {', '.join(EVERY)}")
    if refused := [name for name in names if EVERY[name].risky and not risky]:
        name = refused[0]
        raise LabUsageError(f"{name} on a real bench must be asked for by --risky: {EVERY[name].risky}")
    return [name for name in (names or EVERY) if risky or not EVERY[name].risky]
