"""An entry over a folder of made files, built, and what is in the store then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from medshard.converters.canonical import read_volume
from medshard.converters.volume import Volume
from medshard.pipelines.build import build
from medshard.pipelines.stages.stage import StageResult
from medshard.registry import Catalog
from medshard.registry.store import Store


def catalog_of(folder: Path, group: dict[str, Any], **fields: Any) -> Catalog:
    entry = {
        "id": "made-entry",
        "title": "Made",
        "description": "Made for a test.",
        "version": "1",
        "groups": ["abdomen"],
        "modalities": ["CT", "MR", "PT", "X-ray"],
        "tasks": _tasks(group),
        "dimensions": [3],
        "licence": {"id": "CC0-1.0"},
        "access": {"kind": "open"},
        "maturity": "described",
        "acquisition": [{"kind": "folder", "path": str(folder)}],
        "cases": [{"modality": "CT", **group}],
        **fields,
    }
    file = folder.with_name("catalog.yaml")
    file.write_text(yaml.safe_dump({"format_version": 1, "entries": [entry]}, sort_keys=False), encoding="utf8")
    catalog = Catalog.load([file])
    assert catalog.problems == (), catalog.problems
    return catalog


def _tasks(group: dict[str, Any]) -> list[str]:
    kinds = {annotation["kind"] for annotation in group.get("annotations", {}).values()}
    masks = ["segmentation"] if "labels" in group or "contours" in kinds else []
    boxes = ["detection"] if "boxes" in kinds else []
    classes = ["classification"] if kinds & {"class-table", "class-folder"} else []
    return masks + boxes + classes or ["generation"]


def built(source: Path, group: dict[str, Any], store: Store, **fields: Any) -> dict[str, StageResult]:
    results = build(store, "made-entry", to="volumes", catalog=catalog_of(source, group, **fields))
    return {result.stage: result for result in results}


def volume_of(results: dict[str, StageResult], store: Store, case: str) -> Volume:
    record = results["volumes"].manifest.record(case)
    assert record is not None
    assert record.error is None, record.error
    assert record.output is not None
    return read_volume(store.path(record.output), record.facts.get("row"))


def faults(results: dict[str, StageResult], case: str) -> list[str]:
    record = results["cases"].manifest.record(case)
    assert record is not None
    assert record.error is None, record.error
    return [fault["code"] for fault in record.facts["faults"]]
