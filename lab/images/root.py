"""The image "root": the bench host's disk, and the tree from which the controller runs its QEMU."""

import shutil
from pathlib import Path

from lab.images import debian
from lab.images.artefacts import disk_bytes
from lab.images.recipe import Built, Recipe, Workshop
from lab.images.run import run

# for what tests write on the bench host: state files, logs, a guest's memory file
FREE_BYTES = 1536 << 20
LABEL = "cprlab-root"
# what the packages' scripts made and no image may carry: each bench gets its own by its seed
_SECRETS = ("etc/ssh/ssh_host_*", "etc/machine-id", "var/lib/dbus/machine-id")


def build(shop: Workshop) -> Built:
    """Add our files to the packages and make a disk of the whole."""
    shop.progress.stage("making the bench host's disk", 15)
    root, disk = shop.folder / "root", shop.folder / "root.ext4"
    # hard links: no second copy on disk.  Hence files are replaced, never written in place
    run(["cp", "-al", shop.inputs["base-root"] / "root", root], what="copying the packages", log=shop.log)
    furnish(root, shop.recipes)
    size_bytes = (disk_bytes(root) * 5 // 4 + FREE_BYTES) >> 20 << 20
    with disk.open("wb") as file:
        file.truncate(size_bytes)
    # no journal: the disk is attached with snapshot=on, and a journal only doubles the writes
    argv = ["mke2fs", "-q", "-t", "ext4", "-L", LABEL, "-O", "^has_journal", "-m", "0"]
    argv += ["-E", "root_owner=0:0,lazy_itable_init=0", "-d", str(root), str(disk)]
    run([*debian.as_root(), *argv], what="making root.ext4", log=shop.log)
    return Built(files=("root.ext4",), trees=("root",))


def furnish(root: Path, recipes: Path) -> None:
    """Put init, the ssh configuration and mount points in place, and take host keys out."""
    for pattern in _SECRETS:
        for path in root.glob(pattern):
            path.unlink()
    place(recipes / "bench-init", root / "usr/sbin/cprlab-init", 0o755)
    place(recipes / "sshd_config", root / "etc/ssh/sshd_config", 0o644)
    for folder in ("root/.ssh", "var/lib/cprlab/blobs", "dev", "proc", "sys"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "root/.ssh").chmod(0o700)
    for name in ("poweroff", "reboot", "halt"):
        link = root / "usr/sbin" / name
        link.unlink(missing_ok=True)
        link.symlink_to("../bin/busybox")


def place(source: Path, target: Path, mode: int) -> None:
    """Put a copy at `target` as a new file: its old content may be hard-linked elsewhere."""
    fresh = target.with_name(f"{target.name}.new")
    shutil.copyfile(source, fresh)
    fresh.chmod(mode)
    fresh.replace(target)


RECIPE = Recipe(
    name="root",
    files=("bench-init", "sshd_config"),
    inputs=("base-root",),
    version=1,
    build=build,
    space_bytes=900 << 20,
    tools=("setpriv", "mke2fs", "cp", "unshare"),
)
