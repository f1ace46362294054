"""The image "build-root": compiler and kernel source, so that the kernel can be rebuilt offline."""

from lab.images import debian
from lab.images.recipe import Built, Recipe, Workshop


def build(shop: Workshop) -> Built:
    """Install the packages."""
    root = debian.install(
        shop, variant="apt", packages="build.packages", excludes="root.excludes", seconds=60
    )
    return Built(trees=("root",), versions=debian.versions(root))


RECIPE = Recipe(
    name="build-root",
    files=("build.packages", "root.excludes", "backports.pref"),
    inputs=(),
    version=1,
    build=build,
    space_bytes=1700 << 20,
    tools=debian.TOOLS,
)
