"""The simulated lab: coordinator, exporters, hosts, places."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.places import local
from lab.places.coordinator import Coordinator
from lab.places.local import Program
from lab.waiting import wait_until

_START_S = 120.0
KINDS = {"any": 1, "nic": 2, "gpu": 20}
"""Every so many-th place has such a device: all, half, a twentieth."""


@dataclass(frozen=True)
class Simulated:
    """The lab while it is up.

    exporters: processes with many exporters each
    """

    address: str
    coordinator: Program
    exporters: tuple[Program, ...]
    places: int


@contextmanager
def simulated(folder: Path, places: int, processes: int = 4) -> Iterator[Simulated]:
    """A lab with so many places, each with an exporter and a host of its own."""
    with ExitStack() as stack:
        own = stack.enter_context(local.coordinator(folder / "coordinator"))
        hosts = Program("hosts", ("lab.emulation.fake_hosts", str(folder), str(places)), folder)
        stack.callback(hosts.stop)
        hosts.start("(ready)")
        told = json.loads((folder / "hosts.json").read_text())
        files = [_offered(folder, number, told) for number in range(places)]
        exporters = []
        for number in range(processes):
            arguments = ("lab.scale.exporters", own.address, *map(str, files[number::processes]))
            exporters.append(Program(f"exporters-{number}", arguments, folder))
            stack.callback(exporters[-1].kill)
            exporters[-1].start("(exporters started)")
        with Coordinator(own.address, "scale/places") as admin:
            for number, file in enumerate(files):
                tags = {kind: "yes" for kind, every in KINDS.items() if number % every == 0}
                admin.add_place(file.stem, (f"{file.stem}/*/*",), {**tags, "health": "good"})
            wait_until(lambda: _complete(admin, files), _START_S, "the exporters", period_s=0.2)
        yield Simulated(own.address, own.program, tuple(exporters), places)


def _complete(admin: Coordinator, files: list[Path]) -> bool:
    view = admin.view
    return all(file.stem in view.places and not view.missing(view.places[file.stem]) for file in files)


def _offered(folder: Path, number: int, told: Mapping[str, Any]) -> Path:
    """What a small host offers: its address and key, a NIC with a far end, an NVMe disk."""
    name = f"h{number:03d}"
    key = {"host_key": told["host_key"], "key_file": told["key_file"]}
    service = {"address": told["address"], "username": "root", "port": told["ports"][number]}
    far = {"address": told["address"], "interface": "port0", "port": told["ports"][number]}
    offered = {
        "host": {"cls": "NetworkService", **service},
        "key": {"cls": "PinnedKey", **key},
        "nic": {"cls": "AssignableFunction", "bdf": "0000:3b:00.0", "wire": "port-b"},
        "nvme": {"cls": "AssignableFunction", "bdf": "0000:5e:00.0"},
        "port-b": {"cls": "FarPort", **far, **key},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({name: offered}))
    return path
