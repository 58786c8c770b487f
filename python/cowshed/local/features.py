"""Features of images: kept and reported."""

from __future__ import annotations

from collections.abc import Sequence

from cowshed.local import keys
from cowshed.local.catalog import Catalog, Change
from cowshed.store.features import switched
from cowshed.store.spec import ImageSpec


def update(catalog: Catalog, spec: ImageSpec, features: Sequence[str], enabled: bool) -> str:
    """Returns the image's id."""

    def decide(change: Change) -> str:
        image_id, image = change.image(spec)
        after = switched(image.features, features, enabled)
        change.put(keys.image(image_id), image.changed(features=after).encode())
        return image_id

    return catalog.change(decide)
