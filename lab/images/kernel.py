"""The image "kernel": one bzImage for bench host and guest, from Debian's linux-source."""

import os
import re
import shutil
from pathlib import Path

from lab.errors import BenchError
from lab.images import debian
from lab.images.recipe import Built, Recipe, Workshop, meaning, read
from lab.images.run import run

# lines CC, AS and AR that make prints for images/kernel.config and Linux 7.3; only for the bar
EXPECTED_OBJECTS = 2250
PATCH = "kernel.patch"
KEPT = {"bzImage": "arch/x86/boot/bzImage", "config": ".config", "System.map": "System.map"}
# names of a source tree that is not whole, so that no build goes on from it
_UNPACKING, _REMOVING = "linux.unpacking", "linux.removing"
_ENTER = Path(__file__).with_name("enter-root.sh")
_OBJECT_LINE = re.compile(r"  (CC|AS|AR)\s")


def build(shop: Workshop) -> Built:
    """Unpack, configure, check, make; what an interrupted build had made is used again."""
    for half_done in (_UNPACKING, _REMOVING):
        shutil.rmtree(shop.folder / half_done, ignore_errors=True)
    root = shop.inputs["build-root"] / "root"
    versions = unpack(shop, root)
    configure(shop, root)
    make(shop, root)
    linux = shop.folder / "linux"
    for kept, made in KEPT.items():
        (linux / made).replace(shop.folder / kept)
    # 2 GiB; a changed fragment starts afresh, from the cached build root
    shutil.rmtree(linux.rename(shop.folder / _REMOVING))
    return Built(files=tuple(KEPT), versions=versions)


def unpack(shop: Workshop, root: Path) -> dict[str, str]:
    """Unpack the kernel source into `linux/`, unless it is there; returns versions of source and tools."""
    found = sorted((root / "usr/src").glob("linux-source-*.tar.xz"))
    if len(found) != 1:
        raise BenchError(
            f"{root}/usr/src holds {len(found)} kernel sources, expected one; see images/build.packages"
        )
    linux, fresh = shop.folder / "linux", shop.folder / _UNPACKING
    if not linux.exists():
        shop.progress.stage(f"unpacking {found[0].name}", 30)
        fresh.mkdir()
        # xz of the build root: the controller may have none
        argv = ["tar", "-C", f"/build/{fresh.name}", "--strip-components=1", "--no-same-owner"]
        run(
            in_root(root, shop.folder, *argv, "-xf", f"/usr/src/{found[0].name}"),
            what="unpacking Linux",
            log=shop.log,
        )
        patch(shop, root, fresh)
        fresh.rename(linux)  # by its last name only when complete
    installed = debian.versions(root)
    return {name: installed[name] for name in (found[0].name.removesuffix(".tar.xz"), "gcc", "binutils")}


def patch(shop: Workshop, root: Path, source: Path) -> None:
    """Apply images/kernel.patch: what the kernel gets wrong on an emulated host; reasons are in the file."""
    (shop.folder / PATCH).write_text(read(shop.recipes / PATCH), encoding="utf-8")
    argv = ["patch", "-d", f"/build/{source.name}", "-p1", "--forward", "-i", f"/build/{PATCH}"]
    run(in_root(root, shop.folder, *argv), what=f"applying images/{PATCH}", log=shop.log)


def configure(shop: Workshop, root: Path) -> None:
    """Make .config from nothing but the fragment.

    Raises:
        BenchError: Kconfig dropped options; names them.
    """
    shop.progress.stage("configuring the kernel", 20)
    fragment = read(shop.recipes / "kernel.config")
    (shop.folder / "fragment").write_text(fragment, encoding="utf-8")
    argv = ["make", "-s", "-C", "/build/linux", "KCONFIG_ALLCONFIG=/build/fragment", "allnoconfig"]
    run(in_root(root, shop.folder, *argv), what="configuring the kernel", log=shop.log)
    if lost := lost_options(fragment, read(shop.folder / "linux/.config")):
        raise BenchError(
            f"Kconfig dropped {len(lost)} options of images/kernel.config: {', '.join(lost)}; "
            f"renamed, or a dependency is missing: look them up in {shop.folder}/linux"
        )


def lost_options(fragment: str, config: str) -> list[str]:
    """The lines of a fragment that are not in a .config, in order."""
    kept = set(config.splitlines())
    return [
        line for line in meaning(fragment).splitlines() if line.startswith("CONFIG_") and line not in kept
    ]


def make(shop: Workshop, root: Path) -> None:
    """Build bzImage with every processor this process may use."""
    jobs = len(os.sched_getaffinity(0))
    shop.progress.stage(f"building the kernel with {jobs} jobs", 800 / jobs)
    done = 0

    def count(line: str) -> None:
        nonlocal done
        if _OBJECT_LINE.match(line):
            shop.progress.tick(done := done + 1, EXPECTED_OBJECTS)

    argv = ["make", "-C", "/build/linux", f"-j{jobs}", "bzImage"]
    run(in_root(root, shop.folder, *argv), what="building the kernel", log=shop.log, on_line=count)


def in_root(root: Path, work: Path, *argv: str) -> list[str | Path]:
    """argv that runs a command inside `root`, with `work` as its /build and as its temporary folder.

    In mount and process namespaces of its own: nothing stays mounted on the controller and
    nothing keeps running, even after SIGKILL.
    """
    unshare = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
    if os.geteuid() != 0:
        unshare.append("--map-root-user")
    (root / "build").mkdir(exist_ok=True)
    return [*unshare, "sh", _ENTER, root, work, *argv]


RECIPE = Recipe(
    name="kernel",
    files=("kernel.config", PATCH),
    inputs=("build-root",),
    version=1,
    build=build,
    space_bytes=3 << 30,
    tools=("setpriv", "unshare", "chroot"),
    keeps_partial=True,
)
