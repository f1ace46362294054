"""What an image is made from, and the hash that names it.

The hash covers what the recipe means: the content of its files, the code version of its builder and
the hashes of its inputs.  It covers neither the time nor the versions that Debian had that
day: an image stays valid for as long as its recipe does, with or without a network.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.errors import BenchError
from lab.images.progress import Progress

RECIPE_DIR = Path(__file__).resolve().parents[2] / "images"

_KCONFIG_UNSET = re.compile(r"# CONFIG_\w+ is not set")


@dataclass(frozen=True)
class Workshop:
    """Where one image is being built.

    folder:  becomes the cache entry when the build succeeds
    recipes: folder of the recipe files
    inputs:  finished cache entries by name
    log:     takes the output of every command
    """

    folder: Path
    recipes: Path
    inputs: Mapping[str, Path]
    progress: Progress

    @property
    def log(self) -> Path:
        """The build log, kept in the entry."""
        return self.folder / "build.log"


@dataclass(frozen=True)
class Built:
    """What a builder left in its folder: files and trees to be watched, and versions used."""

    files: tuple[str, ...] = ()
    trees: tuple[str, ...] = ()
    versions: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Recipe:
    """How one image is built.

    files:           recipe files, in `images/`
    inputs:          names of the images it is built from
    version:         of the builder's code: raise it when the code changes what comes out
    space_bytes:     free space the build needs
    tools:           programs the controller must have
    keeps_partial:   an interrupted build goes on where it stopped
    """

    name: str
    files: tuple[str, ...]
    inputs: tuple[str, ...]
    version: int
    build: Callable[[Workshop], Built]
    space_bytes: int
    tools: tuple[str, ...] = ()
    keeps_partial: bool = False


def meaning(text: str) -> str:
    """The lines that matter: no comments, no blank lines, so a better comment rebuilds nothing."""
    lines = [line.rstrip() for line in text.splitlines()]
    return "\n".join(line for line in lines if line and not _is_comment(line))


def listed(path: Path) -> list[str]:
    """The entries of a one-per-line recipe file."""
    return [line.strip() for line in meaning(read(path)).splitlines()]


def read(path: Path) -> str:
    """The text of a recipe file.

    Raises:
        BenchError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise BenchError(f"recipe {path} cannot be read: {error.strerror}") from error


def key(recipe: Recipe, recipes: Path, input_keys: Mapping[str, str]) -> str:
    """Twelve hex digits that name what this recipe builds."""
    identity = {
        "name": recipe.name,
        "version": recipe.version,
        "files": {name: _sha256(meaning(read(recipes / name))) for name in recipe.files},
        "inputs": {name: input_keys[name] for name in recipe.inputs},
    }
    return _sha256(json.dumps(identity, sort_keys=True))[:12]


def file_hashes(recipe: Recipe, recipes: Path) -> dict[str, str]:
    """sha256 of each recipe file as it is, comments included: for the record in the entry."""
    return {name: _sha256(read(recipes / name)) for name in recipe.files}


def _is_comment(line: str) -> bool:
    stripped = line.lstrip()
    return stripped.startswith("#") and not stripped.startswith("#!") and not _KCONFIG_UNSET.match(stripped)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
