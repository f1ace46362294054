"""How the host is reached and switched: from the command line, or from a target file that is there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.discovery.entries import Entry
from lab.drivers.endpoint import Endpoint
from lab.drivers.target_yaml import read
from lab.drivers.virtual_devices import Device, bdf

FUNCTION = "AssignableFunction"
_BY_DISCOVERY = ("imports", "targets")


@dataclass(frozen=True)
class Machine:
    """Everything of a target file that is not a function.

    resources: as labgrid has them, flat ones as they go into an exporter file, too
    drivers:   [{class: arguments}]
    rest:      sections below `targets` that are taken over: tools, options
    imports:   labgrid's modules of classes
    wires:     BDF -> what its cable leads to
    names:     BDF -> name, given before
    is_new:    nobody has written a target file yet: hints are wanted
    """

    resources: tuple[Entry, ...]
    drivers: tuple[Mapping[str, Any], ...] = ({"BenchHost": {}}, {"BenchStrategy": {}})
    rest: Mapping[str, Any] = field(default_factory=dict)
    imports: tuple[str, ...] = ("lab.drivers.labgrid_bench",)
    wires: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    is_new: bool = False

    @property
    def is_virtual(self) -> bool:
        """A virtual bench is nobody's to export: it is there as long as its holder."""
        return any(entry.cls == "VirtualBench" for entry in self.resources)


def at(endpoint: Endpoint) -> Machine:
    """A host that is reached by ssh, and of which nothing else is known."""
    service: dict[str, Any] = {"address": endpoint.host, "username": endpoint.username}
    if endpoint.port != 22:
        service["port"] = endpoint.port
    pinned = {"host_key": " ".join(endpoint.host_key.split()[:2]), "key_file": _short(endpoint.key_file)}
    return Machine(
        (
            Entry("NetworkService", "NetworkService", service, {}, ("Root over ssh, by key; no passwords.",)),
            Entry("PinnedKey", "PinnedKey", pinned, {}),
        ),
        is_new=True,
    )


def of(path: Path) -> Machine:
    """That of a target file which has been checked; its comments are not taken over."""
    data = read(path).data
    target = data["targets"]["host"]
    listed = [(cls, dict(arguments)) for one in _list(target["resources"]) for cls, arguments in one.items()]
    functions = [arguments for cls, arguments in listed if cls == FUNCTION]
    wires = {one["bdf"]: one["wire"] for one in functions if one.get("wire")}
    for cls, arguments in listed:
        if cls == "VirtualBench":
            wires = _of_the_virtual_bench(arguments) | wires
    return Machine(
        tuple(
            Entry(cls, str(arguments.pop("name", cls)), arguments, {})
            for cls, arguments in listed
            if cls != FUNCTION
        ),
        tuple(_list(target["drivers"])),
        {key: value for key, value in data.items() if key not in _BY_DISCOVERY},
        tuple(data.get("imports", ())),
        wires,
        {one["bdf"]: one["name"] for one in functions},
    )


def _of_the_virtual_bench(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Its cables lead to itself: BDF -> name of the device."""
    devices = tuple(Device(**device) for device in arguments.get("devices", ()))
    return {bdf(devices, index): device.name for index, device in enumerate(devices) if device.wire}


def _list(section: Any) -> list[dict[str, Any]]:
    """labgrid takes a list or a mapping."""
    return list(section) if isinstance(section, list) else [{key: value} for key, value in section.items()]


def _short(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
