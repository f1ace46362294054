"""Where Debian packages come from."""

import lzma
import os
import urllib.request
from collections.abc import Iterable
from contextlib import closing

from lab.errors import BenchError

SUITE = "trixie"
BACKPORTS = f"{SUITE}-backports"
_TIMEOUT_S = 30.0


def mirror() -> str:
    """The mirror's URI; CPRLAB_DEBIAN_MIRROR names another one."""
    return os.environ.get("CPRLAB_DEBIAN_MIRROR", "http://deb.debian.org/debian")


def sources(*suites: str) -> str:
    """apt sources of some suites; of the bench host's, with its backports, if none is named."""
    if not suites:
        return f"deb {mirror()} {SUITE} main\ndeb {mirror()} {BACKPORTS} main\n"
    # signed all the same: only that the index is this week's is not asked, as no frozen mirror's is
    return "".join(f"deb [check-valid-until=no] {mirror()} {suite} main\n" for suite in suites)


def version_in_suite(package: str, suite: str) -> str | None:
    """The version of a package in a suite, from the mirror's index (10 MB); None if it has none.

    Not checked against a signature: apt does that when it fetches the package.

    Raises:
        BenchError: the mirror does not answer.
    """
    uri = f"{mirror()}/dists/{suite}/main/binary-amd64/Packages.xz"
    try:
        with closing(urllib.request.urlopen(uri, timeout=_TIMEOUT_S)) as index:
            return version_in(package, lzma.open(index, "rt", encoding="utf-8"))
    except (OSError, lzma.LZMAError, EOFError) as error:
        why = f"could not read {uri}: {error}"
        raise BenchError(f"{why} (another mirror: CPRLAB_DEBIAN_MIRROR)") from error


def version_in(package: str, index: Iterable[str]) -> str | None:
    """The version of a package in the lines of a Packages index; None if it is not there."""
    here = False
    for line in index:
        if line.startswith("Package: "):
            here = line.removeprefix("Package: ").strip() == package
        elif here and line.startswith("Version: "):
            return line.removeprefix("Version: ").strip()
    return None
