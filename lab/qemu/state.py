"""What preflight wants to know of a running QEMU, by QMP.

Source: QEMU qapi/migration.json, MigrationInfo `blocked-reasons` (since 6.0), of the mode that is set;
docs/devel/qom.rst: -device and device_add put devices with an id below /machine/peripheral, others below
/machine/peripheral-anon; objects are below /objects.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from lab.errors import SutError
from lab.preflight.command import Command
from lab.preflight.facts import Plugged, State
from lab.preflight.modes import cpr_modes
from lab.preflight.words import properties
from lab.qemu.monitor import Monitor

_SCHEMA_S = 30.0
_CHILD = "child<"


def state(monitor: Monitor, mode: str, modes: frozenset[str] | None = None) -> State:
    """Ask; what it does not answer stays unknown. Its migration mode is put back.

    modes: that it is known to have; None: it is asked, which takes a second under emulation
    """
    found = State(modes)
    try:
        if modes is None:
            schema = monitor.execute("query-qmp-schema", timeout_s=_SCHEMA_S, aside=True)
            found = replace(found, modes=frozenset(cpr_modes(schema)))
        found = replace(found, devices=tuple(_devices(monitor)), objects=tuple(_memory(monitor)))
        if found.modes is None or mode in found.modes:
            found = replace(found, blocked=tuple(_blocked(monitor, mode)))
    except SutError:
        pass  # the update will tell, and be recorded
    return found


def monitor_paths(command: Command) -> Iterator[str]:
    """The sockets by path on which a QEMU of this command line speaks QMP."""
    for option in command.all("qmp", "qmp-pretty"):
        address = properties(option.value, "address").get("address", "")
        if address.startswith("unix:"):
            yield address.removeprefix("unix:")
    chardevs = {one.id: one for one in command.chardevs}
    for option in command.all("mon"):
        chardev = chardevs.get(option["chardev"])
        if chardev and option["mode"] == "control" and chardev["backend"] == "socket" and chardev["path"]:
            yield chardev["path"]


def _devices(monitor: Monitor) -> Iterator[Plugged]:
    for child in _children(monitor, "/machine/peripheral"):
        yield Plugged(_kind(child), str(child["name"]))
    for child in _children(monitor, "/machine/peripheral-anon"):
        yield Plugged(_kind(child), "")


def _memory(monitor: Monitor) -> Iterator[Plugged]:
    for child in _children(monitor, "/objects"):
        if _kind(child).startswith("memory-backend-"):
            yield Plugged(_kind(child), str(child["name"]))


def _children(monitor: Monitor, path: str) -> list[Mapping[str, Any]]:
    listed = monitor.execute("qom-list", {"path": path}, aside=True)
    return [one for one in listed if str(one["type"]).startswith(_CHILD)]


def _kind(child: Mapping[str, Any]) -> str:
    return str(child["type"])[len(_CHILD) : -1]


def _blocked(monitor: Monitor, mode: str) -> list[str]:
    was = monitor.execute("query-migrate-parameters", aside=True)["mode"]
    monitor.execute("migrate-set-parameters", {"mode": mode}, aside=True)
    try:
        told = monitor.execute("query-migrate", aside=True)
    finally:
        monitor.execute("migrate-set-parameters", {"mode": was}, aside=True)
    return [str(reason) for reason in told.get("blocked-reasons", [])]
