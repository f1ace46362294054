"""The image cache takes whole entries for whole, and nothing else; it works offline; builders take turns."""

import errno
import multiprocessing
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from lab.errors import BenchError, LabUsageError
from lab.images import listing
from lab.images.catalogue import Catalogue
from lab.images.recipe import Built, Recipe, Workshop
from lab.images.store import Store


class Notes:
    """Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def stage(self, text: str, seconds_expected: float) -> None:
        self.lines.append(text)

    def tick(self, done: int, expected: int) -> None: ...

    def note(self, text: str) -> None:
        self.lines.append(text)


def build(shop: Workshop) -> Built:
    """A disk, a tree, and a count of how often it was built."""
    (shop.folder / "disk").write_bytes(b"d" * 5_000_000)
    (shop.folder / "root/etc").mkdir(parents=True)
    (shop.folder / "root/etc/file").write_text("content")
    with (shop.recipes / "builds").open("a") as builds:
        builds.write("x")
    return Built(files=("disk",), trees=("root",), versions={"qemu": "11.1.3"})


def build_slowly(shop: Workshop) -> Built:
    time.sleep(0.5)
    return build(shop)


def catalogue(folder: Path, builder: Callable[[Workshop], Built] = build, **given: object) -> Catalogue:
    (folder / "list").touch()
    made_by = Recipe("image", ("list",), (), 1, builder, space_bytes=0, **given)  # type: ignore[arg-type]
    return Catalogue(Store(folder / "cache"), {"image": made_by}, folder)


def builds(folder: Path) -> int:
    return len((folder / "builds").read_text())


def truncate(entry: Path) -> None:
    os.truncate(entry / "disk", 10)


def change_small_file(entry: Path) -> None:
    (entry / "root.manifest").write_text("0" * (entry / "root.manifest").stat().st_size)


def drop_from_tree(entry: Path) -> None:
    (entry / "root/etc/file").unlink()


def shorten_in_tree(entry: Path) -> None:
    (entry / "root/etc/file").write_text("")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a truncated file": (truncate, "disk has 10 bytes, not 5000000"),
    "a missing file": (lambda entry: (entry / "disk").unlink(), "disk is missing"),
    "a small file with other content": (change_small_file, "root.manifest has other content"),
    "a file gone from a tree": (drop_from_tree, "root/etc/file is missing"),
    "a file emptied in a tree": (shorten_in_tree, "root/etc/file has 0 bytes, not 7"),
}


@pytest.mark.parametrize(("harm", "says"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_entry_is_noticed_and_built_again(
    tmp_path: Path, harm: Callable[[Path], object], says: str
) -> None:
    lab, notes = catalogue(tmp_path), Notes()
    entry = lab.ensure("image", notes)
    harm(entry.path)
    assert listing.images(lab)[0].state == "damaged"
    again = lab.ensure("image", notes)
    assert any(says in line for line in notes.lines)
    assert not again.damage(deep=True)
    assert builds(tmp_path) == 2


def test_changed_content_of_a_large_file_is_found_by_a_deep_look_only(tmp_path: Path) -> None:
    lab = catalogue(tmp_path)
    entry = lab.ensure("image", Notes())
    (entry.path / "disk").write_bytes(b"e" * 5_000_000)
    assert not entry.damage()
    assert listing.images(lab, verify=True)[0].damage == ("disk has other content than was built",)


def test_a_file_that_came_to_a_tree_later_is_no_damage(tmp_path: Path) -> None:
    entry = catalogue(tmp_path).ensure("image", Notes())
    (entry.path / "root/new").touch()
    assert not entry.damage(deep=True)


@pytest.mark.parametrize("name", [".partial-image-{key}", "image-{key}"], ids=["partial", "without record"])
def test_a_half_written_entry_is_not_taken(tmp_path: Path, name: str) -> None:
    lab = catalogue(tmp_path)
    half = lab.store.folder / name.format(**{"key": lab.keys()["image"]})
    half.mkdir(parents=True)
    (half / "disk").write_bytes(b"half")
    assert lab.ensure("image", Notes()).path.name == f"image-{lab.keys()['image']}"
    assert builds(tmp_path) == 1
    assert [left.name for left in lab.store.folder.iterdir() if left.is_dir()] == [
        f"image-{lab.keys()['image']}"
    ]


def test_a_cached_entry_needs_no_subprocess_tool_or_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue(tmp_path).ensure("image", Notes())

    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a cached image needs nothing")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr("lab.images.catalogue.require_tools", refuse)
    monkeypatch.setattr("lab.images.catalogue.require_space", refuse)
    notes = Notes()
    assert catalogue(tmp_path).ensure("image", notes).record["versions"] == {"qemu": "11.1.3"}
    assert notes.lines == []


def _ensure_in_process(folder: Path, lines: "multiprocessing.Queue[list[str]]") -> None:
    notes = Notes()
    catalogue(folder, build_slowly).ensure("image", notes)
    lines.put(notes.lines)


def test_two_builders_at_once_build_once_and_the_second_says_for_whom_it_waits(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("fork")
    lines: multiprocessing.Queue[list[str]] = processes.Queue()
    both = [processes.Process(target=_ensure_in_process, args=(tmp_path, lines)) for _ in range(2)]
    for each in both:
        each.start()
    said = [lines.get(timeout=20), lines.get(timeout=20)]
    for each in both:
        each.join()
    assert builds(tmp_path) == 1
    assert not list((tmp_path / "cache").glob(".partial-*"))
    waited = [line for told in said for line in told if "waiting for process" in line]
    assert len(waited) == 1
    assert any(str(each.pid) in waited[0] for each in both)


def test_a_full_disk_leaves_one_line_and_nothing_that_looks_whole(tmp_path: Path) -> None:
    def fill(shop: Workshop) -> Built:
        (shop.folder / "disk").write_bytes(b"d")
        raise OSError(errno.ENOSPC, "No space left on device")

    lab = catalogue(tmp_path, fill)
    with pytest.raises(
        BenchError, match=r"building image: the disk is full \(.* GiB free in .*cache"
    ) as caught:
        lab.ensure("image", Notes())
    assert "\n" not in str(caught.value)
    assert lab.store.entries() == []
    left = [path for path in lab.store.folder.rglob("*") if path.suffix != ".lock"]
    assert left == [], "what fills the disk must not stay"


@pytest.mark.parametrize("keeps", [True, False], ids=["kept", "not kept"])
def test_an_interrupted_build_resumes_if_its_recipe_can(tmp_path: Path, keeps: bool) -> None:
    def interrupted(shop: Workshop) -> Built:
        (shop.folder / "object").touch()
        raise KeyboardInterrupt

    seen: list[bool] = []

    def resumed(shop: Workshop) -> Built:
        seen.append((shop.folder / "object").exists())
        return build(shop)

    with pytest.raises(KeyboardInterrupt):
        catalogue(tmp_path, interrupted, keeps_partial=keeps).ensure("image", Notes())
    state = listing.images(catalogue(tmp_path, resumed, keeps_partial=keeps))[0].state
    assert state == ("interrupted" if keeps else "missing")
    catalogue(tmp_path, resumed, keeps_partial=keeps).ensure("image", Notes())
    assert seen == [keeps]


def test_an_image_of_a_changed_recipe_is_listed_as_old_and_can_be_forgotten(tmp_path: Path) -> None:
    lab = catalogue(tmp_path)
    old = lab.ensure("image", Notes())
    (tmp_path / "list").write_text("more\n")
    assert [(each.key == old.key, each.state) for each in listing.images(lab)] == [
        (False, "missing"),
        (True, "old"),
    ]
    assert listing.forget_old(lab) == old.size_bytes > 0
    assert not old.path.exists()


def test_an_unknown_image_is_the_callers_error(tmp_path: Path) -> None:
    with pytest.raises(LabUsageError, match="no image named 'kernle'; there are image"):
        catalogue(tmp_path).ensure("kernle")
