"""Data sets for nnU-Net: its own integrity check where it is installed, its rules of the file format elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from made_exports import GROUP, OBLIQUE, SIZE, Source, organs
from PIL import Image as Picture

from medshard.errors import MedshardError
from medshard.pipelines.exporting.nnunet import export_nnunet
from medshard.pipelines.exporting.request import ExportRequest
from medshard.registry.splits import Split, SplitRow, save_split
from medshard.registry.splits.table import Making

needs_nnunet = pytest.mark.skipif("MEDSHARD_PEERS" not in os.environ, reason="MEDSHARD_PEERS names no Python")
# Threads in place of its processes, each of which would import torch again.
CHECK = """
import multiprocessing, sys
from multiprocessing.pool import ThreadPool
from types import SimpleNamespace
multiprocessing.get_context = lambda method: SimpleNamespace(Pool=ThreadPool)
from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity
for folder in sys.argv[1:]:
    verify_dataset_integrity(folder, 1)
"""


def described(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "dataset.json").read_text())
    return document


def report_of(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "export.json").read_text())
    return document


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


def test_images_and_labels_are_those_of_the_source_on_one_grid(source: Source) -> None:
    mask = organs(1)
    voxels = source.add_case("a", mask)
    folder = export_nnunet(source.build())
    image, label = (nib.load(folder / name) for name in ("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"))
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), voxels)
    np.testing.assert_array_equal(np.asanyarray(label.dataobj), mask)
    np.testing.assert_array_equal(image.affine, label.affine)
    np.testing.assert_allclose(image.affine, OBLIQUE, atol=1e-5)
    found = described(folder)
    assert found["channel_names"] == {"0": "CT"}
    assert found["labels"] == {"background": 0, "liver": 1, "kidney": 2}
    assert (found["numTraining"], found["file_ending"]) == (1, ".nii.gz")


def test_values_far_apart_get_consecutive_numbers(tmp_path: Path) -> None:
    labels = {"organs": {"path": "{case}_organs.nii", "classes": {40: "liver", 200: "kidney"}}}
    source = Source(tmp_path, group={**GROUP, "labels": labels})
    source.add_case("a", organs(values=(0, 40, 200)))
    folder = export_nnunet(source.build())
    assert described(folder)["labels"] == {"background": 0, "liver": 1, "kidney": 2}
    assert set(np.unique(np.asanyarray(nib.load(folder / "labelsTr/a.nii.gz").dataobj))) == {0, 1, 2}


def overlapping(home: Path) -> ExportRequest:
    labels = {
        "organs": {"path": "{case}_organs.nii", "classes": {1: "liver", 2: "kidney"}, "ignore": [3]},
        "lesions": {"path": "{case}_lesions.nii", "classes": {1: "lesion"}},
    }
    source = Source(home, group={**GROUP, "labels": labels})
    mask = np.zeros(SIZE, np.uint8)
    mask[:3], mask[3], mask[4] = 1, 2, 3
    lesions = np.zeros(SIZE, np.uint8)
    lesions[0, 0], lesions[5, 0] = 1, 1
    for case in ("a", "b"):
        source.add_case(case, mask)
        source.add(f"{case}_lesions", lesions)
    return source.build()


def test_overlapping_labels_become_regions_and_unjudged_voxels_the_ignore_label(tmp_path: Path) -> None:
    folder = export_nnunet(overlapping(tmp_path))
    found = described(folder)
    assert found["labels"] == {"background": 0, "liver": [1, 4], "kidney": 2, "lesion": [3, 4], "ignore": 5}
    assert found["regions_class_order"] == [1, 2, 3]
    assert list(found["labels"])[1:4] == ["liver", "kidney", "lesion"]
    label = np.asanyarray(nib.load(folder / "labelsTr/a.nii.gz").dataobj)
    assert (label[0, 0] == 4).all()
    assert (label[4] == 5).all()
    assert (label[5, 0] == 3).all()


def split_of(request: ExportRequest, parts: Mapping[str, Any], folds: int = 0) -> str:
    rows = tuple(
        SplitRow(entry="made-entry", case=case, patient=case, component=case, part=part, fold=fold)
        for case, (part, fold) in parts.items()
    )
    save_split(request.store, "mine", Split(rows, making=Making(folds=folds)), {})
    return "mine"


def test_parts_follow_the_split_and_tested_cases_stay_out_of_training(source: Source) -> None:
    for number, case in enumerate("abcde"):
        source.add_case(case, organs(number))
    request = source.build()
    parts = {"a": ("train", None), "b": ("val", None), "c": ("test", None), "d": ("train", None)}
    folder = export_nnunet(replace(request, split=split_of(request, parts)))
    assert json.loads((folder / "splits_final.json").read_text()) == [{"train": ["a", "d"], "val": ["b"]}]
    assert sorted(path.name for path in (folder / "imagesTs").iterdir()) == ["c_0000.nii.gz"]
    assert sorted(path.name for path in (folder / "labelsTs").iterdir()) == ["c.nii.gz"]
    assert "not in the split" in report_of(folder)["left_out"]["e"]


def test_folds_follow_the_split(source: Source) -> None:
    for number, case in enumerate("abc"):
        source.add_case(case, organs(number))
    request = source.build()
    parts = {"a": ("train", 0), "b": ("train", 1), "c": ("test", None)}
    folder = export_nnunet(replace(request, split=split_of(request, parts, folds=2)))
    assert json.loads((folder / "splits_final.json").read_text()) == [
        {"train": ["b"], "val": ["a"]},
        {"train": ["a"], "val": ["b"]},
    ]


def test_a_case_without_labels_is_there_to_be_predicted(source: Source) -> None:
    source.add_case("a", organs())
    source.add_case("b", None)
    folder = export_nnunet(source.build())
    assert [path.name for path in (folder / "imagesTs").iterdir()] == ["b_0000.nii.gz"]
    assert described(folder)["numTraining"] == 1
    assert any("imagesTs" in note for note in report_of(folder)["notes"])


def partly_examined() -> dict[str, Any]:
    one = {"images": GROUP["images"], "modality": "CT"}
    both = {"organs": {"path": "{case}_organs.nii", "classes": {1: "liver", 2: "kidney"}}}
    liver = {"organs": {"path": "{case}_organs.nii", "classes": {1: "liver"}}}
    return {
        "cases": [
            {"case": "{case}", "where": {"case": "a"}, "labels": both, **one},
            {"case": "{case}", "where": {"case": "b"}, "labels": liver, **one},
        ]
    }


def test_background_that_nobody_examined_is_not_trained_on(tmp_path: Path) -> None:
    source = Source(tmp_path, fields=partly_examined())
    source.add_case("a", organs(values=(0, 1, 2)))
    source.add_case("b", organs(values=(0, 1)))
    request = source.build()
    folder = export_nnunet(request)
    assert "kidney" in report_of(folder)["left_out"]["b"]
    folder = export_nnunet(replace(request, output=tmp_path / "liver", concepts=("liver",)))
    assert described(folder)["labels"] == {"background": 0, "liver": 1}
    assert described(folder)["numTraining"] == 2


def test_modalities_do_not_share_a_channel(tmp_path: Path) -> None:
    one = {"images": GROUP["images"], "labels": GROUP["labels"]}
    groups = [
        {"case": "{case}", "where": {"case": case}, "modality": modality, **one}
        for case, modality in (("a", "CT"), ("b", "MR"))
    ]
    source = Source(tmp_path, fields={"cases": groups})
    source.add_case("a", organs())
    source.add_case("b", organs())
    request = source.build()
    with pytest.raises(MedshardError) as caught:
        export_nnunet(request)
    assert caught.value.code == "export.mixed_modalities"
    assert not list(request.output.iterdir())
    assert described(export_nnunet(replace(request, modality="MR")))["channel_names"] == {"0": "MR"}


def two_channels(home: Path) -> Source:
    images = {
        "t1": {"path": "{case}_ct.nii", "sequence": "T1"},
        "t2": {"path": "{case}_t2.nii", "sequence": "T2", "optional": True},
    }
    return Source(home, group={**GROUP, "modality": "MR", "images": images})


def test_images_on_the_grid_of_the_labels_are_channels(tmp_path: Path) -> None:
    source = two_channels(tmp_path)
    for case in ("a", "b"):
        source.add_case(case, organs())
        source.add(f"{case}_t2", np.full(SIZE, 7, np.int16))
    folder = export_nnunet(source.build())
    assert described(folder)["channel_names"] == {"0": "T1", "1": "T2"}
    assert (np.asanyarray(nib.load(folder / "imagesTr/b_0001.nii.gz").dataobj) == 7).all()


def test_a_case_without_a_channel_asked_for_is_left_out_and_named(tmp_path: Path) -> None:
    source = two_channels(tmp_path)
    for case in ("a", "b"):
        source.add_case(case, organs())
    source.add("a_t2", np.full(SIZE, 7, np.int16))
    request = source.build()
    assert described(export_nnunet(request))["channel_names"] == {"0": "T1"}
    folder = export_nnunet(replace(request, output=tmp_path / "both", images=("t1", "t2")))
    assert "t2" in report_of(folder)["left_out"]["b"]
    assert described(folder)["numTraining"] == 1


def test_a_sheared_grid_is_left_to_nibabel(source: Source) -> None:
    sheared = OBLIQUE @ np.array([[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    source.add("a_ct", np.ones(SIZE, np.int16), sheared)
    source.add("a_organs", organs(), sheared)
    assert described(export_nnunet(source.build()))["overwrite_image_reader_writer"] == "NibabelIO"


def pictures(home: Path) -> ExportRequest:
    group = {
        "case": "{case}",
        "modality": "dermoscopy",
        "images": {"photo": {"path": "{case}.png"}},
        "labels": {"lesion": {"path": "{case}_mask.png", "classes": {1: "lesion"}}},
    }
    source = Source(home, group=group, fields={"modalities": ["dermoscopy"], "dimensions": [2]})
    for case in ("a", "b"):
        colours = np.random.default_rng(3).integers(0, 255, (6, 8, 3), np.uint8)
        Picture.fromarray(colours).save(source.folder / f"{case}.png")
        Picture.fromarray((colours[..., 0] > 128).astype(np.uint8)).save(source.folder / f"{case}_mask.png")
    return source.build()


def test_pictures_stay_pictures(tmp_path: Path) -> None:
    request = pictures(tmp_path)
    folder = export_nnunet(request)
    found = described(folder)
    assert found["file_ending"] == ".png"
    assert found["channel_names"] == dict.fromkeys(("0", "1", "2"), "rgb_to_0_1")
    original = tmp_path / "files"
    for written, source in (("imagesTr/a_0000.png", "a.png"), ("labelsTr/a.png", "a_mask.png")):
        np.testing.assert_array_equal(
            np.array(Picture.open(folder / written)), np.array(Picture.open(original / source))
        )


def test_equal_requests_have_equal_bytes_and_nothing_is_replaced(source: Source, tmp_path: Path) -> None:
    source.add_case("a", organs())
    request = source.build()
    first = export_nnunet(request)
    second = export_nnunet(replace(request, output=tmp_path / "again"))
    paths = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert paths == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    assert all((first / path).read_bytes() == (second / path).read_bytes() for path in paths)
    with pytest.raises(MedshardError) as caught:
        export_nnunet(request)
    assert caught.value.code == "export.not_empty"


def test_a_number_that_another_data_set_has_is_refused(source: Source) -> None:
    source.add_case("a", organs())
    request = replace(source.build(), number=77)
    (request.output / "Dataset077_Other").mkdir(parents=True)
    with pytest.raises(MedshardError, match="Dataset077_Other"):
        export_nnunet(request)


def test_nothing_is_left_of_an_export_that_fails(source: Source) -> None:
    source.add_case("a", None)
    request = source.build()
    with pytest.raises(MedshardError) as caught:
        export_nnunet(request)
    assert caught.value.code == "export.no_labels"
    assert not list(request.output.iterdir())


@needs_nnunet
def test_the_integrity_check_of_nnunet_passes(tmp_path: Path) -> None:
    plain = Source(tmp_path / "plain")
    for number, case in enumerate("ab"):
        plain.add_case(case, organs(number))
    made = [
        export_nnunet(request)
        for request in (plain.build(), overlapping(tmp_path / "over"), pictures(tmp_path / "png"))
    ]
    made.append(export_nnunet(replace(overlapping(tmp_path / "exact"), exact=True)))
    script = tmp_path / "check.py"
    script.write_text(CHECK)
    run = subprocess.run(
        [os.environ["MEDSHARD_PEERS"], str(script), *map(str, made)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    assert run.stdout.count("verify_dataset_integrity Done") == len(made)
    assert "Error" not in run.stdout
    assert "Warning" not in run.stdout
