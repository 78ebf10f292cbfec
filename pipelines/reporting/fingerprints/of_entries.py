"""Sketches of entries that are built, out of the store; no case is read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from medshard.converters.fingerprint import merge_sketches, sketch_from_json
from medshard.errors import StoreError
from medshard.registry.store.manifests import require_head
from medshard.registry.store.objects import Store

Sketch = dict[str, Any]


def sketch_of_entry(store: Store, entry_id: str) -> Sketch:
    """Raises StoreError[stage.not_built], and [fingerprint.outdated] for one of a version that had no sketch."""
    head = require_head(store, entry_id, "fingerprint")
    if "sketch" not in head.attachments:
        raise StoreError(
            "fingerprint.outdated",
            where=f"{entry_id}/fingerprint",
            problem="this fingerprint is of an older version, which cannot be merged with others",
            details={"store": store.root},
            action=f"Build it again: medshard build {entry_id} --to fingerprint --root {store.root}",
        )
    sketch: Sketch = sketch_from_json(json.loads(store.read_bytes(head.attachments["sketch"])))
    return sketch


def sketch_of_entries(store: Store, entry_ids: Iterable[str]) -> Sketch:
    """Of all cases of the entries together. Raises as `sketch_of_entry` does."""
    return merge_sketches(sketch_of_entry(store, entry_id) for entry_id in sorted(set(entry_ids)))
