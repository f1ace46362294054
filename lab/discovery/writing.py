"""Asks a host and writes what was found: both files, or none."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from lab import bench_state
from lab.bench import open_bench, prepared
from lab.discovery.files import exporter_text, target_text
from lab.discovery.machine import Machine, at, of
from lab.discovery.sorting import Discovery, sorted_out
from lab.drivers import target_file
from lab.drivers.agent import HostAgent
from lab.drivers.endpoint import Endpoint
from lab.drivers.ssh import HostConnection
from lab.errors import LabUsageError
from lab.host_reach import attached

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")


@dataclass(frozen=True)
class Written:
    """What came of it; exporter: None for a virtual bench, which nobody exports."""

    name: str
    found: Discovery
    target: Path
    exporter: Path | None


def discovered(where: Endpoint, name: str, folder: Path, how: str, *, force: bool) -> Written:
    """Read a host that is reached by ssh, and write its files.

    Raises:
        LabUsageError: the name is none, or there are such files already.
        BenchError: the host cannot be reached, or its agent is not root.
    """
    if name:
        _require_free(name, folder, force)
    with HostConnection(where) as connection:
        survey = surveyed(connection)
    return _written(survey, at(where), name or _name_of(where, survey), folder, how, force)


def discovered_again(target: Path, name: str, folder: Path, how: str, *, force: bool) -> Written:
    """Read the host of a target file; its machine, names and wires are taken over.

    Raises:
        LabUsageError: also if the target file is wrong.
    """
    target_file.load(target)
    machine, name = of(target), name or f"{target.stem}-discovered"
    _require_free(name, folder, force)
    with _host(target) as connection:
        survey = surveyed(connection)
    return _written(survey, machine, name, folder, how, force)


def surveyed(connection: HostConnection) -> dict[str, Any]:
    """What the host's agent says of it; root or not, as only root sees what holds a disk."""
    with HostAgent(connection) as agent:
        survey = agent.survey()
    if not survey["capabilities"]["root"]:
        raise LabUsageError(
            f"{connection.endpoint}: only root sees all that a host needs its devices for; log in as root"
        )
    return survey


def _written(
    survey: dict[str, Any], machine: Machine, name: str, folder: Path, how: str, force: bool
) -> Written:
    target, exporter = _require_free(name, folder, force)
    found, today = sorted_out(survey, machine.names), date.today()
    texts = {target: target_text(name, found, machine, how, today)}
    if not machine.is_virtual:
        texts[exporter] = exporter_text(name, found, machine, how, today)
    partial = {path: path.with_suffix(".partial") for path in texts}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial[path].write_text(text)
    target_file.load(partial[target])  # before it takes the place of one that is good
    for path in texts:
        partial[path].replace(path)
    return Written(name, found, target, exporter if exporter in texts else None)


def _require_free(name: str, folder: Path, force: bool) -> tuple[Path, Path]:
    """Where the target file and the exporter file go; raises LabUsageError if one is there."""
    if not _NAME.fullmatch(name):
        raise LabUsageError(
            f"{name!r} is no name for a bench: lower-case letters, digits and - were expected"
        )
    paths = folder / f"{name}.yaml", folder / "exporters" / f"{name}.yaml"
    if there := [path for path in paths if path.exists() and not force]:
        raise LabUsageError(f"there is {there[0]} already: --name for another, --force to write over it")
    return paths


def _name_of(where: Endpoint, survey: dict[str, Any]) -> str:
    """The host's name: of its address, or its own where that is a number."""
    first = where.host.split(".")[0].lower()
    return first if _NAME.fullmatch(first) else str(survey["host"]["name"]).split(".")[0].lower()


@contextmanager
def _host(target: Path) -> Iterator[HostConnection]:
    """As it is now; a virtual bench that is not up is powered on for it."""
    if prepared(target).virtual is not None and bench_state.find(target.stem) is None:
        with open_bench(target) as bench:
            yield bench.connection
    else:
        with attached(target) as connection:
            yield connection
