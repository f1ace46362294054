"""Installs Debian packages into a folder, as root or as an ordinary user."""

import os
import shutil
from pathlib import Path

from lab.images.debian_mirror import SUITE, sources
from lab.images.recipe import Workshop, listed
from lab.images.run import run

TOOLS = ("mmdebstrap", "tar", "unshare", "chroot")
# mmdebstrap prints about four of these for each package; only for the bar
_EXPECTED_LINES = 40


def install(shop: Workshop, *, variant: str, packages: str, excludes: str | None, seconds: float) -> Path:
    """Install the packages listed in a recipe file into `root/` and return that folder.

    Ownership is not kept for an ordinary user: what makes a disk image of it maps him to root.
    Device nodes are left out: he cannot make them, and devtmpfs does.
    """
    shop.progress.stage(f"installing Debian packages ({packages})", seconds)
    tarball, root = shop.folder / "root.tar", shop.folder / "root"
    argv: list[str | Path] = ["mmdebstrap", f"--variant={variant}", "--mode=auto", "--format=tar"]
    argv += [f"--setup-hook=mkdir -p \"$1/etc/apt/preferences.d\"", f"--setup-hook=copy-in {shop.folder}/cprlab.pref /etc/apt/preferences.d"]
    argv += ['--aptopt=APT::Install-Recommends "false"']
    argv += [f"--dpkgopt=path-exclude={path}" for path in (listed(shop.recipes / excludes) if excludes else [])]
    argv += [f"--include={','.join(listed(shop.recipes / packages))}", SUITE, tarball, "-"]
    shutil.copy(shop.recipes / "backports.pref", shop.folder / "cprlab.pref")
    lines = 0

    def count(_: str) -> None:
        nonlocal lines
        shop.progress.tick(lines := lines + 1, _EXPECTED_LINES)

    run(argv, what=f"installing {packages}", log=shop.log, stdin=sources(), on_line=count)
    root.mkdir()
    run(
        ["tar", "-C", root, "-xf", tarball, "--no-same-owner", "--exclude=./dev/*"],
        what=f"unpacking {tarball.name}",
        log=shop.log,
    )
    tarball.unlink()
    return root


def versions(root: Path) -> dict[str, str]:
    """The version of every package installed in `root`, from dpkg's own record."""
    found: dict[str, str] = {}
    package = ""
    for line in (root / "var/lib/dpkg/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("Package: "):
            package = line.removeprefix("Package: ")
        elif line.startswith("Version: "):
            found[package] = line.removeprefix("Version: ")
    return found


def as_root() -> list[str]:
    """The argv prefix under which files of this user look like root's."""
    return [] if os.geteuid() == 0 else ["unshare", "--map-root-user"]
