"""All images, and how one is had: from the cache, or built with everything it needs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab.errors import BenchError, LabUsageError
from lab.images import base_root, build_root, guest, kernel, recipe, root
from lab.images.preflight import require_space, require_tools
from lab.images.progress import PlainProgress, Progress
from lab.images.recipe import Built, Recipe, Workshop
from lab.images.store import Entry, Store, cache_folder

RECIPES: Mapping[str, Recipe] = {
    module.RECIPE.name: module.RECIPE for module in (base_root, root, build_root, kernel, guest)
}


@dataclass(frozen=True)
class Catalogue:
    """Recipes, where their files are, and where the images are kept."""

    store: Store = field(default_factory=lambda: Store(cache_folder()))
    recipes: Mapping[str, Recipe] = field(default_factory=lambda: RECIPES)
    folder: Path = recipe.RECIPE_DIR

    def with_recipes(self, more: Iterable[Recipe]) -> "Catalogue":
        """The same with some recipes more."""
        return replace(self, recipes={**self.recipes, **{recipe.name: recipe for recipe in more}})

    def keys(self) -> dict[str, str]:
        """The key of every image, as its recipe stands now."""
        keys: dict[str, str] = {}
        for name in self._in_order(self.recipes):
            keys[name] = recipe.key(self.recipes[name], self.folder, keys)
        return keys

    def missing(self, name: str) -> list[str]:
        """What has to be built before the image can be used, in order; damaged ones are missing."""
        keys = self.keys()
        return self._missing(name, keys)

    def ensure(self, name: str, progress: Progress | None = None) -> Entry:
        """The image, from the cache if it is whole; otherwise it is built, and what it needs.

        A whole image needs no network, no tool and no subprocess.

        Raises:
            LabUsageError: there is no image of that name.
            BenchError: it could not be built; says why, and where the log is.
        """
        if name not in self.recipes:
            raise LabUsageError(f"no image named {name!r}; there are {', '.join(self.recipes)}")
        progress, keys = progress or PlainProgress(), self.keys()
        to_build = self._missing(name, keys)
        if to_build:
            self._preflight(to_build, keys)
        for each in to_build:
            self._build(each, keys, progress)
        return self._whole(name, keys) or self._gone(name)

    def _missing(self, name: str, keys: Mapping[str, str]) -> list[str]:
        if self._whole(name, keys):
            return []
        before = [each for needed in self.recipes[name].inputs for each in self._missing(needed, keys)]
        return [*dict.fromkeys(before), name]

    def _whole(self, name: str, keys: Mapping[str, str]) -> Entry | None:
        entry = self.store.find(name, keys[name])
        return entry if entry and not entry.damage() else None

    def _preflight(self, names: list[str], keys: Mapping[str, str]) -> None:
        require_tools(dict.fromkeys(tool for name in names for tool in self.recipes[name].tools))
        self.store.folder.mkdir(parents=True, exist_ok=True)
        # what an interrupted build has written already need not be free
        needed = [
            self.recipes[name].space_bytes - self.store.resumable_bytes(name, keys[name]) for name in names
        ]
        require_space(self.store.folder, sum(max(0, each) for each in needed), ", ".join(names))

    def _build(self, name: str, keys: Mapping[str, str], progress: Progress) -> None:
        made_by = self.recipes[name]
        with self.store.building(made_by, keys[name], progress) as partial:
            if self._whole(name, keys):
                return  # another builder finished it while this one waited
            if found := self.store.find(name, keys[name]):
                progress.note(f"{name}-{keys[name]} is damaged, building it again: {found.damage()[0]}")
            inputs = {each: self.store.folder / f"{each}-{keys[each]}" for each in made_by.inputs}
            built: Built = made_by.build(Workshop(partial, self.folder, inputs, progress))
            progress.stage(f"recording {name}", 5)
            self.store.commit(made_by, self.folder, keys, built)

    def _gone(self, name: str) -> Entry:
        raise BenchError(
            f"image {name} was built and is damaged already; see {self.store.folder}, and check the disk"
        )

    def _in_order(self, names: Mapping[str, Recipe]) -> list[str]:
        ordered: dict[str, None] = {}

        def visit(name: str) -> None:
            for needed in self.recipes[name].inputs:
                visit(needed)
            ordered[name] = None

        for name in names:
            visit(name)
        return list(ordered)
