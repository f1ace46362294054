"""Joins programs of the bench host's root to a guest's initramfs, with the libraries they are linked with."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from lab.agents.host.cpio import Archive
from lab.errors import BenchError
from lab.images import artefacts, controller_qemu
from lab.images.guest import LIBRARIES, LOADER
from lab.images.run import run
from lab.images.store import cache_folder

FIO, DD = "usr/bin/fio", "usr/bin/dd"
"""Of dd the guest has busybox's, which does not tell how long it took."""
RUN_PATHS = ("ceph",)
"""Folders below LIBRARIES that libraries of a program name themselves; the controller has no such folder."""
KEPT = 2


def with_programs(
    initrd: Path, root: Path, programs: Iterable[str] = (FIO, DD), out_dir: Path | None = None
) -> Path:
    """An initramfs that also holds some programs of `root` (paths below it), at the same paths.

    Raises:
        BenchError: one of them is not there, or its libraries are not.
    """
    out_dir, wanted = out_dir or cache_folder() / "initrd", tuple(programs)
    digest = hashlib.sha256(f"{artefacts.sha256(initrd)} {' '.join(wanted)}".encode())
    for program in wanted:
        if not (root / program).is_file():
            raise BenchError(
                f"the bench host's root has no /{program}; is its package in images/root.packages?"
            )
        digest.update(artefacts.sha256(root / program).encode())
    joined = out_dir / f"tools-{digest.hexdigest()[:12]}.cpio"
    if not joined.exists():
        out_dir.mkdir(parents=True, exist_ok=True)
        archive = Archive()
        for file in sorted({file for one in wanted for file in (one, *libraries(root, one, out_dir))}):
            archive.file(file, (root / file).read_bytes(), 0o755)
        fresh = joined.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(initrd.read_bytes() + archive.finish())
        fresh.replace(joined)
    os.utime(joined)  # the newest are kept
    newest_first = sorted(out_dir.glob("tools-*.cpio"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in newest_first[KEPT:]:
        old.unlink(missing_ok=True)
    return joined


def libraries(root: Path, program: str, log_dir: Path) -> list[str]:
    """What the loader maps for a program of `root`, but for the loader itself; paths below it."""
    loader, option, path, file = controller_qemu.loader_argv(root, program)
    path = ":".join([path, *(str(root / LIBRARIES / folder) for folder in RUN_PATHS)])
    output = run(
        [loader, "--list", option, path, file],
        what=f"finding libraries of {program}",
        log=log_dir / "build.log",
    )
    found = [line.split("=>")[1].split("(")[0].strip() for line in output.splitlines() if "=>" in line]
    below = [str(Path(library).relative_to(root)) for library in found if library.startswith(str(root))]
    return [library for library in below if Path(library).name != Path(LOADER).name]
