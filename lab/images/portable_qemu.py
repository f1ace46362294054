"""A QEMU that runs on any bench host: with its own loader, libraries, modules and firmware in one folder.

The bench host's libraries are of another Debian (libc 2.41; builds of forky and sid want 2.43), and a user's
build is linked with what the controller has. /proc/PID/exe must be QEMU itself, as `replaced_in_place` asks
it for its version, and cpr-exec passes the environment on; so neither a start through the loader nor
LD_LIBRARY_PATH will do. The copy names its loader (PT_INTERP, which must be absolute, so that the folder's
place is known beforehand) and its libraries (DT_RPATH relative to itself; not DT_RUNPATH, which libraries of
libraries do not inherit). Modules and firmware lie in a folder `qemu-bundle` beside the executable, where
QEMU looks for them first, in the place that it was configured with (get_relocated_path in QEMU's
util/cutils.c, since 7.1; meant for builds that are not installed. Debian's have no CONFIG_RELOCATABLE).
"""

import hashlib
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from lab.errors import BenchError, LabUsageError
from lab.images import artefacts
from lab.images.run import run

PLACE = "/var/lib/cprlab/qemu"
"""Folder on the bench host; each build lies below it in a folder named by its content."""
BINARY = "usr/bin/qemu-system-x86_64"
BUNDLE = "qemu-bundle"
LIBRARIES = "lib"
LOADER = f"{LIBRARIES}/ld-linux-x86-64.so.2"
BUILDER = 1
"""Raise it when what `pack` makes of the same parts changes."""

_LISTED = re.compile(r"^\s*(?P<name>\S+) => (?P<path>\S.*?)(?: \(0x[0-9a-f]+\))?$", re.MULTILINE)
_TOO_OLD = re.compile(r"/(?P<library>[^/\s]+): version `(?P<version>[^']+)' not found")
_VERSION = re.compile(r"QEMU emulator version .+")


@dataclass(frozen=True)
class Parts:
    """What a portable QEMU is made of; paths on the controller.

    loader:    None for a static executable
    libraries: by the name they are asked for
    modules:   by their path below the prefix, such as lib/x86_64-linux-gnu/qemu/block-blkio.so
    firmware:  by file name
    """

    binary: Path
    loader: Path | None
    libraries: Mapping[str, Path] = field(default_factory=dict)
    modules: Mapping[str, Path] = field(default_factory=dict)
    firmware: Mapping[str, Path] = field(default_factory=dict)

    def files(self) -> dict[str, Path]:
        """Executable, loader and libraries by their place in the folder."""
        loader = {LOADER: self.loader} if self.loader else {}
        return {
            BINARY: self.binary,
            **loader,
            **{f"{LIBRARIES}/{name}": path for name, path in self.libraries.items()},
        }

    def bundled(self, datadir: str) -> dict[str, Path]:
        """Modules and firmware by their place in the folder.

        datadir: where this QEMU was configured to look for firmware, such as /usr/share/qemu
        """
        bundle = f"{PurePath(BINARY).parent}/{BUNDLE}"
        prefix = datadir.removesuffix("/share/qemu")
        return {
            **{f"{bundle}{datadir}/{name}": path for name, path in self.firmware.items()},
            **{f"{bundle}{prefix}/{name}": path for name, path in self.modules.items()},
        }

    def digest(self) -> str:
        """Sixteen hex digits that name the content."""
        files = {**self.files(), **self.bundled("/share/qemu")}
        said = [f"{name} {artefacts.sha256(path)}" for name, path in sorted(files.items())]
        return hashlib.sha256("\n".join([str(BUILDER), *said]).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class PortableQemu:
    """A portable QEMU as one file: a tar archive of one folder, `name`, which belongs into PLACE."""

    tar: Path
    name: str

    @property
    def path(self) -> str:
        """Of the executable on the bench host."""
        return f"{PLACE}/{self.name}/{BINARY}"


def listed(said: str) -> tuple[dict[str, Path], list[str]]:
    """What ldd printed: libraries by name without the loader, and what it did not find."""
    found: dict[str, Path] = {}
    missing = [f"{line['version']} of {line['library']}" for line in _TOO_OLD.finditer(said)]
    for line in _LISTED.finditer(said):
        name, path = line["name"], line["path"]
        if path == "not found":
            missing.append(name)
        elif not name.startswith("/"):  # that is the loader
            found[name] = Path(path)
    return found, list(dict.fromkeys(missing))


def libraries(loader: Path, file: Path, folders: Sequence[Path], log: Path) -> dict[str, Path]:
    """The libraries that a program or module needs, and theirs, but for the loader.

    folders: looked through before the loader's own

    Raises:
        LabUsageError: some are not there; names them. Or it cannot be loaded at all.
    """
    # as ldd does it: the loader's own --list ends at the first that is missing
    argv: list[str | Path] = ["env", "LD_TRACE_LOADED_OBJECTS=1", *_started(loader, folders), file]
    try:
        said = run(argv, what=f"finding libraries of {file}", log=log)
    except BenchError as error:
        raise LabUsageError(f"{file} cannot be loaded here: {error}") from error
    found, missing = listed(said)
    if missing:
        raise LabUsageError(f"{file} needs {', '.join(missing)}: not found on this controller")
    return {name: path for name, path in found.items() if not name.startswith("ld-linux")}


def _started(loader: Path | None, folders: Sequence[Path]) -> list[str]:
    """What comes before a program that is started through its loader."""
    if not loader:
        return []
    return [str(loader), *(["--library-path", ":".join(map(str, folders))] if folders else [])]


def version(loader: Path | None, binary: Path, folders: Sequence[Path], log: Path) -> str:
    """What a QEMU on the controller calls itself, such as "QEMU emulator version 11.1.3 (Debian ...)".

    Raises:
        LabUsageError: it is no QEMU.
    """
    try:
        said = run([*_started(loader, folders), binary, "--version"], what=f"{binary} --version", log=log)
    except BenchError as error:
        raise LabUsageError(f"{binary} is not a QEMU that runs here: {error}") from error
    if not (found := _VERSION.search(said)):
        first = said.strip().splitlines()[:1]
        raise LabUsageError(f"{binary} is not a QEMU: --version said {''.join(first)!r}")
    return found[0].strip()


def pack(parts: Parts, folder: Path, log: Path) -> PortableQemu:
    """Make the archive `folder`/NAME.tar; nothing else is left there.

    Raises:
        BenchError: patchelf failed, or the result would take a library from the host.
    """
    name = parts.digest()
    tree, tar = folder / name, folder / f"{name}.tar"
    try:
        _lay_out(tree, parts.files())
        bundled = parts.bundled(_datadir(tree, parts, log))
        _lay_out(tree, bundled)
        if parts.loader:
            _make_relocatable(tree, f"{PLACE}/{name}/{LOADER}", _modules(bundled), log)
            _require_closed(tree, _modules(bundled), log)
        fresh = tar.with_suffix(".partial")
        with tarfile.open(fresh, "w") as archive:
            for file in _files(tree):
                archive.add(file, f"{name}/{file.relative_to(tree)}", recursive=False, filter=_plain)
        fresh.replace(tar)
    finally:
        shutil.rmtree(tree, ignore_errors=True)
    return PortableQemu(tar, name)


def _lay_out(tree: Path, files: Mapping[str, Path]) -> None:
    for place, source in files.items():
        target = tree / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)  # not its times, and it may be a link
        target.chmod(0o755)


