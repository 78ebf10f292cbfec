"""The label layers of further images of a case, which lie on the grids of those images."""

from __future__ import annotations

import json
from functools import lru_cache

from medshard.errors import CatalogError
from medshard.loaders.sample_row import SampleRow, StoredLabel


def view_layer(row: SampleRow, view: str, preferred: str | None) -> tuple[str, StoredLabel] | None:
    """(layer, what its values mean) of `views/<view>`: the preferred one, else its only semantic one, else None.

    Raises CatalogError[dataset.layer] for several of which none is preferred.
    """
    layers = row.contents["views"][view]["labels"]
    semantic = sorted(name for name, facts in layers.items() if facts["kind"] == "semantic")
    if preferred is not None and preferred in layers:
        return preferred, _stored_label(json.dumps(layers[preferred]))
    if len(semantic) > 1:
        raise CatalogError(
            "dataset.layer",
            where=row.name,
            problem=f"the image {view!r} has several label layers",
            details={"layers": ", ".join(semantic)},
            action="Name one of them as `layer`, or leave label maps out with `labels=False`.",
        )
    return (semantic[0], _stored_label(json.dumps(layers[semantic[0]]))) if semantic else None


@lru_cache(maxsize=1024)
def _stored_label(text: str) -> StoredLabel:
    # Kept, since what a label means is looked up by the object.
    facts = json.loads(text)
    return StoredLabel(
        kind=facts["kind"],
        classes={int(value): concept for value, concept in facts["classes"].items()},
        examined=tuple(facts["examined"]),
        also={int(value): tuple(concepts) for value, concepts in facts["also"].items()},
        ignore=tuple(facts["ignore"]),
    )
