"""Joins the guest's initramfs and the agents of this working tree; a second's work, cached all the same."""

import hashlib
import json
import os
from pathlib import Path

from lab.agents.host.cpio import Archive
from lab.errors import LabUsageError
from lab.images import artefacts, guest
from lab.images.store import cache_folder

# raise it when this file changes what comes out
VERSION = 1
# each is some 15 MB, and each change of an agent makes one
KEPT = 12
AGENTS = Path(__file__).resolve().parents[1] / "agents"
SKIPPED = ("host", "farend", "__pycache__")


def guest_initrd(base: Path, agents_dir: Path, root: Path, out_dir: Path | None = None) -> Path:
    """The initramfs for one state of the agents, named by the hash of all that is in it.

    base:       what `ensure_guest` gave
    agents_dir: the package `agents`; in the guest it is /agents/agents
    root:       what `ensure_root` gave; its Python compiles for the guest
    out_dir:    by default in the cache

    Raises:
        LabUsageError: there are no agents in `agents_dir`.
        BenchError: an agent does not compile.
    """
    out_dir = out_dir or cache_folder() / "initrd"
    sources = agent_sources(agents_dir)
    initrd = out_dir / f"guest-{_key(base, agents_dir, sources)}.cpio"
    if is_whole(initrd):
        os.utime(initrd)  # the newest are kept
        return initrd
    out_dir.mkdir(parents=True, exist_ok=True)
    archive = Archive()
    placed = [(source, Path("agents/agents", source.relative_to(agents_dir))) for source in sources]
    guest.add_bytecode(archive, root, placed, out_dir / "build.log")
    # the kernel unpacks archive after archive.  Uncompressed: under nested KVM on TCG zstd and gzip
    # won nothing (agent alive after 6 to 8 s in either case)
    _write(initrd, archive.finish() + base.read_bytes())
    _forget_old(out_dir)
    return initrd


def agent_sources(agents_dir: Path) -> list[Path]:
    """The modules that go into the guest, in order: all but those of other machines."""
    found = (
        path for path in agents_dir.rglob("*.py") if path.relative_to(agents_dir).parts[0] not in SKIPPED
    )
    if sources := sorted(found):
        return sources
    raise LabUsageError(f"no guest agents (*.py) in {agents_dir}")


def is_whole(initrd: Path) -> bool:
    """The file is there, and is what was written."""
    try:
        recorded = json.loads(_record_of(initrd).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return False
    return artefacts.file_damage(initrd, recorded, deep=True) is None


def _key(base: Path, agents_dir: Path, sources: list[Path]) -> str:
    digest = hashlib.sha256(f"{VERSION} {artefacts.sha256(base)}".encode())
    for source in sources:
        digest.update(f"{source.relative_to(agents_dir)} {artefacts.sha256(source)}\n".encode())
    return digest.hexdigest()[:12]


def _write(initrd: Path, content: bytes) -> None:
    fresh = initrd.with_suffix(f".{os.getpid()}")
    fresh.write_bytes(content)
    record = json.dumps(artefacts.record_file(fresh))
    fresh.replace(initrd)
    _record_of(initrd).write_text(record, encoding="ascii")


def _record_of(initrd: Path) -> Path:
    return initrd.with_suffix(".json")


def _forget_old(out_dir: Path) -> None:
    newest_first = sorted(out_dir.glob("guest-*.cpio"), key=lambda path: path.stat().st_mtime, reverse=True)
    for initrd in newest_first[KEPT:]:
        initrd.unlink(missing_ok=True)
        _record_of(initrd).unlink(missing_ok=True)
