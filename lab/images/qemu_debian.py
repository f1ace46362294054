"""Images "qemu-VERSION": builds of QEMU from Debian's suites, each as a portable QEMU.

They stand side by side, named by their version, and stay when a suite has moved on: its pool drops what it
had, and a version pair that was tested should be tested again.
"""

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.errors import BenchError, LabUsageError
from lab.images import debian
from lab.images.catalogue import Catalogue
from lab.images.debian_mirror import BACKPORTS, SUITE, version_in_suite
from lab.images.portable_qemu import Parts, PortableQemu, libraries, pack, version
from lab.images.progress import PlainProgress, Progress
from lab.images.recipe import Built, Recipe, Workshop, listed

PACKAGE = "qemu-system-x86"
SUITES = (SUITE, BACKPORTS, "forky", "sid")
"""In this order they are looked through: the most settled build of a version first."""

PREFIX = "qemu-"
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_MODULES = ("lib/x86_64-linux-gnu/qemu/block-blkio.so",)
"""Of QEMU's modules a guest of the lab wants only that of vDPA disks."""
FIRMWARE_FOLDERS = ("share/qemu", "share/seabios", "lib/ipxe/qemu")
_SUITES_FILE = "qemu-suites.json"


@dataclass(frozen=True)
class DebianQemu:
    """A build: its package's version without epoch, such as "11.1.3+ds-1~bpo13+1", and its suite."""

    version: str
    suite: str

    def is_meant_by(self, asked: str) -> bool:
        """Whether `asked` is its suite, its version, or the start of it: 11.1 is no start of 11.10."""
        start = re.match(rf"{re.escape(asked)}(?![0-9A-Za-z])", self.version)
        return asked == self.suite or (start is not None and asked[:1].isdigit())


def chosen(asked: str, builds: Iterable[DebianQemu]) -> DebianQemu | None:
    """The first build that is meant; None if none is."""
    return next((build for build in builds if build.is_meant_by(asked)), None)


def ensure_debian_qemu(asked: str, progress: Progress | None = None, *, fresh: bool = False) -> PortableQemu:
    """The Debian build that is meant by a version, the start of one, or the name of a suite.

    One that is in the cache is taken without asking anybody.

    fresh: ask what the suites have today all the same

    Raises:
        LabUsageError: no suite has it; says what there is.
        BenchError: the mirror does not answer, or the build failed.
    """
    progress, catalogue = progress or PlainProgress(), Catalogue()
    build = None if fresh else chosen(asked, _cached(catalogue))
    build = build or _looked_up(asked, catalogue, progress)
    made = recipe(build)
    entry = catalogue.with_recipes([made]).ensure(made.name, progress)
    [tar] = entry.path.glob("*.tar")
    return PortableQemu(tar, tar.stem)


def recipe(build: DebianQemu) -> Recipe:
    """How its image is made."""
    return Recipe(
        name=PREFIX + build.version,
        files=("qemu.packages", "qemu.firmware", "root.excludes", debian.PINS),
        inputs=(),
        version=1,
        build=lambda shop: _build(shop, build),
        space_bytes=700 << 20,
        tools=(*debian.TOOLS, "patchelf"),
    )


def with_debian_qemus(catalogue: Catalogue) -> Catalogue:
    """The catalogue with a recipe for each Debian build in the cache, so that none is an old image."""
    names = {entry.name for entry in catalogue.store.entries() if entry.name.startswith(PREFIX)}
    return catalogue.with_recipes(
        [recipe(DebianQemu(name.removeprefix(PREFIX), "")) for name in sorted(names)]
    )


def firmware(prefix: Path, recipes: Path) -> dict[str, Path]:
    """The firmware of images/qemu.firmware that lies below a prefix such as /usr, by name."""
    found: dict[str, Path] = {}
    for name in listed(recipes / "qemu.firmware"):
        places = (prefix / folder / name for folder in FIRMWARE_FOLDERS)
        if place := next((place for place in places if place.is_file()), None):
            found[name] = place
    return found


def _build(shop: Workshop, build: DebianQemu) -> Built:
    root = debian.install(
        shop,
        variant="extract",
        packages="qemu.packages",
        excludes="root.excludes",
        seconds=20,
        suite=build.suite,
    )
    shop.progress.stage(f"making QEMU {build.version} portable", 2)
    folders = [root / _LIBRARIES]
    loader, binary = folders[0] / "ld-linux-x86-64.so.2", root / "usr/bin/qemu-system-x86_64"
    said = version(loader, binary, folders, shop.log)
    if not re.search(rf"[:\s]{re.escape(build.version)}\)", said):
        raise BenchError(f"the Debian mirror gave {said} in {build.suite}, its index said {build.version}")
    modules = {name: root / "usr" / name for name in _MODULES}
    found: dict[str, Path] = {}
    for file in (binary, *modules.values()):
        found |= libraries(loader, file, folders, shop.log)
    parts = Parts(binary, loader, found, modules, firmware(root / "usr", shop.recipes))
    made = pack(parts, shop.folder, shop.log)
    shutil.rmtree(root)
    return Built(files=(made.tar.name,), versions={PACKAGE: build.version, "suite": build.suite})


def _cached(catalogue: Catalogue) -> list[DebianQemu]:
    """Builds whose image is whole, with the suites as they were when last looked at."""
    suites = _remembered(catalogue)
    whole = with_debian_qemus(catalogue)
    keys = whole.keys()
    found = []
    for name in whole.recipes:
        if name.startswith(PREFIX) and (entry := whole.store.find(name, keys[name])) and not entry.damage():
            number = name.removeprefix(PREFIX)
            of = [suite for suite in SUITES if suites.get(suite) == number] or [""]
            found += [DebianQemu(number, suite) for suite in of]
    return sorted(found, key=lambda build: [*SUITES, ""].index(build.suite))


def _looked_up(asked: str, catalogue: Catalogue, progress: Progress) -> DebianQemu:
    there: list[DebianQemu] = []
    for suite in [asked] if asked in SUITES else SUITES:
        progress.stage(f"looking for QEMU {asked} in Debian {suite}", 2)
        if found := version_in_suite(PACKAGE, suite):
            there.append(DebianQemu(found.partition(":")[2] or found, suite))
            if there[-1].is_meant_by(asked):
                _remember(catalogue, there)
                return there[-1]
    _remember(catalogue, there)
    has = ", ".join(f"{build.version} ({build.suite})" for build in there) or "none"
    raise LabUsageError(f"no Debian suite has QEMU {asked!r}; there are {has}")


def _remembered(catalogue: Catalogue) -> Mapping[str, str]:
    try:
        known = json.loads((catalogue.store.folder / _SUITES_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember(catalogue: Catalogue, builds: Iterable[DebianQemu]) -> None:
    known = {**_remembered(catalogue), **{build.suite: build.version for build in builds}}
    catalogue.store.folder.mkdir(parents=True, exist_ok=True)
    fresh = catalogue.store.folder / f".{_SUITES_FILE}"
    fresh.write_text(json.dumps(known, indent=1))
    fresh.replace(catalogue.store.folder / _SUITES_FILE)
