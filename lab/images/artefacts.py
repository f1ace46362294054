"""Records what a finished image consists of, and says what has become of it since.

Two depths: presence and size of every file, each time an image is used (a tree of ten thousand
files costs a tenth of a second); content as well, when asked, and always for small files.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SMALL_BYTES = 4 << 20
_CHUNK_BYTES = 1 << 20


def record_file(path: Path) -> dict[str, Any]:
    """Size and sha256 of one artefact."""
    return {"size": path.stat().st_size, "sha256": sha256(path)}


def write_manifest(tree: Path, manifest: Path) -> None:
    """Write one line `sha256 size path` for each regular file below `tree`."""
    with manifest.open("w", encoding="utf-8", errors="surrogateescape") as out:
        for path in _regular_files(tree):
            out.write(f"{sha256(path)} {path.lstat().st_size} {path.relative_to(tree)}\n")


def file_damage(path: Path, recorded: dict[str, Any], *, deep: bool) -> str | None:
    """What is wrong with one artefact, or None."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return f"{path.name} is missing"
    if size != recorded["size"]:
        return f"{path.name} has {size} bytes, not {recorded['size']}"
    if (deep or size <= SMALL_BYTES) and sha256(path) != recorded["sha256"]:
        return f"{path.name} has other content than was built"
    return None


def tree_damage(tree: Path, manifest: Path, *, deep: bool) -> str | None:
    """The first thing wrong with a tree, or None; files that came to it later do not count."""
    for line in manifest.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        digest, size, name = line.split(" ", 2)
        try:
            status = (tree / name).lstat()
        except OSError:
            return f"{tree.name}/{name} is missing"
        if status.st_size != int(size):
            return f"{tree.name}/{name} has {status.st_size} bytes, not {size}"
        if deep and sha256(tree / name) != digest:
            return f"{tree.name}/{name} has other content than was built"
    return None


def sha256(path: Path) -> str:
    """sha256 of a file's content, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def disk_bytes(folder: Path) -> int:
    """Blocks in use below `folder`, hard links counted once, holes not at all."""
    seen: set[int] = set()
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            status = Path(where, name).lstat()
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                total += status.st_blocks * 512
    return total


def _regular_files(tree: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(tree):
        folders.sort()
        for name in sorted(names):
            path = Path(where, name)
            if stat.S_ISREG(path.lstat().st_mode):
                yield path
