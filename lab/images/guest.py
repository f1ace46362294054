"""The image "guest": placeholder."""

from lab.images.recipe import Built, Recipe, Workshop


def build(shop: Workshop) -> Built:
    raise NotImplementedError


RECIPE = Recipe(name="guest", files=("guest-init", "guest.modules"), inputs=("base-root",), version=1, build=build, space_bytes=100 << 20)
