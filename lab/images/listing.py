"""Says what is cached, how large it is and what it was built from; and forgets what no recipe wants."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.images.catalogue import Catalogue
from lab.images.store import Entry, remove


@dataclass(frozen=True)
class ImageStatus:
    """One line of `cprlab images list`.

    state:   "cached", "damaged", "interrupted" (goes on where it stopped), "missing",
             or "old" (of a recipe that has changed since)
    damage:  what is wrong with it, one line each
    recipe:  recipe files, and their sha256 when it was built
    """

    name: str
    key: str
    state: str
    path: Path
    size_bytes: int
    created: str
    recipe: Mapping[str, str]
    versions: Mapping[str, str]
    damage: tuple[str, ...] = ()


def images(catalogue: Catalogue, *, verify: bool = False) -> list[ImageStatus]:
    """Every image that has a recipe, then cached ones whose recipe has changed.

    verify: read every byte; otherwise sizes, and the content of small files.
    """
    keys = catalogue.keys()
    current = [_status(catalogue, name, key, verify=verify) for name, key in keys.items()]
    old = [entry for entry in catalogue.store.entries() if keys.get(entry.name) != entry.key]
    return current + [_of_entry(entry, "old", ()) for entry in old]


def forget_old(catalogue: Catalogue) -> int:
    """Delete images whose recipe has changed, and what interrupted builds left of them.

    Returns the number of bytes that were freed.
    """
    keys = catalogue.keys()
    freed = 0
    for entry in catalogue.store.entries():
        if keys.get(entry.name) != entry.key:
            freed += entry.size_bytes
            remove(entry.path)
    wanted = {f".partial-{name}-{key}" for name, key in keys.items()}
    for left in catalogue.store.folder.glob(".partial-*"):
        if left.name not in wanted:
            remove(left)
    return freed


def _status(catalogue: Catalogue, name: str, key: str, *, verify: bool) -> ImageStatus:
    if entry := catalogue.store.find(name, key):
        damage = tuple(entry.damage(deep=verify))
        return _of_entry(entry, "damaged" if damage else "cached", damage)
    left = catalogue.store.folder / f".partial-{name}-{key}"
    resumes = catalogue.recipes[name].keeps_partial and left.exists()
    recipe = dict.fromkeys(catalogue.recipes[name].files, "")
    state = "interrupted" if resumes else "missing"
    return ImageStatus(name, key, state, catalogue.store.folder / f"{name}-{key}", 0, "", recipe, {})


def _of_entry(entry: Entry, state: str, damage: tuple[str, ...]) -> ImageStatus:
    record = entry.record
    return ImageStatus(
        entry.name,
        entry.key,
        state,
        entry.path,
        entry.size_bytes,
        record["created"],
        record["recipe"],
        record["versions"],
        damage,
    )
