"""The trees find entries that are wrong: a right entry, changed in one place, no longer passes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trees.checks import build_and_check
from trees.tree import made_trees

from medshard.errors import MedshardError
from medshard.registry import Catalog
from medshard.registry.catalog import PUBLIC_CATALOG
from medshard.registry.schema import Entry

TREES = made_trees()


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load([PUBLIC_CATALOG])


def exchanged_labels(entry: dict[str, Any]) -> None:
    classes = entry["cases"][0]["labels"]["organs"]["classes"]
    classes[1], classes[2] = classes[2], classes[1]


def a_label_too_few(entry: dict[str, Any]) -> None:
    del entry["cases"][0]["labels"]["organs"]["classes"][2]


def masks_of_another_folder(entry: dict[str, Any]) -> None:
    spec = entry["cases"][0]["labels"]["organs"]
    spec["path"] = spec["path"].replace("/label/", "/labels/")


def a_case_is_a_patient(entry: dict[str, Any]) -> None:
    entry["cases"][0]["patient"] = None


def the_other_split(entry: dict[str, Any]) -> None:
    entry["cases"][0]["split"], entry["cases"][1]["split"] = entry["cases"][1]["split"], entry["cases"][0]["split"]


def images_of_another_suffix(entry: dict[str, Any]) -> None:
    entry["cases"][0]["images"]["ct"]["path"] += ".gz"


@pytest.mark.parametrize(
    ("entry_id", "change", "seen"),
    [
        ("btcv-abdomen", exchanged_labels, "'spleen'"),
        ("btcv-abdomen", a_label_too_few, "inclusion.blocked|unknown_values"),
        ("btcv-abdomen", masks_of_another_folder, "no case needs these files"),
        ("btcv-abdomen", the_other_split, "img0001.*test"),
        ("btcv-abdomen", images_of_another_suffix, "layout.no_cases|of the files"),
        ("sppin", a_case_is_a_patient, "PT_06_20180628"),
    ],
)
def test_a_wrong_entry_fails(
    entry_id: str, change: Callable[[dict[str, Any]], None], seen: str, catalog: Catalog, tmp_path: Path
) -> None:
    document = catalog.entry(entry_id).model_dump(mode="json")
    for group in document["cases"]:
        for spec in group["labels"].values():
            spec["classes"] = {int(value): concept for value, concept in spec["classes"].items()}
    change(document)
    wrong = replace(catalog, entries={**catalog.entries, entry_id: Entry.model_validate(document)})
    with pytest.raises((AssertionError, MedshardError)) as refused:
        build_and_check(TREES[entry_id], wrong, tmp_path)
    assert re.search(seen, str(refused.value), re.DOTALL), refused.value


def test_a_turned_mask_is_seen(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers agree and voxels do not: only the grey value under each structure tells."""
    from trees import scans

    write = scans.write_scan
    monkeypatch.setattr(scans, "write_scan", lambda path, voxels, *more: write(path, turned(path, voxels), *more))
    with pytest.raises(AssertionError, match="lies elsewhere"):
        build_and_check(TREES["btcv-abdomen"], catalog, tmp_path)


def turned(path: Path, voxels: Any) -> Any:
    return voxels[:, ::-1] if "label" in path.name else voxels
