"""Guest archives are what the kernel unpacks, and one state of the agents is built once."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from lab.agents.host.cpio import PADDING, Archive
from lab.errors import LabUsageError
from lab.images import guest_initrd
from lab.images.recipe import RECIPE_DIR, listed


def members(data: bytes) -> list[tuple[str, int, bytes]]:
    """Name, mode and content of every member: a second, independent reading of the format."""
    found: list[tuple[str, int, bytes]] = []
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = data[at + 110 : at + 110 + name_size - 1].decode()
        start = -(-(at + 110 + name_size) // 4) * 4
        if name == "TRAILER!!!":
            return found
        found.append((name, mode, data[start : start + size]))
        at = -(-(start + size) // 4) * 4


def test_an_archive_holds_what_was_put_in_with_folders_first() -> None:
    archive = Archive()
    archive.file("init", b"#!/bin/sh\n", 0o755)
    archive.file("usr/lib/a.pyc", b"12345")
    archive.link("bin/sh", "busybox")
    archive.character_device("dev/console", 5, 1)
    assert members(archive.finish()) == [
        ("init", 0o100755, b"#!/bin/sh\n"),
        ("usr", 0o40755, b""),
        ("usr/lib", 0o40755, b""),
        ("usr/lib/a.pyc", 0o100644, b"12345"),
        ("bin", 0o40755, b""),
        ("bin/sh", 0o120777, b"busybox"),
        ("dev", 0o40755, b""),
        ("dev/console", 0o20600, b""),
    ]


def test_another_archive_may_follow_and_the_bytes_do_not_depend_on_the_day() -> None:
    archives = [Archive(), Archive()]
    for archive in archives:
        archive.file("a", b"1")
    first, second = (archive.finish() for archive in archives)
    assert first == second
    assert len(first) % PADDING == 0


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[list[Path]]:
    """Compiles by copying; remembers each call."""
    calls: list[list[Path]] = []

    def add_bytecode(archive: Archive, root: Path, sources: list[tuple[Path, Path]], log: Path) -> None:
        calls.append([at for _, at in sources])
        for source, at in sources:
            archive.file(f"{at}c", source.read_bytes())

    monkeypatch.setattr("lab.images.guest.add_bytecode", add_bytecode)
    return calls


@pytest.fixture
def agents(tmp_path: Path) -> Path:
    for name in ("__init__.py", "lines.py", "guest/__main__.py", "host/__main__.py", "farend/__main__.py"):
        (tmp_path / "agents" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "agents" / name).write_text(f"# {name}\n")
    (tmp_path / "base.cpio").write_bytes(b"base" * 128)
    return tmp_path / "agents"


def test_the_guest_gets_its_agents_and_not_those_of_other_machines(
    agents: Path, compiled: list[list[Path]], tmp_path: Path
) -> None:
    initrd = guest_initrd.guest_initrd(tmp_path / "base.cpio", agents, tmp_path, tmp_path / "out")
    assert [str(at) for at in compiled[0]] == [
        "agents/agents/__init__.py",
        "agents/agents/guest/__main__.py",
        "agents/agents/lines.py",
    ]
    assert initrd.read_bytes().endswith(b"base" * 128)


def test_unchanged_agents_need_no_subprocess_and_changed_ones_get_another_file(
    agents: Path, compiled: list[list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again() -> Path:
        return guest_initrd.guest_initrd(tmp_path / "base.cpio", agents, tmp_path, tmp_path / "out")

    monkeypatch.setattr(subprocess, "Popen", None)
    first = again()
    assert again() == first and len(compiled) == 1
    (agents / "lines.py").write_text("changed = True\n")
    assert again() != first and len(compiled) == 2


def test_a_truncated_initramfs_is_made_again(
    agents: Path, compiled: list[list[Path]], tmp_path: Path
) -> None:
    first = guest_initrd.guest_initrd(tmp_path / "base.cpio", agents, tmp_path, tmp_path / "out")
    whole = first.read_bytes()
    first.write_bytes(whole[:100])
    assert guest_initrd.guest_initrd(tmp_path / "base.cpio", agents, tmp_path, tmp_path / "out") == first
    assert first.read_bytes() == whole


def test_a_folder_without_agents_is_the_callers_error(tmp_path: Path) -> None:
    (tmp_path / "base.cpio").touch()
    with pytest.raises(LabUsageError, match="no guest agents"):
        guest_initrd.guest_initrd(tmp_path / "base.cpio", tmp_path / "nothing", tmp_path, tmp_path / "out")


def imported(source: Path) -> set[str]:
    """Modules that a source imports by their absolute names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def test_every_module_an_agent_imports_is_in_the_guest() -> None:
    agents = RECIPE_DIR.parent / "lab/agents"
    wanted = set().union(*(imported(source) for source in guest_initrd.agent_sources(agents)))
    standard = {name for name in wanted if name.split(".")[0] in sys.stdlib_module_names}
    # _random is what random is made of
    public = {name.lstrip("_") for name in standard - {"__future__", "sys"}}
    assert public - set(listed(RECIPE_DIR / "guest.modules")) == set(), "add them to images/guest.modules"
