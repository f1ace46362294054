"""The image "provisioned": the bench root as an initramfs, with which a real host is booted by kexec.

Made when it is asked for. Its identity is the sha256 of its manifest, which lies in it: whoever has booted it
can be asked for both, and each file compared.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from lab.images import debian
from lab.images.artefacts import sha256
from lab.images.catalogue import Catalogue
from lab.images.progress import Progress
from lab.images.recipe import Built, Recipe, Workshop
from lab.images.root import place
from lab.images.run import run

MANIFEST = "etc/cprlab/manifest"
INITRAMFS = "root.cpio.gz"
_ABOUT = "about.json"
# of the tree itself: it is static, and the same everywhere
_PACK = 'cd "$1" && find . | ./bin/busybox cpio -o -H newc | gzip -1 >"$2"'


@dataclass(frozen=True)
class ProvisionedRoot:
    """What a host is booted into, beside a kernel.

    digest: sha256 of its manifest
    """

    initramfs: Path
    digest: str


def build(shop: Workshop) -> Built:
    """Copy the tree by hard links, add init and manifest, pack it."""
    shop.progress.stage("packing the bench root for kexec", 15)
    source, tree = shop.inputs["root"], shop.folder / "tree"
    run(["cp", "-al", source / "root", tree], what="copying the bench root", log=shop.log)
    place(shop.recipes / "provisioned-init", tree / "init", 0o755)
    (tree / MANIFEST).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / "root.manifest", tree / MANIFEST)
    argv = ["sh", "-c", _PACK, "sh", str(tree), str(shop.folder / INITRAMFS)]
    run([*debian.as_root(), *argv], what="packing the bench root", log=shop.log)
    about = json.dumps({"digest": sha256(tree / MANIFEST)})
    (shop.folder / _ABOUT).write_text(about, encoding="ascii")
    shutil.rmtree(tree)
    return Built(files=(INITRAMFS, _ABOUT))


def ensure_provisioned(progress: Progress | None = None) -> ProvisionedRoot:
    """The image, from the cache or built."""
    folder = Catalogue().with_recipes([RECIPE]).ensure(RECIPE.name, progress).path
    about = json.loads((folder / _ABOUT).read_text(encoding="ascii"))
    return ProvisionedRoot(folder / INITRAMFS, about["digest"])


RECIPE = Recipe(
    name="provisioned",
    files=("provisioned-init",),
    inputs=("root",),
    version=1,
    build=build,
    space_bytes=400 << 20,
    tools=("setpriv", "cp", "unshare", "gzip"),
)
