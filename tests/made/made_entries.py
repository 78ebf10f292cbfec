"""An entry that is valid and says as little as it can, for tests that change one thing in it."""

from __future__ import annotations

from typing import Any

from medshard.registry import Entry


def made_entry(entry_id: str, **changes: Any) -> Entry:
    return Entry.model_validate(
        {
            "id": entry_id,
            "title": entry_id,
            "description": "Made for a test.",
            "version": "1",
            "groups": ["abdomen"],
            "modalities": ["CT"],
            "tasks": ["segmentation"],
            "dimensions": [3],
            "licence": {"id": "CC-BY-4.0"},
            "access": {"kind": "open"},
            "maturity": "described",
            "acquisition": [{"kind": "zenodo", "record": "1"}],
            **changes,
        }
    )
