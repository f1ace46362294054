"""A user's own build of QEMU, from a file or a folder of the controller, as a portable QEMU."""

import os
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabUsageError
from lab.images import ensure_root
from lab.images.elf import read
from lab.images.guest_programs import KEPT
from lab.images.portable_qemu import Parts, PortableQemu, libraries, pack, version
from lab.images.preflight import require_tools
from lab.images.qemu_debian import firmware
from lab.images.recipe import RECIPE_DIR
from lab.images.store import cache_folder

NAME = "qemu-system-x86_64"
_BINARIES = (f"bin/{NAME}", f"usr/bin/{NAME}", f"usr/local/bin/{NAME}", NAME, f"build/{NAME}")
_LIBRARIES = ("lib/x86_64-linux-gnu", "lib64", "lib")
LOADERS = ("lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
_MODULES = "block-blkio.so"


@dataclass(frozen=True)
class OwnBuild:
    """Where the parts of a user's build are.

    prefix: the folder that has bin/, lib/ and share/ of it; that of the executable if it is not installed
    root:   the folder that stands for / where it was built, or None: the controller's own
    """

    binary: Path
    prefix: Path
    root: Path | None = None


def found(given: Path) -> OwnBuild:
    """Find the build in what a user named: the executable, its install prefix, a build folder, or a root.

    Raises:
        LabUsageError: there is none.
    """
    if not given.exists():
        raise LabUsageError(
            f"no file or folder {given} on this controller; a QEMU on the bench host is named host:{given}"
        )
    if given.is_dir():
        binary = next((given / name for name in _BINARIES if (given / name).is_file()), None)
        if binary is None:
            raise LabUsageError(f"no {NAME} in {given}, nor in its {', '.join(_BINARIES[:3])} or build")
    else:
        binary = given
    binary = binary.absolute()
    prefix = binary.parent.parent if binary.parent.name == "bin" else binary.parent
    root = given.absolute() if given.is_dir() and _first(given.absolute(), LOADERS) else None
    return OwnBuild(binary, prefix, root)


def ensure_own_qemu(given: Path) -> PortableQemu:
    """A user's build, made portable unless that was done; nothing is kept of any but the last few.

    Raises:
        LabUsageError: it is no QEMU for x86-64 that runs here, or its libraries are not there.
    """
    build = found(given)
    elf = read(build.binary)
    loader = _loader(build, elf.interpreter)
    folder = cache_folder() / "own-qemu"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "build.log"
    folders = [path for path in _library_folders(build) if path.is_dir()]
    modules = _modules(build)
    needed: dict[str, Path] = {}
    for file in (build.binary, *modules.values()):
        needed |= libraries(loader, file, folders, log) if loader else {}
    version(loader, build.binary, folders, log)
    host = ensure_root().root_dir
    # what it does not bring is the bench host's own
    roms = {**firmware(host / "usr", RECIPE_DIR), **_firmware(build)}
    parts = Parts(build.binary, loader, needed, modules, roms)
    tar = folder / f"{parts.digest()}.tar"
    if not tar.exists():
        require_tools(["patchelf"])
        pack(parts, folder, log)
    os.utime(tar)  # the newest are kept
    for old in sorted(folder.glob("*.tar"), key=lambda path: path.stat().st_mtime)[: -2 * KEPT]:
        old.unlink(missing_ok=True)
    return PortableQemu(tar, tar.stem)


def _loader(build: OwnBuild, interpreter: str | None) -> Path | None:
    if interpreter is None:
        return None
    own = _first(build.root, LOADERS) if build.root else None
    if not (loader := own or Path(interpreter)).is_file():
        raise LabUsageError(f"{build.binary} wants the loader {interpreter}, not found on this controller")
    return loader


def _library_folders(build: OwnBuild) -> list[Path]:
    """Of libraries that came with it; the controller's are found without."""
    places = [build.prefix, *([build.root] if build.root else [])]
    if not build.root and build.prefix in (Path("/usr"), Path("/")):
        return []
    return [place / name for place in places for name in _LIBRARIES]


def _modules(build: OwnBuild) -> dict[str, Path]:
    places = [f"{folder}/qemu/{_MODULES}" for folder in _LIBRARIES]
    return {place: build.prefix / place for place in places if (build.prefix / place).is_file()}


def _firmware(build: OwnBuild) -> dict[str, Path]:
    found: dict[str, Path] = {}
    bundles = sorted(build.prefix.glob("qemu-bundle/**/share/qemu"))
    for prefix in (*(bundle.parent.parent for bundle in bundles), build.prefix / "usr", build.prefix):
        found |= firmware(prefix, RECIPE_DIR)
    return found


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)
