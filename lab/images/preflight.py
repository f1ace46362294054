"""Says before a build what would make it fail, and after a failed one why it did: one line each."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from lab.errors import BenchError

# the Debian package that brings a tool, where its name differs
PACKAGE_OF = {
    "mke2fs": "e2fsprogs",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "cp": "coreutils",
    "chroot": "coreutils",
}

_NETWORK = re.compile(
    r"Temporary failure resolving|Could not (resolve|connect)|Unable to connect"
    r"|Cannot initiate the connection|Connection (timed out|refused|failed)|Network is unreachable"
)
_DISK_FULL = re.compile(r"No space left on device|not enough free space|Disk quota exceeded", re.IGNORECASE)
# what make, apt and the builders say last is seldom what went wrong
_EMPTY_WORDS = re.compile(r"^(make(\[\d+\])?: (Leaving|Entering|\*\*\* Waiting)|I: |\s*$)")

FreeBytes = Callable[[Path], int]


def free_bytes(folder: Path) -> int:
    """Space an ordinary user may still fill in the file system of `folder`."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def require_space(folder: Path, needed_bytes: int, what: str, free: FreeBytes = free_bytes) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        BenchError: less than `needed_bytes` are free.
    """
    if (available := free(folder)) < needed_bytes:
        raise BenchError(
            f"building {what} needs {gib(needed_bytes)} in {folder}, only {gib(available)} are free; "
            "make room, or point XDG_CACHE_HOME to a larger disk"
        )


def require_tools(tools: Iterable[str]) -> None:
    """Refuse to begin without the programs a build calls.

    Raises:
        BenchError: some are not installed; names the packages to install.
    """
    search = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    if missing := [tool for tool in tools if shutil.which(tool, path=search) is None]:
        packages = sorted({PACKAGE_OF.get(tool, tool) for tool in missing})
        raise BenchError(
            f"{', '.join(missing)} not found on this controller; apt-get install {' '.join(packages)}"
        )


def why_failed(what: str, output: str, log: Path, mirror: str) -> str:
    """One line for a build command that failed, from what it printed."""
    if _DISK_FULL.search(output):
        places = dict.fromkeys((log.parent, Path(tempfile.gettempdir())))
        free = ", ".join(f"{gib(free_bytes(place))} in {place}" for place in places)
        return f"{what}: the disk is full (free now: {free}); make room and build again, nothing was cached"
    if _NETWORK.search(output):
        return (
            f"{what}: could not reach the Debian mirror {mirror}; the first build needs it, "
            f"later ones do not (another mirror: CPRLAB_DEBIAN_MIRROR; details in {log})"
        )
    return f"{what} failed: {last_words(output) or 'it printed nothing'}; see {log}"


def last_words(output: str) -> str:
    """The last line that says what went wrong: an error if there is one, else any line with meaning."""
    lines = [line.strip() for line in output.splitlines() if not _EMPTY_WORDS.match(line)]
    errors = [line for line in lines if re.search(r"\berror\b|^E: |failed", line, re.IGNORECASE)]
    return (errors or lines or [""])[-1]


def gib(size_bytes: int) -> str:
    """A size for people, such as "5.2 GiB"."""
    return f"{size_bytes / (1 << 30):.1f} GiB"
