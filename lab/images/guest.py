"""The image "guest": the guest's initramfs without its agents; the guest's kernel is "kernel"."""

import tempfile
from pathlib import Path

from lab.agents.host.cpio import Archive
from lab.images import guest_python
from lab.images.recipe import Built, Recipe, Workshop, listed
from lab.images.run import run

PYTHON = "usr/bin/python3.13"
STDLIB = "usr/lib/python3.13"
LOADER = "lib64/ld-linux-x86-64.so.2"
# where the loader looks by default, so no ld.so.cache is needed
LIBRARIES = "usr/lib/x86_64-linux-gnu"
MOUNT_POINTS = ("dev", "proc", "sys", "tmp", "agents")


def build(shop: Workshop) -> Built:
    """Put init, busybox, Python and as much of its library as agents import into one archive."""
    shop.progress.stage("making the guest's initramfs", 5)
    root = shop.inputs["base-root"] / "root"
    archive = Archive()
    for folder in MOUNT_POINTS:
        archive.folder(folder)
    # the kernel opens it for init before devtmpfs is there
    archive.character_device("dev/console", 5, 1)
    archive.file("init", (shop.recipes / "guest-init").read_bytes(), 0o755)
    add_busybox(archive, root, shop.log)
    add_python(archive, root, listed(shop.recipes / "guest.modules"), shop.log)
    (shop.folder / "base.cpio").write_bytes(archive.finish())
    return Built(files=("base.cpio",))


def add_busybox(archive: Archive, root: Path, log: Path) -> None:
    """busybox and a link for each of its programs."""
    busybox = root / "bin/busybox"
    archive.file("bin/busybox", busybox.read_bytes(), 0o755)
    for program in run([busybox, "--list"], what="listing busybox programs", log=log).split():
        if program != "busybox":
            archive.link(f"bin/{program}", "busybox")


def add_python(archive: Archive, root: Path, names: list[str], log: Path) -> None:
    """The interpreter, the modules and what both are linked with."""
    found = guest_python.closure(root, names, log)
    extensions = sorted({file for _, file in found if file.suffix == ".so"})
    sources = sorted({file for _, file in found if file.suffix == ".py"})
    archive.file(PYTHON, (root / PYTHON).read_bytes(), 0o755)
    archive.file(LOADER, (root / LOADER).read_bytes(), 0o755)
    archive.folder(f"{STDLIB}/lib-dynload")  # Python warns on stderr without it
    for extension in extensions:
        archive.file(f"{STDLIB}/lib-dynload/{extension.name}", extension.read_bytes())
    linked = {
        lib for program in (root / PYTHON, *extensions) for lib in guest_python.libraries(root, program, log)
    }
    for library in sorted(linked, key=lambda path: path.name):
        if library.name != Path(LOADER).name:
            archive.file(f"{LIBRARIES}/{library.name}", library.read_bytes(), 0o755)
    add_bytecode(archive, root, [(file, file.relative_to(root)) for file in sources], log)


def add_bytecode(archive: Archive, root: Path, sources: list[tuple[Path, Path]], log: Path) -> None:
    """Compile sources into the archive, each at its path below `/` with the suffix .pyc."""
    with tempfile.TemporaryDirectory() as scratch:
        jobs = [(source, Path(scratch, at).with_suffix(".pyc"), f"/{at}") for source, at in sources]
        guest_python.compile_to(root, jobs, log)
        for _, compiled, _ in jobs:
            archive.file(str(compiled.relative_to(scratch)), compiled.read_bytes())


RECIPE = Recipe(
    name="guest",
    files=("guest-init", "guest.modules"),
    inputs=("base-root",),
    version=1,
    build=build,
    space_bytes=100 << 20,
    tools=("setpriv",),
)
