"""Datalists for MONAI, loaded by MONAI."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_exports import GROUP, OBLIQUE, SIZE, Source, organs

from medshard.pipelines.exporting.monai import export_monai
from medshard.registry.splits import Split, SplitRow, save_split
from medshard.registry.splits.table import Making

pytest.importorskip("monai")
# MONAI says of every loader which decoder of DICOM it does without.
pytestmark = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")


def loaded(datalist: Path, key: str = "training") -> list[dict[str, Any]]:
    from monai.data import load_decathlon_datalist
    from monai.transforms import LoadImaged

    items = load_decathlon_datalist(datalist, data_list_key=key)
    found: list[dict[str, Any]] = [LoadImaged(["image", "label"], allow_missing_keys=True)(item) for item in items]
    return found


def test_monai_loads_voxels_and_affine_of_the_source(tmp_path: Path) -> None:
    source = Source(tmp_path)
    mask = organs()
    voxels = source.add_case("a", mask)
    (item,) = loaded(export_monai(source.build()))
    np.testing.assert_array_equal(item["image"].numpy(), voxels)
    np.testing.assert_array_equal(item["label"].numpy(), mask)
    np.testing.assert_allclose(item["image"].affine.numpy(), OBLIQUE, atol=1e-5)
    np.testing.assert_array_equal(item["image"].affine.numpy(), item["label"].affine.numpy())


def test_monai_loads_exact_affines_where_they_are_asked_for(tmp_path: Path) -> None:
    source = Source(tmp_path)
    source.add_case("a", organs())
    request = source.build()
    (item,) = loaded(export_monai(replace(request, exact=True)))
    (facts,) = (
        facts for path, facts in report_of(request.output)["cases"]["a"]["files"].items() if path.startswith("images")
    )
    np.testing.assert_array_equal(item["image"].affine.numpy(), facts["affine"])


def report_of(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "export.json").read_text())
    return document


def test_parts_are_lists_and_cases_without_labels_have_one_of_their_own(tmp_path: Path) -> None:
    source = Source(tmp_path)
    for case in "abc":
        source.add_case(case, organs())
    source.add_case("d", None)
    request = source.build()
    parts = {"a": "train", "b": "val", "c": "test", "d": "train"}
    rows = [
        SplitRow(entry="made-entry", case=case, patient=case, component=case, part=part)  # type: ignore[arg-type]
        for case, part in parts.items()
    ]
    save_split(request.store, "mine", Split(tuple(rows)), {})
    datalist = json.loads(export_monai(replace(request, split="mine")).read_text())
    lists = {key: [item["case"] for item in datalist[key]] for key in ("training", "validation", "test", "unlabelled")}
    assert lists == {"training": ["a"], "validation": ["b"], "test": ["c"], "unlabelled": ["d"]}
    assert (datalist["numTraining"], datalist["numTest"]) == (1, 1)
    assert datalist["labels"] == {"0": "background", "1": "liver", "2": "kidney"}
    assert datalist["modality"] == {"0": "CT"}


def test_in_a_cross_validation_items_carry_their_fold(tmp_path: Path) -> None:
    source = Source(tmp_path)
    for case in "ab":
        source.add_case(case, organs())
    request = source.build()
    rows = [
        SplitRow(entry="made-entry", case=case, patient=case, component=case, part="train", fold=fold)
        for fold, case in enumerate("ab")
    ]
    save_split(request.store, "mine", Split(tuple(rows), making=Making(folds=2)), {})
    items = loaded(export_monai(replace(request, split="mine")))
    assert [(item["case"], item["fold"]) for item in items] == [("a", 0), ("b", 1)]


def test_overlapping_concepts_are_masks_that_monai_stacks(tmp_path: Path) -> None:
    labels = {**GROUP["labels"], "lesions": {"path": "{case}_lesions.nii", "classes": {1: "lesion"}}}
    source = Source(tmp_path, group={**GROUP, "labels": labels})
    mask, lesions = organs(), np.ones(SIZE, np.uint8)
    source.add_case("a", mask)
    source.add("a_lesions", lesions)
    datalist = export_monai(source.build())
    names = json.loads(datalist.read_text())["labels"]
    (item,) = loaded(datalist)
    expected = {"liver": mask == 1, "kidney": mask == 2, "lesion": lesions == 1}
    for number, concept in names.items():
        np.testing.assert_array_equal(item["label"].numpy()[int(number)], expected[concept])


def test_several_images_on_one_grid_are_channels_and_others_have_keys(tmp_path: Path) -> None:
    images = {name: {"path": f"{{case}}_{name}.nii"} for name in ("ct", "late", "other")}
    source = Source(tmp_path, group={**GROUP, "images": images})
    voxels = source.add_case("a", organs())
    source.add("a_late", voxels + 1)
    source.add("a_other", np.zeros((3, 3, 3), np.int16))
    (item,) = loaded(export_monai(source.build()))
    np.testing.assert_array_equal(item["image"].numpy(), np.stack([voxels, voxels + 1]))
    assert Path(item["image_other"]).is_file()
