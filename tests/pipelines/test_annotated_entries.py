"""Entries whose annotations stand in tables: what each case gets, and what a bad table or row costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_builds import built, catalog_of, faults, volume_of
from PIL import Image as Pillow

from medshard.errors import CatalogError, SplitError
from medshard.loaders.shard_reader import SampleIndex
from medshard.pipelines.build import build
from medshard.registry.store import Store

RNG = np.random.default_rng(11)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def save_picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(RNG.integers(0, 255, (20, 24), np.uint8)).save(path)


def group(**fields: Any) -> dict[str, Any]:
    return {"images": {"film": {"path": "films/{case}.png"}}, "modality": "X-ray", **fields}


FINDINGS = {
    "kind": "class-table",
    "path": "labels.csv",
    "key": "{case}.png",
    "key_column": "image",
    "column": "findings",
    "separator": "|",
    "values": {"Mass": "lung mass", "Effusion": "pleural effusion", "Normal": "normal"},
}


def states_of(results: Any, store: Store, case: str) -> dict[str, str]:
    rows = volume_of(results, store, case).annotations["findings"].table.to_pylist()
    return {row["concept"]: row["state"] for row in rows}


def test_a_table_for_all_cases_is_dealt_out_by_its_key(source: Path, store: Store) -> None:
    for case in ("a", "b"):
        save_picture(source / f"films/{case}.png")
    (source / "labels.csv").write_text("image,findings\na.png,Mass|Effusion\nb.png,Normal\n")
    results = built(source, group(annotations={"findings": FINDINGS}), store)
    assert states_of(results, store, "a") == {"lung mass": "present", "pleural effusion": "present", "normal": "absent"}
    assert states_of(results, store, "b") == {"lung mass": "absent", "pleural effusion": "absent", "normal": "present"}
    assert faults(results, "a") == []


def test_a_case_without_a_row_keeps_its_image_and_loses_supervision(source: Path, store: Store) -> None:
    for case in ("a", "b"):
        save_picture(source / f"films/{case}.png")
    (source / "labels.csv").write_text("image,findings\na.png,Mass\n")
    results = built(source, group(annotations={"findings": FINDINGS}), store)
    assert faults(results, "b") == ["annotation.no_row"]
    record = results["cases"].manifest.record("b")
    assert record is not None
    assert record.fit_for("self-supervised")
    assert not record.fit_for("supervised")
    assert volume_of(results, store, "b").annotations == {}


def test_a_word_that_the_entry_does_not_know_is_named(source: Path, store: Store) -> None:
    save_picture(source / "films/a.png")
    save_picture(source / "films/b.png")
    (source / "labels.csv").write_text("image,findings\na.png,Mass|Hernia\nb.png,Mass\n")
    results = built(source, group(annotations={"findings": FINDINGS}), store)
    record = results["cases"].manifest.record("a")
    assert record is not None
    (fault,) = record.facts["faults"]
    assert fault["code"] == "annotation.unknown_values"
    assert "Hernia" in fault["reason"]
    assert faults(results, "b") == []


def test_a_table_that_cannot_be_read_costs_its_annotation_and_nothing_else(source: Path, store: Store) -> None:
    save_picture(source / "films/a.png")
    (source / "labels.csv").write_text('image,findings\na.png,"Mass\n')
    (source / "grades.csv").write_text("image,grade\na,2\n")
    grade = {"kind": "score-table", "path": "grades.csv", "key_column": "image", "column": "grade"}
    annotations = {"findings": FINDINGS, "grade": grade}
    results = built(source, group(annotations=annotations), store, inclusion={"most_excluded": 1.0})
    assert len(faults(results, "a")) == 1
    volume = volume_of(results, store, "a")
    assert volume.annotations["grade"].table["value"].to_pylist() == [2.0]
    assert "findings" not in volume.annotations


def test_boxes_reach_the_shards_in_pixels_of_the_image(source: Path, store: Store) -> None:
    save_picture(source / "films/a.png")
    save_picture(source / "films/b.png")
    (source / "boxes.csv").write_text("image,x,y,width,height\na.png,3,5,4,2\n")
    boxes = {
        "kind": "boxes",
        "path": "boxes.csv",
        "format": "csv",
        "key": "{case}.png",
        "key_column": "image",
        "values": {"nodule": "lung nodule"},
    }
    spec = group(annotations={"boxes": boxes})
    built(source, spec, store)
    build(store, "made-entry", catalog=catalog_of(source, spec))
    index = SampleIndex.open(store, "made-entry")
    (row,) = index.read_rows(index.find("a"), "annotations/boxes").to_pylist()
    assert (row["x_min"], row["x_max"], row["y_min"], row["y_max"]) == (2.5, 6.5, 4.5, 6.5)
    assert row["concept"] == "lung nodule"
    assert index.find("a").contents["annotations"]["boxes"]["image"] == "film"
    assert index.read_rows(index.find("b"), "annotations/boxes").num_rows == 0  # nothing was found on b


def test_run_lengths_tell_nothing_found_from_never_looked_at(source: Path, store: Store) -> None:
    """The form of SIIM-ACR: -1 in the row of a film without a finding; a film without a row was not read."""
    for case in ("found", "healthy", "unread"):
        save_picture(source / f"films/{case}.png")
    (source / "runs.csv").write_text("ImageId, EncodedPixels\nfound, 21 3 1 2\nhealthy, -1\n")
    masks = {
        "kind": "contours",
        "path": "runs.csv",
        "format": "csv",
        "runs": "relative",
        "key_column": "ImageId",
        "values": {"EncodedPixels": "pneumothorax"},
        "examined": ["pneumothorax"],
    }
    results = built(source, group(annotations={"masks": masks}), store)
    assert np.argwhere(volume_of(results, store, "found").labels["masks"].array[0, 0].T).tolist() == [
        [1, 1], [1, 2], [1, 3], [1, 5], [1, 6],
    ]  # fmt: skip
    healthy = volume_of(results, store, "healthy").labels["masks"]
    assert (healthy.examined, healthy.array.any()) == (("pneumothorax",), False)
    assert "masks" not in volume_of(results, store, "unread").labels
    assert "annotation.no_row" in faults(results, "unread")


def test_patients_out_of_a_table_join_their_cases(source: Path, store: Store) -> None:
    for case in ("a", "b", "c"):
        save_picture(source / f"films/{case}.png")
    (source / "people.csv").write_text("file,person\na,P1\nb,P1\nc,P2\n")
    patient = {"path": "people.csv", "key_column": "file", "column": "person"}
    results = built(source, group(patient=patient), store)
    people = {record.case: record.facts["patient"] for record in results["cases"].manifest.good}
    assert people == {"a": "P1", "b": "P1", "c": "P2"}


def test_a_case_whose_patient_nobody_knows_is_no_case(source: Path, store: Store) -> None:
    for case in ("a", "b", "c"):
        save_picture(source / f"films/{case}.png")
    (source / "people.csv").write_text("file,person\na,P1\nb,P1\n")
    patient = {"path": "people.csv", "key_column": "file", "column": "person"}
    results = built(source, group(patient=patient), store)
    record = results["cases"].manifest.record("c")
    assert record is not None
    assert record.error is not None
    assert record.error["code"] == "patient.missing"
    assert results["volumes"].manifest.record("c") is None


def test_without_the_table_of_patients_nothing_is_built(source: Path, store: Store) -> None:
    save_picture(source / "films/a.png")
    patient = {"path": "people.csv", "key_column": "file", "column": "person"}
    with pytest.raises(CatalogError, match="patient"):
        built(source, group(patient=patient), store)


def test_splits_out_of_lists_are_counted(source: Path, store: Store) -> None:
    for case in ("a", "b", "c"):
        save_picture(source / f"films/{case}.png")
    (source / "train.txt").write_text("a.png\nb.png\n")
    (source / "test.txt").write_text("c.png\n")
    split = {"files": {"train": "train.txt", "test": "test.txt"}, "key": "{case}.png"}
    results = built(source, group(split=split), store)
    assert results["cases"].details["shipped_split"] == {"test": 1, "train": 2}


def test_splits_out_of_the_column_of_a_table(source: Path, store: Store) -> None:
    for case in ("a", "b", "c"):
        save_picture(source / f"films/{case}.png")
    (source / "split.csv").write_text("image,part\na,train\nb,validate\nb,validate\n")
    split = {
        "path": "split.csv",
        "key_column": "image",
        "column": "part",
        "values": {"train": "train", "validate": "validation"},
    }
    results = built(source, group(split=split), store)
    assert results["cases"].details["shipped_split"] == {"train": 1, "validation": 1}
    assert "1 cases have no part" in results["cases"].details["warnings_of_tables"][0]
    (source / "split.csv").write_text("image,part\na,train\na,validate\n")
    with pytest.raises(SplitError, match="two parts"):
        built(source, group(split=split), store)


def test_a_changed_row_validates_its_table_s_cases_again(source: Path, store: Store) -> None:
    save_picture(source / "films/a.png")
    (source / "labels.csv").write_text("image,findings\na.png,Mass\n")
    spec = group(annotations={"findings": FINDINGS})
    assert states_of(built(source, spec, store), store, "a")["lung mass"] == "present"
    (source / "labels.csv").write_text("image,findings\na.png,Normal\n")
    assert states_of(built(source, spec, store), store, "a")["lung mass"] == "absent"


def test_masks_in_a_palette_in_the_opacity_and_in_the_first_channel_of_a_picture(source: Path, store: Store) -> None:
    """Read as colours both would be something else: the palette shows no class number, the colours are all black."""
    shape = np.zeros((20, 24), np.uint8)
    shape[3:9, 5:11] = 1
    for case in ("a", "b"):
        save_picture(source / f"films/{case}.png")
        indexed = Pillow.fromarray(shape * 2, "P")
        indexed.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        indexed.save(source / f"films/{case}_class.bmp" if case == "b" else source / f"films/{case}_class.png")
        opaque = Pillow.fromarray(np.dstack([shape * 0, shape * 0, shape * 0, shape * 255]), "RGBA")
        opaque.save(source / f"films/{case}_alpha.png")
        numbered = Pillow.fromarray(np.dstack([shape * 2, shape * 7, shape * 9]), "RGB")
        numbered.save(source / f"films/{case}_red.png")
    labels = {
        "classes": {"path": "films/{case}_class.*", "classes": {2: "lung nodule"}, "drawn_in": "palette"},
        "drawn": {"path": "films/{case}_alpha.png", "classes": {1: "lung nodule"}, "threshold": 1, "drawn_in": "alpha"},
        "first": {"path": "films/{case}_red.png", "classes": {2: "lung nodule"}, "drawn_in": "red"},
    }
    results = built(source, group(labels=labels, where={"case": "[ab]"}), store)
    for case in ("a", "b"):
        assert faults(results, case) == []
        found = volume_of(results, store, case).labels
        np.testing.assert_array_equal(found["classes"].array[0, 0], shape * 2)
        np.testing.assert_array_equal(found["drawn"].array[0, 0], shape)
        np.testing.assert_array_equal(found["first"].array[0, 0], shape * 2)
