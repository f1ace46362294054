"""A recipe's key changes when what it builds would change, and only then."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lab.errors import BenchError
from lab.images import recipe
from lab.images.recipe import Built, Recipe


def a_recipe(**changed: object) -> Recipe:
    given: dict[str, object] = {"files": ("list", "init"), "inputs": ("base",), "version": 1, **changed}
    return Recipe(name="image", build=lambda shop: Built(), space_bytes=0, **given)  # type: ignore[arg-type]


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    (tmp_path / "list").write_text("# why\npackage\n")
    (tmp_path / "init").write_text("#!/bin/sh\nmount\n")
    return tmp_path


CHANGES: dict[str, tuple[Callable[[Path], object], bool]] = {
    "another package": (lambda at: (at / "list").write_text("# why\nother\n"), True),
    "another interpreter": (lambda at: (at / "init").write_text("#!/bin/bash\nmount\n"), True),
    "a Kconfig option switched off": (
        lambda at: (at / "list").write_text("# CONFIG_SMP is not set\npackage\n"),
        True,
    ),
    "a better comment": (lambda at: (at / "list").write_text("# because\n\npackage\n"), False),
    "the same text written again": (lambda at: (at / "list").write_text("# why\npackage\n"), False),
}


@pytest.mark.parametrize(("change", "differs"), CHANGES.values(), ids=CHANGES.keys())
def test_the_key_follows_the_meaning_of_the_files(
    recipes: Path, change: Callable[[Path], object], differs: bool
) -> None:
    before = recipe.key(a_recipe(), recipes, {"base": "b1"})
    change(recipes)
    assert (recipe.key(a_recipe(), recipes, {"base": "b1"}) != before) == differs


def test_the_key_follows_inputs_and_builder(recipes: Path) -> None:
    keys = {
        recipe.key(a_recipe(), recipes, {"base": "b1"}),
        recipe.key(a_recipe(), recipes, {"base": "b2"}),
        recipe.key(a_recipe(version=2), recipes, {"base": "b1"}),
        recipe.key(a_recipe(files=("list",)), recipes, {"base": "b1"}),
    }
    assert len(keys) == 4


def test_a_recipe_file_that_is_gone_is_named(recipes: Path) -> None:
    with pytest.raises(BenchError, match="absent cannot be read"):
        recipe.key(a_recipe(files=("absent",)), recipes, {"base": "b1"})
