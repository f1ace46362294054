"""The image "base-root": Debian packages of the bench host, as installed.

Kept apart from "root", so that a change of our init or sshd configuration needs no network.
"""

import re

from lab.errors import BenchError
from lab.images import debian
from lab.images.recipe import Built, Recipe, Workshop

QEMU_AT_LEAST = (11, 1, 3)


def build(shop: Workshop) -> Built:
    """Install the packages and check what stable would have got wrong without a word."""
    root = debian.install(
        shop, variant="minbase", packages="root.packages", excludes="root.excludes", seconds=45
    )
    versions = debian.versions(root)
    require_qemu(versions["qemu-system-x86"])
    return Built(trees=("root",), versions=versions)


def require_qemu(version: str) -> None:
    """Refuse a QEMU that is too old for the lab.

    Raises:
        BenchError: the suite and the pins brought an older one.
    """
    numbers = re.match(r"(?:\d+:)?(\d+)\.(\d+)\.(\d+)", version)
    if not numbers or tuple(map(int, numbers.groups())) < QEMU_AT_LEAST:
        wanted = ".".join(map(str, QEMU_AT_LEAST))
        raise BenchError(
            f"the Debian mirror gave QEMU {version}, asked for {wanted} or newer; see images/backports.pref"
        )


RECIPE = Recipe(
    name="base-root",
    files=("root.packages", "root.excludes", "backports.pref"),
    inputs=(),
    version=1,
    build=build,
    space_bytes=1300 << 20,
    tools=debian.TOOLS,
)
