"""What a data set says of itself in files of known form: dataset.json of nnU-Net and the Decathlon, BIDS."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medshard.pipelines.adding.walk import FoundFiles

LARGEST = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Declared:
    """label_names: value -> word. channels: number -> word. source: the file. conventions: what the tree looks like."""

    label_names: Mapping[int, str] = field(default_factory=dict)
    channels: Mapping[int, str] = field(default_factory=dict)
    source: str = ""
    conventions: tuple[str, ...] = ()


def declared(found: FoundFiles) -> Declared:
    """What the first dataset.json declares, and the conventions that the names follow."""
    conventions = []
    names = {path.rpartition("/")[2] for path in found.paths}
    folders = {part for path in found.paths for part in path.split("/")[:-1]}
    if {"imagesTr", "labelsTr"} <= folders:
        conventions.append("nnU-Net / Medical Segmentation Decathlon")
    if any(folder.startswith("sub-") for folder in folders) and (
        {"participants.tsv", "dataset_description.json"} & names or folders & {"anat", "dwi", "func"}
    ):
        conventions.append("BIDS")
    path = next((path for path in found.paths if path.rpartition("/")[2] == "dataset.json"), None)
    document = read_json(found, path) if path else None
    if not isinstance(document, dict):
        return Declared(conventions=tuple(conventions))
    channels = document.get("channel_names") or document.get("modality") or {}
    return Declared(
        label_names=_label_names(document.get("labels")),
        channels={int(key): str(word) for key, word in channels.items() if str(key).isdigit()}
        if isinstance(channels, dict)
        else {},
        source=path or "",
        conventions=tuple(conventions),
    )


def read_json(found: FoundFiles, path: str) -> Any:
    """The document, or None where it is too large or none."""
    file = found.at(path)
    try:
        if file.stat().st_size > LARGEST:
            return None
        return json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _label_names(labels: Any) -> dict[int, str]:
    """Value -> word, whichever of the two is the key; regions (lists of values) are left out."""
    if not isinstance(labels, dict):
        return {}
    named: dict[int, str] = {}
    for key, word in labels.items():
        if str(key).isdigit() and isinstance(word, str):
            named[int(key)] = word
        elif isinstance(word, int) or (isinstance(word, str) and word.isdigit()):
            named[int(word)] = str(key)
    return {value: word for value, word in sorted(named.items()) if value > 0}
