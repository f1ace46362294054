"""The network interfaces of this machine, from sysfs."""

from pathlib import Path
from typing import Any

from ..rpc import AgentError

NET = Path("/sys/class/net")


def described(name: str) -> dict[str, Any]:
    """{name, driver, bdf, mac}; driver and bdf are "" for what is no PCI device."""
    device = NET / name / "device"
    driver = device / "driver"
    bdf = device.resolve().name if device.exists() else ""
    return {
        "name": name,
        "driver": driver.resolve().name if driver.exists() else "",
        "bdf": bdf if bdf.count(":") == 2 else device.resolve().parent.name if bdf else "",
        "mac": (NET / name / "address").read_text(encoding="ascii").strip(),
    }


def all_interfaces() -> list[dict[str, Any]]:
    """Every interface that belongs to a device, by name."""
    return [described(path.name) for path in sorted(NET.iterdir()) if (path / "device").exists()]


def chosen(interface: str | None, bdf: str | None) -> str:
    """The interface with this name or PCI address; with neither, the first that has a device.

    Raises:
        AgentError: if there is none.
    """
    if interface:
        return interface
    candidates = all_interfaces()
    for candidate in candidates:
        if bdf in (None, candidate["bdf"]):
            return str(candidate["name"])
    there = ", ".join(f"{c['name']} ({c['driver']}, {c['bdf']})" for c in candidates) or "none"
    raise AgentError(f"no network interface {bdf or 'with a device'} in the guest; there is: {there}")


def has_carrier(name: str) -> bool:
    """Whether the link is up; an interface that is down has none."""
    try:
        return (NET / name / "carrier").read_text(encoding="ascii").strip() == "1"
    except OSError:
        return False


def statistics(name: str) -> dict[str, int]:
    """The kernel's counters of an interface."""
    return {
        path.name: int(path.read_text(encoding="ascii")) for path in (NET / name / "statistics").iterdir()
    }
