"""BIDS data sets, held against the rules of the standard that the files of this export are subject to."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from made_exports import GROUP, OBLIQUE, SIZE, Source, organs

from medshard.converters.volume import Image
from medshard.pipelines.exporting.bids import export_bids
from medshard.pipelines.exporting.bids_names import bids_name, sidecar

# Of BIDS 1.10.0, schema/rules/files/raw: entities of anatomical and diffusion images in their order.
LABEL = "[a-zA-Z0-9]+"
ENTITIES = rf"(_acq-{LABEL})?(_ce-{LABEL})?(_run-[0-9]+)?"
IMAGE = re.compile(
    rf"(?P<sub>sub-{LABEL})(/(?P<ses>ses-{LABEL}))?/"
    rf"(anat/(?P=sub)(_(?P=ses))?{ENTITIES}_(T1w|T2w|FLAIR|PDw|T2starw|angio)\.(nii\.gz|json)"
    rf"|dwi/(?P=sub)(_(?P=ses))?{ENTITIES}_dwi\.(nii\.gz|json|bval|bvec))"
)
IMAGE_WITHOUT_SESSION = re.compile(
    rf"(?P<sub>sub-{LABEL})/"
    rf"(anat/(?P=sub){ENTITIES}_(T1w|T2w|FLAIR|PDw|T2starw|angio)\.(nii\.gz|json)"
    rf"|dwi/(?P=sub){ENTITIES}_dwi\.(nii\.gz|json|bval|bvec))"
)
TOP = {"dataset_description.json", "README.md", "participants.tsv", "participants.json", ".bidsignore"}
SEGMENTATION = re.compile(rf"sub-{LABEL}(_ses-{LABEL})?{ENTITIES}_desc-{LABEL}_(dseg|probseg)\.(nii\.gz|tsv|json)")


def mr(home: Path, **sequences: str) -> Source:
    images = {name: {"path": f"{{case}}_{name}.nii", "sequence": word} for name, word in sequences.items()}
    return Source(home, group={**GROUP, "modality": "MR", "images": images})


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def check_rules(root: Path) -> None:
    """Every file is one of the standard's, or named by `.bidsignore`; documents have what is required."""
    ignored = (root / ".bidsignore").read_text().split()
    folders = {line.rstrip("/") for line in ignored if line.endswith("/")}
    for path in (path for path in root.rglob("*") if path.is_file()):
        place = path.relative_to(root)
        if place.parts[0] == "derivatives":
            assert path.name == "dataset_description.json" or SEGMENTATION.fullmatch(path.name), place
        elif not (folders & set(place.parts) or place.name in ignored or place.as_posix() in TOP):
            assert IMAGE.fullmatch(place.as_posix()) or IMAGE_WITHOUT_SESSION.fullmatch(place.as_posix()), place
        if path.name.endswith("_dwi.nii.gz"):
            stem = path.name.removesuffix(".nii.gz")
            assert path.with_name(f"{stem}.bval").is_file()
            assert path.with_name(f"{stem}.bvec").is_file()
        if path.suffix == ".json":
            json.loads(path.read_text())
    for folder in (root, *root.glob("derivatives/*")):
        described = json.loads((folder / "dataset_description.json").read_text())
        assert {"Name", "BIDSVersion", "License", "DatasetType"} <= described.keys()
        assert folder == root or described["GeneratedBy"][0]["Name"]
    people = rows_of(root / "participants.tsv")
    assert {row["participant_id"] for row in people} == {path.name for path in root.glob("sub-*")}
    assert all(value for row in people for value in row.values())


