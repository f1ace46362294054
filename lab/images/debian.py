"""Installs Debian packages into a folder, as root or as an ordinary user."""

import os
import shlex
import tempfile
from pathlib import Path

from lab.images.debian_mirror import BACKPORTS, SUITE, sources
from lab.images.preflight import require_space
from lab.images.recipe import Workshop, listed, read
from lab.images.run import run

PINS = "backports.pref"
TOOLS = ("mmdebstrap", "tar", "setpriv")
# mmdebstrap unpacks into $TMPDIR first
TEMPORARY_BYTES = 1 << 30
# what mmdebstrap prints; only for the bar
EXPECTED_LINES = 16


def install(
    shop: Workshop, *, variant: str, packages: str, excludes: str, seconds: float, suite: str = BACKPORTS
) -> Path:
    """Install the packages listed in a recipe file into `root/` and return that folder.

    suite: the one they come from; backports are joined to their suite, by the pins of PINS

    Ownership is not kept for an ordinary user: what makes a disk image of it maps him to root.
    Device nodes are left out: he cannot make them, and devtmpfs does.
    """
    shop.progress.stage(f"installing Debian packages ({packages})", seconds)
    require_space(Path(tempfile.gettempdir()), TEMPORARY_BYTES, f"{packages} (TMPDIR names another disk)")
    tarball, root = shop.folder / "root.tar", shop.folder / "root"
    lines = 0

    def count(_: str) -> None:
        nonlocal lines
        shop.progress.tick(lines := lines + 1, EXPECTED_LINES)

    argv = mmdebstrap_argv(
        variant,
        pins=read(shop.recipes / PINS) if suite == BACKPORTS else "",
        packages=listed(shop.recipes / packages),
        excludes=listed(shop.recipes / excludes),
    )
    run(
        [*argv, SUITE if suite == BACKPORTS else suite, str(tarball), "-"],
        what=f"installing {packages}",
        log=shop.log,
        stdin=sources() if suite == BACKPORTS else sources(suite),
        on_line=count,
    )
    root.mkdir()
    unpack = ["tar", "-C", str(root), "-xf", str(tarball), "--no-same-owner", "--exclude=./dev/*"]
    run(unpack, what=f"unpacking {tarball.name}", log=shop.log)
    tarball.unlink()
    return root


def mmdebstrap_argv(variant: str, *, pins: str, packages: list[str], excludes: list[str]) -> list[str]:
    """The mmdebstrap call up to suite and target."""
    # a hook is a shell script by mmdebstrap's contract.  The text travels in it, because in user
    # namespace mode the hook cannot read files below a private home
    folder = '"$1/etc/apt/preferences.d"'
    hook = f"mkdir -p {folder}; printf %s {shlex.quote(pins)} > {folder}/cprlab.pref"
    return [
        "mmdebstrap",
        f"--variant={variant}",
        "--mode=auto",
        "--format=tar",
        f"--setup-hook={hook}",
        '--aptopt=APT::Install-Recommends "false"',
        *(f"--dpkgopt=path-exclude={path}" for path in excludes),
        f"--include={','.join(packages)}",
    ]


def versions(root: Path) -> dict[str, str]:
    """The version of every package installed in `root`, from dpkg's own record."""
    found: dict[str, str] = {}
    package = ""
    for line in read(root / "var/lib/dpkg/status").splitlines():
        if line.startswith("Package: "):
            package = line.removeprefix("Package: ")
        elif line.startswith("Version: "):
            found[package] = line.removeprefix("Version: ")
    return found


def as_root() -> list[str]:
    """The argv prefix under which files of this user look like root's."""
    return [] if os.geteuid() == 0 else ["unshare", "--map-root-user"]
