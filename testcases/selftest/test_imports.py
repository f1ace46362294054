"""The import arrows of the design: testcases -> fixtures -> lab parts -> core, and never back."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = {"lab.errors", "lab.timeline", "lab.verdict", "lab.columns", "lab.streams"}
LOWER = ("lab.loads", "lab.cpr", "lab.witnesses", "lab.qemu", "lab.drivers", "lab.faults", "lab.failures")
SOURCES = sorted(
    path
    for part in ("lab", "fixtures", "testcases")
    for path in (ROOT / part).rglob("*.py")
    if path.is_file()
)


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Every module a file imports, also within functions, relative ones made absolute."""
    package = module_of(path).split(".")
    if path.name != "__init__.py":
        package.pop()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            whole = ".".join([*base, *([node.module] if node.module else [])])
            yield whole
            yield from (f"{whole}.{name.name}" for name in node.names)


IMPORTS = {module_of(path): sorted(set(imports(path))) for path in SOURCES}


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def offenders(*, who: "tuple[str, ...]", of: "tuple[str, ...]", but: "tuple[str, ...]" = ()) -> list[str]:
    """Imports of `of` by modules in `who` (all if empty) that are not in `but`."""
    return [
        f"{module} imports {name}"
        for module, names in IMPORTS.items()
        if (not who or within(module, *who)) and not within(module, *but)
        for name in names
        if within(name, *of)
    ]


def test_it_sees_imports() -> None:
    assert "lab.timeline" in IMPORTS["lab.verdict"]
    assert len(SOURCES) > 50


@pytest.mark.parametrize(
    "library, owners",
    [
        ("allure", ("lab.report",)),
        ("allure_commons", ("lab.report",)),
        ("allure_pytest", ("lab.report",)),
        ("qemu", ("lab.qemu",)),
        ("paramiko", ("lab.drivers", "lab.emulation.fake_hosts")),
        # lab.bench asks labgrid for a target; its drivers are next door
        ("labgrid", ("lab.drivers", "lab.bench", "lab.places.coordinator", "lab.scale.exporters")),
        ("labgrid.remote", ("lab.places.coordinator", "lab.scale.exporters")),
        ("grpc", ("lab.places.coordinator", "lab.scale.exporters")),
        ("matplotlib", ("lab.report",)),
        ("typer", ("lab.cli",)),
        ("rich", ("lab.cli",)),
        ("jsonschema", ("lab.record.validate",)),
        ("hypothesis", ()),
        ("sushy", ("lab.drivers.redfish",)),
        # the machine room: what runs on a real bench does not know it
        ("sushy_tools", ("lab.emulation",)),
        ("pyghmi", ("lab.emulation",)),
        ("lab.emulation", ("lab.emulation", "lab.places.demo", "testcases")),
    ],
)
def test_a_library_has_one_owner(library: str, owners: tuple[str, ...]) -> None:
    tests = ("testcases.selftest",)
    assert offenders(who=(), of=(library,), but=(*owners, *tests)) == []


def test_the_core_stands_on_the_standard_library_and_numpy() -> None:
    for module in CORE:
        foreign = [name for name in IMPORTS[module] if not within(name, *CORE, *sys.stdlib_module_names)]
        assert [n for n in foreign if not (module == "lab.columns" and within(n, "numpy"))] == []


def test_checkers_import_only_the_core() -> None:
    allowed = ("lab.checkers", *CORE, "numpy", *sys.stdlib_module_names)
    found = [
        f"{module} imports {name}"
        for module, names in IMPORTS.items()
        if within(module, "lab.checkers")
        for name in names
        if not within(name, *allowed)
    ]
    assert found == []


def test_checkers_know_no_clock_and_no_world() -> None:
    assert (
        offenders(who=("lab.checkers",), of=("time", "logging", "subprocess", "socket", "threading", "os"))
        == []
    )


def test_agents_are_on_their_own() -> None:
    found = [
        f"{module} imports {name}"
        for module, names in IMPORTS.items()
        if within(module, "lab.agents")
        for name in names
        if not within(name, "lab.agents", *sys.stdlib_module_names)
    ]
    assert found == []


def test_agents_reach_each_other_relatively() -> None:
    """On the bench host and in the guest their package is `agents`, not `lab.agents`."""
    found = [
        str(path)
        for path in SOURCES
        if within(module_of(path), "lab.agents")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and not node.level and within(node.module or "", "lab")
    ]
    assert found == []


@pytest.mark.parametrize(
    "who, of, but",
    [
        (("lab", "fixtures"), ("testcases",), ()),
        (("lab",), ("fixtures",), ()),
        (("testcases",), ("fixtures",), ("testcases.selftest",)),
        (("lab",), ("lab.cli",), ("lab.cli",)),
        (("lab.loads",), ("lab.cpr", "lab.checkers"), ()),
        (("lab.cpr",), ("lab.loads", "lab.checkers"), ()),
        (("lab.witnesses",), ("lab.checkers", "lab.loads", "lab.cpr"), ()),
        (LOWER, ("lab.report", "lab.record", "pytest"), ("lab.drivers.labgrid_pytest",)),
        (("lab.report",), ("lab.checkers", "lab.drivers", "lab.qemu"), ()),
        (("lab.faults",), ("lab.checkers",), ()),
        (("lab.checkers",), ("lab.faults",), ()),
    ],
)
def test_no_arrow_points_back(who: "tuple[str, ...]", of: "tuple[str, ...]", but: "tuple[str, ...]") -> None:
    assert offenders(who=who, of=of, but=but) == []


def test_cases_arrange_by_fixtures() -> None:
    """A case imports no library of the lab's lower layers."""
    lower = ("labgrid", "paramiko", "qemu", "allure")
    assert offenders(who=("testcases",), of=lower, but=("testcases.selftest",)) == []