def test_images_have_the_names_of_their_sequences(tmp_path: Path) -> None:
    source = mr(tmp_path, t1="T1", gd="T1C", t2="T2", flair="FLAIR", b0="DWI-b0")
    voxels = np.arange(np.prod(SIZE), dtype=np.int16).reshape(SIZE)
    for name in ("t1", "gd", "t2", "flair", "b0"):
        source.add(f"a_{name}", voxels)
    source.add("a_organs", organs())
    request = source.build()
    export_bids(request)
    check_rules(request.output)
    found = {path.relative_to(request.output).as_posix() for path in request.output.glob("sub-*/*/*.nii.gz")}
    assert found == {
        "sub-a/anat/sub-a_T1w.nii.gz",
        "sub-a/anat/sub-a_ce-contrast_T1w.nii.gz",
        "sub-a/anat/sub-a_T2w.nii.gz",
        "sub-a/anat/sub-a_FLAIR.nii.gz",
        "sub-a/dwi/sub-a_acq-b0_dwi.nii.gz",
    }
    image = nib.load(request.output / "sub-a/anat/sub-a_T1w.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), voxels)
    np.testing.assert_allclose(image.affine, OBLIQUE, atol=1e-5)


def test_images_of_one_sequence_are_runs(tmp_path: Path) -> None:
    source = mr(tmp_path, first="T2", second="T2")
    for name in ("first", "second"):
        source.add(f"a_{name}", np.ones(SIZE, np.int16))
    request = source.build()
    export_bids(request)
    check_rules(request.output)
    assert len(list(request.output.glob("sub-a/anat/sub-a_run-[12]_T2w.nii.gz"))) == 2


def test_labels_are_a_derivative_with_their_own_values(tmp_path: Path) -> None:
    source = mr(tmp_path, t1="T1")
    mask = organs()
    source.add("a_t1", np.ones(SIZE, np.int16))
    source.add("a_organs", mask)
    request = source.build()
    export_bids(request)
    check_rules(request.output)
    stem = request.output / "derivatives/medshard/sub-a/anat/sub-a_desc-organs_dseg"
    np.testing.assert_array_equal(np.asanyarray(nib.load(f"{stem}.nii.gz").dataobj), mask)
    assert [(row["index"], row["name"]) for row in rows_of(Path(f"{stem}.tsv"))] == [
        ("0", "background"),
        ("1", "liver"),
        ("2", "kidney"),
    ]
    beside = json.loads(Path(f"{stem}.json").read_text())
    assert beside["Sources"] == ["bids::sub-a/anat/sub-a_T1w.nii.gz"]
    assert beside["Examined"] == ["liver", "kidney"]


def test_cases_of_one_patient_are_sessions(tmp_path: Path) -> None:
    group = {**mr(tmp_path, t1="T1").group, "case": "{patient}_{visit}", "patient": "{patient}"}
    group["images"] = {"t1": {"path": "{patient}_{visit}_t1.nii", "sequence": "T1"}}
    del group["labels"]
    source = Source(tmp_path, group=group)
    for name in ("p1_v1", "p1_v2", "p2_v1"):
        source.add(f"{name}_t1", np.ones(SIZE, np.int16))
    request = source.build()
    export_bids(request)
    check_rules(request.output)
    assert len(list(request.output.glob("sub-p1/ses-*/anat/*.nii.gz"))) == 2
    assert len(rows_of(request.output / "participants.tsv")) == 2


def test_what_bids_has_no_name_for_is_written_ignored_and_said(tmp_path: Path) -> None:
    source = Source(tmp_path)
    source.add_case("a", organs())
    request = source.build()
    export_bids(request)
    check_rules(request.output)
    assert (request.output / "sub-a/ct/sub-a_ct.nii.gz").is_file()
    assert "ct/" in (request.output / ".bidsignore").read_text().split()
    assert any("BEP 24" in note for note in json.loads((request.output / "export.json").read_text())["notes"])


def test_equal_requests_have_equal_bytes(tmp_path: Path) -> None:
    source = Source(tmp_path)
    source.add_case("a", organs())
    request = source.build()
    again = tmp_path / "again"
    export_bids(request)
    export_bids(replace(request, output=again))
    for path in (path for path in request.output.rglob("*") if path.is_file()):
        assert path.read_bytes() == (again / path.relative_to(request.output)).read_bytes()


@pytest.mark.parametrize(
    ("fields", "datatype", "official"),
    [
        ({"modality": "MR", "sequence": "T1"}, "anat", True),
        ({"modality": "MR"}, "other", False),
        ({"modality": "MR", "sequence": "LGE"}, "other", False),
        ({"modality": "PT"}, "pet", False),
        ({"modality": "CTA"}, "ct", False),
        ({"modality": "US"}, "other", False),
    ],
)
def test_only_what_the_standard_has_is_official(fields: dict[str, Any], datatype: str, official: bool) -> None:
    name = bids_name(Image(array=np.zeros((1, 2, 2, 2)), affine=np.eye(4), **fields), "")
    assert (name.datatype, name.official) == (datatype, official)


def test_times_of_the_sidecar_are_seconds() -> None:
    image = Image(array=np.zeros((1, 2, 2, 2)), affine=np.eye(4), attributes={"EchoTime": 4.6, "FlipAngle": 12})
    assert sidecar(image) == {"EchoTime": 0.0046, "FlipAngle": 12.0}
