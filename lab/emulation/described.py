"""The target file and the exporter's file of an emulated host: such as a real host has, and nothing more."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FAR_PORT, FAR_INTERFACE = "port-b", "port0"


@dataclass(frozen=True)
class Described:
    """What the world outside may know of a host.

    bmc:       the resource that says how its BMC is reached
    serial:    port of its console server; None if its console is the BMC's
    functions: what may be given to a guest, by name: address, which disk; "nic" has a cable to `far_ssh`
    far_ssh:   ssh port of the machine that the cable leads to
    far_key:   the key it shows
    """

    address: str
    ssh: int
    host_key: str
    key_file: Path
    bmc: Mapping[str, Mapping[str, Any]]
    serial: int | None
    functions: Mapping[str, Mapping[str, Any]]
    far_ssh: int
    far_key: str

    def resources(self) -> list[dict[str, Any]]:
        """As in a target file."""
        key = {"host_key": self.host_key, "key_file": str(self.key_file)}
        service = {"address": self.address, "username": "root", "port": self.ssh}
        far = {"name": FAR_PORT, "address": self.address, "port": self.far_ssh, "interface": FAR_INTERFACE}
        found: list[dict[str, Any]] = [{"NetworkService": service}, {"PinnedKey": key}]
        for name, function in self.functions.items():
            wire = {"wire": FAR_PORT} if name == "nic" else {}
            found.append({"AssignableFunction": {"name": name, **function, **wire}})
        found.append({"FarPort": {**far, **key, "host_key": self.far_key}})
        found += [{kind: dict(arguments)} for kind, arguments in self.bmc.items()]
        if self.serial is not None:
            line = {"host": self.address, "port": self.serial, "protocol": "raw"}
            found.append({"NetworkSerialPort": line})
        return found

    def target_file(self, options: Mapping[str, Any]) -> str:
        """The target file; `options` as for the virtual bench, whose processor it has, too."""
        drivers: Sequence[Mapping[str, Any]] = [
            {"BmcPowerDriver": {}},
            {"SerialConsole": {}},
            {"BenchHost": {"connect_timeout_s": 10.0}},
            {"BenchStrategy": {"boot_timeout_s": 120.0}},
        ]
        lines = ["# An emulated host, described as a real one: `python -m lab.emulation` wrote this.", ""]
        lines += ["imports: [lab.drivers.labgrid_bench]", "", "targets:", "  host:", "    resources:"]
        lines += [*_listed(self.resources()), "    drivers:", *_listed(drivers)]
        return "\n".join([*lines, "", f"options: {json.dumps(options)}", ""])

    def exporter_file(self, place: str) -> str:
        """labgrid-exporter's configuration: the same resources, as a group named like the place.

        There the name of an entry is the name of its resource.
        """
        # it is a Jinja template whose statements begin with one #
        lines = ["## An emulated host for labgrid-exporter: `python -m lab.emulation` wrote this.", ""]
        lines.append(f"{place}:")
        for resource in self.resources():
            for kind, arguments in resource.items():
                rest = {key: value for key, value in arguments.items() if key != "name"}
                lines.append(f"  {arguments.get('name', kind)}: {json.dumps({'cls': kind, **rest})}")
        return "\n".join([*lines, ""])


def _listed(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """JSON is YAML."""
    return [
        f"      - {kind}: {json.dumps(arguments)}" for entry in entries for kind, arguments in entry.items()
    ]
