"""Boots this host into another system by kexec, and says whether what runs is all of it.

Source: kexec_file_load(2); Linux Documentation/driver-api/early-userspace/buffer-format.rst: archives follow
one another, each compressed or not.
"""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from .identity import identity, next_command_line, system
from .journal import Journal
from .liveupdate import kexec_load

MANIFEST = Path("/etc/cprlab/manifest")
_CHUNK_BYTES = 1 << 20
# Python's own cache, which it renews here: an initramfs keeps no times (CONFIG_INITRAMFS_PRESERVE_MTIME)
_BYTECODE = ".pyc"


def load(journal: Journal, folder: Path, kernel: str, root: str, more: str) -> str:
    """Load a kernel, and a root for its RAM with this host's identity in it; returns its command line.

    Raises:
        AgentError: this kernel does not take it, or the host would be unreachable.
    """
    initramfs = folder / "next.initramfs"
    with initramfs.open("wb") as joined, Path(root).open("rb") as base:
        shutil.copyfileobj(base, joined, _CHUNK_BYTES)
        joined.write(bytes(-joined.tell() % 4))
        joined.write(identity(os.environ.get("SSH_CONNECTION", "")))
    line = next_command_line(more)
    try:
        kexec_load(journal, kernel, line, str(initramfs))
    finally:
        initramfs.unlink()  # the kernel has it, and it holds the host's private keys
    return line


def compared() -> dict[str, Any]:
    """The running system and its files: {..., digest, files, wrong}.

    digest: sha256 of the manifest that lies in it; None if it was not provisioned
    files:  how many were compared with it: all but Python's bytecode
    wrong:  those that are missing or have another content
    """
    if not MANIFEST.exists():
        return {**system(), "digest": None, "files": 0, "wrong": []}
    text = MANIFEST.read_bytes()
    wrong, files = [], 0
    for line in text.decode(errors="surrogateescape").splitlines():
        digest, _, name = line.split(" ", 2)
        if name.endswith(_BYTECODE):
            continue
        files += 1
        if _sha256(Path("/", name)) != digest:
            wrong.append(name)
    return {**system(), "digest": hashlib.sha256(text).hexdigest(), "files": files, "wrong": wrong}


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
