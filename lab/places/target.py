"""A target file for a place: drivers and options of a file on the controller, resources as exported."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lab.drivers import target_file
from lab.drivers.target_yaml import read
from lab.errors import BenchError, LabUsageError
from lab.places.view import Exported

DRIVERS = {
    "RedfishBmc": ("BmcPowerDriver",),
    "IpmiBmc": ("BmcPowerDriver", "SerialConsole"),
    "NetworkPowerPort": ("NetworkPowerDriver",),
    "PDUDaemonPort": ("PDUDaemonDriver",),
    "NetworkSerialPort": ("SerialConsole",),
}
"""Power and console drivers of what a place has."""


def write_target(place: str, resources: Mapping[str, Exported], template: Path, folder: Path) -> Path:
    """Write the target file of a place into a folder and return it; it names the bench as the place.

    template:  whose imports, drivers, options and tools are used; its own resources are not
    resources: as `View.resources` gives them

    Raises:
        LabUsageError: the template is wrong.
        BenchError: what the exporter offers makes no bench host.
    """
    data: dict[str, Any] = read(template).data
    try:
        host = data["targets"][target_file.HOST]
    except (KeyError, TypeError):
        raise LabUsageError(f"{template}: a target named {target_file.HOST!r} was expected") from None
    host["resources"] = [{one.cls: {"name": name, **one.params}} for name, one in resources.items()]
    host["drivers"] = _completed(_listed(host.get("drivers")), resources)
    path = folder / f"{place}.yaml"
    head = f"# written by cprlab run for place {place}: resources as exported, the rest of {template.name}\n"
    path.write_text(head + yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    try:
        target_file.load(path)
    except LabUsageError as error:
        raise BenchError(f"place {place} makes no bench: {error}; see its exporter's file") from error
    return path


def _listed(drivers: Any) -> list[dict[str, Any]]:
    """labgrid's two notations in one."""
    if isinstance(drivers, dict):
        return [{name: arguments} for name, arguments in drivers.items()]
    return list(drivers or [])


def _completed(drivers: list[dict[str, Any]], resources: Mapping[str, Exported]) -> list[dict[str, Any]]:
    """A place that can be switched or has a console gets the driver, before those that bind it."""
    named = {name for driver in drivers for name in driver}
    classes = sorted({one.cls for one in resources.values()})
    missing = dict.fromkeys(name for cls in classes for name in DRIVERS.get(cls, ()) if name not in named)
    return [*({name: {}} for name in missing), *drivers]
