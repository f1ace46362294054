"""The PCI functions of a bench host, as sysfs describes them."""

from typing import Any

from .sysfs import Sysfs


def functions(sysfs: Sysfs) -> list[dict[str, Any]]:
    """All functions of the host, bridges included, by BDF."""
    return [described(sysfs, bdf) for bdf in sysfs.bdfs()]


def described(sysfs: Sysfs, bdf: str) -> dict[str, Any]:
    """What sysfs tells of one function; None for what the kernel does not offer."""
    return {
        "bdf": bdf,
        "vendor": sysfs.attribute(bdf, "vendor"),
        "device": sysfs.attribute(bdf, "device"),
        "class": sysfs.attribute(bdf, "class"),
        "driver": sysfs.driver(bdf),
        "iommu_group": sysfs.group(bdf),
        "group_members": sysfs.group_members(bdf),
        "is_bridge": sysfs.is_bridge(bdf),
        "reset_methods": (sysfs.attribute(bdf, "reset_method") or "").split(),
        "sriov_totalvfs": _number(sysfs.attribute(bdf, "sriov_totalvfs")),
        "numa_node": _number(sysfs.attribute(bdf, "numa_node")),
    }


def _number(text: str | None) -> int | None:
    return int(text) if text else None
