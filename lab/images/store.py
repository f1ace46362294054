"""The cache of built images: whole entries under their final name, everything else under another.

Layout of `$XDG_CACHE_HOME/cprlab/images/`:
  root-0123456789ab/           a complete entry: `entry.json` says what must be in it
  .partial-root-0123456789ab/  being built, or left by an interrupted build
  root-0123456789ab.lock       held by whoever builds it
An entry appears by one rename, after its `entry.json` is on disk: what has the final name is whole.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab.errors import BenchError
from lab.images import artefacts, recipe
from lab.images.lock import held
from lab.images.preflight import free_bytes, gib
from lab.images.progress import Progress
from lab.images.recipe import Built, Recipe

SCHEMA = 1


def cache_folder() -> Path:
    """Where images are kept: $XDG_CACHE_HOME, or ~/.cache, and below it cprlab/images."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cprlab" / "images"


@dataclass(frozen=True)
class Entry:
    """A complete image in the cache; `record` is its entry.json."""

    path: Path
    record: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The image's name, such as "kernel"."""
        return str(self.record["name"])

    @property
    def key(self) -> str:
        """The twelve hex digits after the name."""
        return str(self.record["key"])

    @property
    def size_bytes(self) -> int:
        """Disk space in use when it was built."""
        return int(self.record["size_bytes"])

    def damage(self, *, deep: bool = False) -> list[str]:
        """What is wrong with it, one line each; `deep` reads every byte."""
        found = [
            artefacts.file_damage(self.path / name, it, deep=deep)
            for name, it in self.record["files"].items()
        ]
        if not any(found):  # the manifests are among the files
            found += [
                artefacts.tree_damage(self.path / tree, self.path / f"{tree}.manifest", deep=deep)
                for tree in self.record["trees"]
            ]
        return [line for line in found if line]


@dataclass(frozen=True)
class Store:
    """The cache in one folder."""

    folder: Path

    def find(self, name: str, key: str) -> Entry | None:
        """The entry of that name, whole or damaged; None if it was never completed."""
        path = self.folder / f"{name}-{key}"
        try:
            record = json.loads((path / "entry.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(record, dict) or record.get("schema") != SCHEMA or record.get("key") != key:
            return None
        return Entry(path, record)

    def entries(self) -> list[Entry]:
        """Every complete entry, those of older recipes too."""
        names = sorted(path.name for path in self.folder.glob("[a-z]*-*/")) if self.folder.is_dir() else []
        found = (self.find(*name.rsplit("-", 1)) for name in names)
        return [entry for entry in found if entry]

    def resumable_bytes(self, name: str, key: str) -> int:
        """Disk space in use by what an interrupted build left."""
        return artefacts.disk_bytes(self.folder / f".partial-{name}-{key}")

    @contextmanager
    def building(self, made_by: Recipe, key: str, progress: Progress) -> Iterator[Path]:
        """Hold the entry's lock and a folder to build it in.

        What a failed build made is kept if its recipe can go on from there; otherwise only its log.

        Raises:
            BenchError: the disk is full.
        """
        partial = self.folder / f".partial-{made_by.name}-{key}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with held(self.folder / f"{made_by.name}-{key}.lock", f"{made_by.name}-{key}", progress):
                if not made_by.keeps_partial:
                    remove(partial)
                partial.mkdir(exist_ok=True)
                try:
                    yield partial
                finally:
                    _sweep(partial, everything_but_log=not made_by.keeps_partial)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise BenchError(
                f"building {made_by.name}: the disk is full ({gib(free_bytes(self.folder))} free in "
                f"{self.folder}); make room and build again, no half image was kept as whole"
            ) from error

    def commit(self, made_by: Recipe, recipes: Path, keys: Mapping[str, str], built: Built) -> Entry:
        """Turn the folder that was built in into the entry: record, then rename."""
        key = keys[made_by.name]
        partial, final = self.folder / f".partial-{made_by.name}-{key}", self.folder / f"{made_by.name}-{key}"
        for tree in built.trees:
            artefacts.write_manifest(partial / tree, partial / f"{tree}.manifest")
        files = (*built.files, *(f"{tree}.manifest" for tree in built.trees))
        record = {
            "schema": SCHEMA,
            "name": made_by.name,
            "key": key,
            "recipe": recipe.file_hashes(made_by, recipes),
            "builder_version": made_by.version,
            "inputs": {name: keys[name] for name in made_by.inputs},
            "versions": dict(built.versions or {}),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "size_bytes": artefacts.disk_bytes(partial),
            "files": {name: artefacts.record_file(partial / name) for name in files},
            "trees": list(built.trees),
        }
        _write_durably(partial / "entry.json", json.dumps(record, indent=1))
        replaced = self.folder / f".damaged-{made_by.name}-{key}"
        if final.exists():
            final.rename(replaced)
        partial.rename(final)
        remove(replaced)
        return Entry(final, record)


def remove(folder: Path) -> None:
    """Delete a folder and all in it; nothing if it is not there."""
    shutil.rmtree(folder, ignore_errors=True)


def _sweep(partial: Path, *, everything_but_log: bool) -> None:
    if everything_but_log and partial.exists():
        for left in partial.iterdir():
            if left.is_dir():
                remove(left)
            elif left.name != "build.log":
                left.unlink()
    with suppress(OSError):  # it is the entry by now, or something in it is kept
        partial.rmdir()


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
