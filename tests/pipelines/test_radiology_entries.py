"""Entries as hospitals and challenges lay them out: built from files to volumes, each looked at in the store."""

from __future__ import annotations

from pathlib import Path

import made_dicom
import nibabel as nib
import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest
from made_builds import built, catalog_of, faults, volume_of
from made_segments import SHAPE as SERIES_SHAPE
from made_segments import ct_series, write_seg

from medshard.loaders.shard_reader import SampleIndex
from medshard.pipelines.build import build
from medshard.registry.identifiers import read_identifiers
from medshard.registry.store import Store

AFFINE = np.array([[0.0, 0, -0.8, 20], [0, -0.6, 0, 15], [2.5, 0, 0, -310], [0, 0, 0, 1]])
NIFTI_AFFINE = np.diag([0.8, 0.6, 2.5, 1.0])
SHAPE = (7, 20, 24)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def save_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray = NIFTI_AFFINE) -> None:
    """(z, y, x) or (t, z, y, x) voxels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels.T if voxels.ndim == 3 else voxels.transpose(3, 2, 1, 0), affine), path)


def test_a_dicom_series_with_its_segmentation(source: Path, store: Store) -> None:
    headers = ct_series(source / "p1" / "ct", AFFINE)
    pixels = np.zeros((*SERIES_SHAPE, 2), bool)
    pixels[2:4, 3:9, 4:10, 0] = True
    pixels[3:6, 12:15, 4:10, 1] = True
    (source / "p1" / "seg").mkdir()
    write_seg(source / "p1" / "seg" / "seg.dcm", headers, pixels, ["Organ A", "Organ B"])
    group = {
        "images": {"ct": {"path": "{case}/ct/*.dcm"}},
        "labels": {
            "organs": {
                "path": "{case}/seg/seg.dcm",
                "classes": {1: "liver", 2: "spleen"},
                "names": {1: "Organ A", 2: "Organ B"},
            }
        },
    }
    results = built(source, group, store)
    volume = volume_of(results, store, "p1")
    layer = volume.labels["organs"]
    assert layer.classes == {1: "liver", 2: "spleen"}
    assert faults(results, "p1") == []
    # The volume is canonical; corner to corner the mask lies where it was written.
    assert layer.shape == volume.images["ct"].shape == SERIES_SHAPE
    assert int((layer.array == 1).sum()) == pixels[..., 0].sum()
    assert np.allclose(layer.affine, volume.images["ct"].affine)
    marked = np.argwhere(layer.array[0] == 1)[0]
    place = layer.affine @ [*marked, 1]
    inverse = np.linalg.inv(AFFINE) @ place
    z, y, x = (round(v) for v in inverse[:3])
    assert pixels[z, y, x, 0]
    assert volume.images["ct"].rescale.unit == "HU"


def test_an_rtstruct_in_the_layout_becomes_masks(source: Path, store: Store) -> None:
    headers = ct_series(source / "p1" / "ct", AFFINE)
    corners = [(4, 5), (12, 5), (12, 11), (4, 11)]  # (x, y) in pixels
    contours = []
    for z in (2, 3, 4):
        position = np.array(headers[z].ImagePositionPatient, float)
        row, column = np.array(headers[z].ImageOrientationPatient, float).reshape(2, 3)
        dy, dx = (float(v) for v in headers[z].PixelSpacing)
        points = [position + row * dx * (x + 0.01) + column * dy * (y + 0.01) for x, y in corners]
        contours.append(
            made_dicom.item(
                ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints=4,
                ContourData=[round(float(v), 6) for point in points for v in point],
            )
        )
    plan = made_dicom.frames(made_dicom.planes(1))[0]
    for keyword in ("PixelData", "Rows", "Columns"):
        del plan[keyword]
    plan.SOPClassUID = plan.file_meta.MediaStorageSOPClassUID = pydicom.uid.RTStructureSetStorage
    plan.Modality = "RTSTRUCT"
    plan.StructureSetROISequence = [made_dicom.item(ROINumber=7, ROIName="GTV left")]
    plan.ROIContourSequence = [made_dicom.item(ReferencedROINumber=7, ContourSequence=contours)]
    made_dicom.write([plan], source / "p1", prefix="plan")
    group = {
        "images": {"ct": {"path": "{case}/ct/*.dcm"}},
        "annotations": {
            "targets": {"kind": "contours", "format": "rtstruct", "path": "{case}/plan-*.dcm",
                        "values": {"GTV left": "lesion"}}
        },
    }  # fmt: skip
    volume = volume_of(built(source, group, store), store, "p1")
    layer = volume.labels["targets"]
    assert layer.classes == {1: "lesion"}
    assert np.unique(np.argwhere(layer.array[0])[:, 0]).size == 3
    assert int(layer.array.sum()) == 3 * 8 * 6


def test_a_folder_with_a_localiser_and_two_series_asks_which_is_meant(source: Path, store: Store) -> None:
    arterial = made_dicom.frames(made_dicom.planes(4), series="a", number=2, SeriesDescription="arterial")
    venous = made_dicom.frames(made_dicom.planes(4, start=500), series="b", number=3, SeriesDescription="venous")
    scout = made_dicom.frames(
        made_dicom.planes(1), series="c", number=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        orientation=(0, 1, 0, 0, 0, -1),
    )  # fmt: skip
    for prefix, series in (("x", arterial), ("y", venous), ("z", scout)):
        made_dicom.write(series, source / "p1", prefix=prefix)
    both = build(
        store, "made-entry", to="cases", catalog=catalog_of(source, {"images": {"ct": {"path": "{case}/*.dcm"}}})
    )
    (record,) = both[-1].manifest.records
    assert record.error is not None
    assert record.error["code"] == "dicom.several_series"
    assert "select" in record.error["action"]
    group = {"images": {"ct": {"path": "{case}/*.dcm", "select": {"SeriesDescription": "VEN*"}}}}
    volume = volume_of(built(source, group, store), store, "p1")
    assert sorted(np.unique(volume.images["ct"].array))[0] == 500


def test_demographics_are_coarse_and_identifiers_hashed_beside_the_manifest(source: Path, store: Store) -> None:
    facts = {
        "PatientSex": "F", "PatientAge": "067Y", "InstitutionName": "St Elsewhere", "Manufacturer": "SIEMENS",
        "ManufacturerModelName": "Sensation 64",
    }  # fmt: skip
    made_dicom.write(made_dicom.frames(made_dicom.planes(4), **facts), source / "p1")
    results = built(source, {"images": {"ct": {"path": "{case}/*.dcm"}}}, store)
    table = pq.read_table(store.path(results["cases"].head.attachments["table"])).to_pylist()
    (row,) = table
    assert (row["sex"], row["age_band"]) == ("F", "60-69")
    assert row["site"].startswith("site-")
    assert row["manufacturer"] is not None
    identifiers = read_identifiers(store, "made-entry", "p1")
    assert identifiers is not None
    kept = str(identifiers) + str(results["cases"].manifest.records) + str(table)
    assert "St Elsewhere" not in kept
    assert made_dicom.uid("series") not in kept


def test_one_file_per_class_and_per_rater(source: Path, store: Store) -> None:
    save_nifti(source / "p1" / "ct.nii.gz", np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE))
    for name, start in (("hepar", 2), ("lien", 10)):
        mask = np.zeros(SHAPE, np.uint8)
        mask[2:5, start : start + 4, 3:9] = 255
        save_nifti(source / "p1" / "masks" / f"{name}.nii.gz", mask)
    for rater in ("anna", "bert"):
        mask = np.zeros(SHAPE, np.uint8)
        mask[3, 5:7, 5 : 7 + len(rater)] = 1
        save_nifti(source / "p1" / f"lesion_{rater}.nii.gz", mask)
    group = {
        "images": {"ct": {"path": "{case}/ct.nii.gz"}},
        "labels": {
            "organs": {"path": "{case}/masks/{class}.nii.gz", "threshold": 128, "classes": {1: "liver", 2: "spleen"},
                       "names": {1: "hepar", 2: "lien"}},
            "lesions": {"path": "{case}/lesion_{rater}.nii.gz", "classes": {1: "lesion"}},
        },
    }  # fmt: skip
    volume = volume_of(built(source, group, store), store, "p1")
    assert sorted(volume.labels) == ["lesions-anna", "lesions-bert", "organs"]
    assert [volume.labels[f"lesions-{rater}"].rater for rater in ("anna", "bert")] == ["anna", "bert"]
    assert np.unique(volume.labels["organs"].array).tolist() == [0, 1, 2]


def test_four_channels_of_one_file_and_an_image_that_may_be_missing(source: Path, store: Store) -> None:
    stack = np.arange(4 * np.prod(SHAPE), dtype=np.int16).reshape(4, *SHAPE)
    save_nifti(source / "p1.nii.gz", stack)
    save_nifti(source / "p2.nii.gz", stack)
    save_nifti(source / "p2_adc.nii.gz", stack[0])
    group = {
        "modality": "MR",
        "images": {
            "mr": {"path": "{case}.nii.gz", "channels": ["FLAIR", "T1", "T1C", "T2"]},
            "adc": {"path": "{case}_adc.nii.gz", "sequence": "ADC", "optional": True},
        },
        "where": {"case": "p[0-9]"},
    }
    results = built(source, group, store)
    assert volume_of(results, store, "p1").images["mr"].array.shape == (4, *SHAPE)
    assert sorted(volume_of(results, store, "p1").images) == ["mr"]
    assert sorted(volume_of(results, store, "p2").images) == ["adc", "mr"]


def test_a_label_finds_the_image_that_it_was_drawn_on(source: Path, store: Store) -> None:
    save_nifti(source / "p1_ct.nii.gz", np.zeros(SHAPE, np.int16))
    pet = np.diag([2.0, 2.0, 5.0, 1.0])
    save_nifti(source / "p1_pet.nii.gz", np.ones((4, 8, 9), np.float32) / 3, pet)
    mask = np.zeros((4, 8, 9), np.uint8)
    mask[1:3, 2:4, 2:4] = 1
    save_nifti(source / "p1_mask.nii.gz", mask, pet)
    group = {
        "images": {"ct": {"path": "{case}_ct.nii.gz"},
                   "pet": {"path": "{case}_pet.nii.gz", "modality": "PT", "unit": "SUVbw"}},
        "labels": {"lesion": {"path": "{case}_mask.nii.gz", "classes": {1: "lesion"}}},
    }  # fmt: skip
    results = built(source, group, store)
    record = results["cases"].manifest.record("p1")
    assert record is not None
    assert record.facts["labels"]["lesion"]["image"] == "pet"
    volume = volume_of(results, store, "p1")
    assert volume.labels["lesion"].shape == (4, 8, 9)
    assert volume.images["pet"].rescale.unit == "SUVbw"


def test_a_pet_series_is_in_suv_or_says_what_it_lacks(source: Path, store: Store) -> None:
    made_dicom.write(made_dicom.frames(made_dicom.planes(4), modality="PT"), source / "good")
    made_dicom.write(made_dicom.frames(made_dicom.planes(4), modality="PT", PatientWeight=None), source / "bad")
    group = {"modality": "PT", "images": {"pet": {"path": "{case}/*.dcm"}}}
    results = built(source, group, store)
    assert volume_of(results, store, "good").images["pet"].rescale.unit == "SUVbw"
    assert volume_of(results, store, "bad").images["pet"].rescale.unit == "BQML"
    record = results["cases"].manifest.record("bad")
    assert record is not None
    assert any("(0010,1030)" in warning for warning in record.warnings)


def test_an_entry_that_asks_for_suv_excludes_what_has_none(source: Path, store: Store) -> None:
    made_dicom.write(made_dicom.frames(made_dicom.planes(4), modality="PT", PatientWeight=None), source / "bad")
    group = {"modality": "PT", "images": {"pet": {"path": "{case}/*.dcm", "unit": "SUVbw"}}}
    results = built(source, group, store)
    (record,) = results["volumes"].manifest.records
    assert record.error is not None
    assert record.error["code"] == "image.unit"


def test_what_nobody_judged_is_kept_in_volumes_and_in_shards(source: Path, store: Store) -> None:
    save_nifti(source / "p1_ct.nii.gz", np.zeros(SHAPE, np.int16))
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:3, 2:4, 2:4] = 1
    mask[5] = 255
    save_nifti(source / "p1_mask.nii.gz", mask)
    group = {
        "images": {"ct": {"path": "{case}_ct.nii.gz"}},
        "labels": {"lesion": {"path": "{case}_mask.nii.gz", "classes": {1: "lesion"}, "ignore": [255]}},
    }
    results = built(source, group, store)
    layer = volume_of(results, store, "p1").labels["lesion"]
    assert layer.ignore == (255,)
    assert int((layer.array == 255).sum()) == SHAPE[1] * SHAPE[2]
    assert faults(results, "p1") == []
    build(store, "made-entry", catalog=catalog_of(source, group))
    index = SampleIndex.open(store, "made-entry")
    row = index.row(0)
    assert row.labels["lesion"].ignore == (255,)
    assert int((index.read_array(row, "labels/lesion") == 255).sum()) == SHAPE[1] * SHAPE[2]


def test_a_pyramid_where_the_entry_asks_for_one(source: Path, store: Store) -> None:
    save_nifti(source / "p1.nii.gz", np.zeros((32, 40, 48), np.int16) + 5)
    results = built(source, {"images": {"ct": {"path": "{case}.nii.gz"}}}, store, pyramid_levels=2)
    record = results["volumes"].manifest.record("p1")
    assert record is not None
    assert record.output is not None
    levels = sorted(path.name for path in (store.path(record.output) / "images" / "ct").iterdir() if path.is_dir())
    assert levels == ["0", "1", "2"]


def test_a_raters_bad_file_leaves_the_others_layer(source: Path, store: Store) -> None:
    save_nifti(source / "p1" / "ct.nii.gz", np.zeros(SHAPE, np.int16))
    mask = np.zeros(SHAPE, np.uint8)
    mask[3, 5:7, 5:9] = 1
    save_nifti(source / "p1" / "lesion_anna.nii.gz", mask)
    (source / "p1" / "lesion_bert.nii.gz").write_bytes(b"no image at all")
    group = {
        "images": {"ct": {"path": "{case}/ct.nii.gz"}},
        "labels": {"lesions": {"path": "{case}/lesion_{rater}.nii.gz", "classes": {1: "lesion"}}},
    }
    results = built(source, group, store, inclusion={"most_excluded": 1.0})
    assert sorted(volume_of(results, store, "p1").labels) == ["lesions-anna"]
    record = results["cases"].manifest.record("p1")
    assert record is not None
    assert record.facts["labels"]["lesions-bert"]["usable"] is False
    assert faults(results, "p1") == ["read.unknown_format"]


@pytest.mark.parametrize("flipped", [False, True])
def test_a_mask_that_looks_turned_is_a_warning_of_the_volume(source: Path, store: Store, flipped: bool) -> None:
    mask = np.zeros((16, 80, 96), np.uint8)
    mask[1:6, 4:30, 5:40] = 1
    noise = np.random.default_rng(3).integers(-20, 20, mask.shape)
    save_nifti(source / "p1_ct.nii.gz", (noise + 400 * mask.astype(int)).astype(np.int16))
    save_nifti(source / "p1_mask.nii.gz", mask[:, ::-1] if flipped else mask)
    group = {
        "images": {"ct": {"path": "{case}_ct.nii.gz"}},
        "labels": {"lesion": {"path": "{case}_mask.nii.gz", "classes": {1: "lesion"}}},
    }
    record = built(source, group, store)["volumes"].manifest.record("p1")
    assert record is not None
    assert record.output is not None
    assert [warning[:49] for warning in record.warnings] == (
        ["label layer lesion on image ct: the mask looks tu"] if flipped else []
    )


def test_foreground_does_not_count_what_nobody_judged(source: Path, store: Store) -> None:
    save_nifti(source / "p1_ct.nii.gz", np.zeros(SHAPE, np.int16))
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:3, 2:4, 2:4] = 1
    mask[5] = 255
    save_nifti(source / "p1_mask.nii.gz", mask)
    group = {
        "images": {"ct": {"path": "{case}_ct.nii.gz"}},
        "labels": {"lesion": {"path": "{case}_mask.nii.gz", "classes": {1: "lesion"}, "ignore": [255]}},
    }
    results = built(source, group, store)
    (row,) = pq.read_table(store.path(results["cases"].head.attachments["table"])).to_pylist()
    assert row["foreground_voxels"] == 8


def test_a_name_that_no_file_has_is_said_of_the_entry_and_serves_no_supervision(source: Path, store: Store) -> None:
    headers = ct_series(source / "p1" / "ct", AFFINE)
    pixels = np.zeros((*SERIES_SHAPE, 1), bool)
    pixels[2:4, 3:9, 4:10, 0] = True
    write_seg(source / "p1" / "seg.dcm", headers, pixels, ["Organ A"])
    group = {
        "images": {"ct": {"path": "{case}/ct/*.dcm"}},
        "labels": {"organs": {"path": "{case}/seg.dcm", "classes": {1: "liver"}, "names": {1: "Leber"}}},
    }
    cases = built(source, group, store)["cases"]
    assert cases.details["classes_of_no_case"] == ["organs 1 (liver)"]
    (record,) = cases.manifest.records
    assert not record.fit_for("supervised")
    assert record.fit_for("self-supervised")


def test_a_label_fault_says_which_file_and_how_far(source: Path, store: Store) -> None:
    save_nifti(source / "p1_ct.nii.gz", np.zeros(SHAPE, np.int16))
    moved = NIFTI_AFFINE.copy()
    moved[0, 3] = 5
    save_nifti(source / "p1_mask.nii.gz", np.ones(SHAPE, np.uint8), moved)
    group = {
        "images": {"ct": {"path": "{case}_ct.nii.gz"}},
        "labels": {"lesion": {"path": "{case}_mask.nii.gz", "classes": {1: "lesion"}}},
    }
    (record,) = build(store, "made-entry", to="cases", catalog=catalog_of(source, group))[-1].manifest.records
    (fault,) = [fault for fault in record.facts["faults"] if fault["code"] == "geometry.shift"]
    assert "5.000 mm" in fault["reason"]
    assert "p1_mask.nii.gz" in fault["reason"]