def _datadir(tree: Path, parts: Parts, log: Path) -> str:
    """Where this QEMU was configured to look for firmware: asked with a bundle beside what is executed."""
    executed = tree / (LOADER if parts.loader else BINARY)
    bundle = executed.parent / BUNDLE
    bundle.mkdir()
    started = _started(executed if parts.loader else None, [tree / LIBRARIES])
    said = run([*started, tree / BINARY, "-L", "help"], what="asking QEMU for its data folder", log=log)
    bundle.rmdir()
    for line in said.splitlines():
        if line.startswith(str(bundle)):
            return line.removeprefix(str(bundle)).rstrip("/")
    raise BenchError(
        f"{parts.binary} does not look for firmware beside itself: -L help said {said.strip()!r}"
    )


def _modules(bundled: Mapping[str, Path]) -> list[str]:
    return [place for place in bundled if place.endswith(".so")]


def _make_relocatable(tree: Path, interpreter: str, modules: Sequence[str], log: Path) -> None:
    patch = ["patchelf", "--force-rpath", "--set-rpath"]
    argv = [*patch, f"$ORIGIN/../../{LIBRARIES}", "--set-interpreter", interpreter, str(tree / BINARY)]
    run(argv, what="naming loader and libraries of QEMU", log=log)
    for library in sorted((tree / LIBRARIES).iterdir()):
        if library != tree / LOADER:
            # a DT_RUNPATH of its own (Debian's librbd, a user's build) would hide ours from what it needs
            run([*patch, "$ORIGIN", library], what=f"naming libraries of {library.name}", log=log)
    for name in modules:
        up = "/".join([".."] * (len(PurePath(name).parts) - 1))
        run([*patch, f"$ORIGIN/{up}/{LIBRARIES}", tree / name], what=f"naming libraries of {name}", log=log)


def _require_closed(tree: Path, modules: Sequence[str], log: Path) -> None:
    for file in [BINARY, *modules]:
        said = run([tree / LOADER, "--list", tree / file], what=f"checking {file}", log=log)
        found, missing = listed(said)
        outside = [name for name, path in found.items() if not path.resolve().is_relative_to(tree.resolve())]
        if missing or outside:
            raise BenchError(f"the portable {file} does not find its own {', '.join(missing + outside)}")


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Same parts, same archive: the bench host knows it by its content."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = "root"
    return member


def _files(tree: Path) -> Iterator[Path]:
    yield from (path for path in sorted(tree.rglob("*")) if path.is_file())
