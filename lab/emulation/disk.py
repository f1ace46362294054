"""A host's own disk: the bench root as somebody installed it there, with keys that stay and a journal.

The files are put into the image from outside (debugfs), so that nothing has to boot for it and no privilege
is needed. The journal is for power cuts: the lab's own benches throw their disks away.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from lab.errors import BenchError

_PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


def install(image: Path, disk: Path, files: Mapping[str, tuple[bytes, int]]) -> None:
    """Copy an ext4 image without its holes, and put files (content, mode) into it.

    Raises:
        BenchError: a tool of e2fsprogs is missing, or failed.
    """
    _run(["cp", "--sparse=always", str(image), str(disk)])
    disk.chmod(0o600)  # the host's private key goes into it
    _run(["tune2fs", "-j", str(disk)])
    parts = disk.with_suffix(".parts")
    parts.mkdir(mode=0o700)
    commands = []
    for number, (path, (content, mode)) in enumerate(files.items()):
        (parts / str(number)).write_bytes(content)
        commands += [f"rm {path}", f"write {parts / str(number)} {path}", f"sif {path} mode 0100{mode:o}"]
        commands += [f"sif {path} uid 0", f"sif {path} gid 0"]
    (parts / "commands").write_text("\n".join(commands) + "\n")
    _run(["debugfs", "-w", "-f", str(parts / "commands"), str(disk)])
    shutil.rmtree(parts)


def _run(argv: list[str]) -> None:
    try:
        done = subprocess.run(
            argv, env={**os.environ, "PATH": _PATH}, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise BenchError(f"{argv[0]} not found on this controller; apt-get install e2fsprogs") from None
    if done.returncode != 0:
        raise BenchError(
            f"{argv[0]} failed: {(done.stderr.strip() or 'it printed nothing').splitlines()[-1]}"
        )
