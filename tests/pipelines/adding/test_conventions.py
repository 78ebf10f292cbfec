"""Trees that follow a convention, written by its rules: the draft finds its cases, images, masks, labels and parts."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_drafts import drafted
from trees.dicom_files import write_series
from trees.phantom import Phantom
from trees.picture_files import write_picture
from trees.table_files import write_json, write_lines, write_table
from trees.tree import Tree
from trees.voxel_files import write_nifti

from medshard.registry.vocabulary import PatientBasis, SplitName, Task

SHAPE = (6, 24, 24)


@pytest.fixture
def root(tmp_path: Path) -> Tree:
    (tmp_path / "data").mkdir()
    return Tree(tmp_path / "data")


def test_nnunet_with_two_channels(root: Tree) -> None:
    for number in range(1, 5):
        body = Phantom(str(number), SHAPE, values=(1, 2))
        for channel in ("0000", "0001"):
            write_nifti(root / f"imagesTr/PROS_{number:03d}_{channel}.nii.gz", body.mr())
        write_nifti(root / f"labelsTr/PROS_{number:03d}.nii.gz", body.labels)
    for channel in ("0000", "0001"):
        write_nifti(root / f"imagesTs/PROS_{9:03d}_{channel}.nii.gz", Phantom("9", SHAPE).mr())
    names = {"background": 0, "peripheral zone": 1, "prostate": 2}
    write_json(root / "dataset.json", {"channel_names": {"0": "T2", "1": "ADC"}, "labels": names})
    made = drafted(root.folder)
    assert len(made.cases) == 5
    train = next(group for group in made.entry.cases if group.split is SplitName.TRAIN)
    assert [(name, spec.sequence) for name, spec in train.images.items()] == [("t2", "T2"), ("adc", "ADC")]
    (layer,) = train.labels.values()
    assert layer.names == {1: "peripheral zone", 2: "prostate"}
    assert layer.classes[2] == "prostate"
    assert {case.split for case in made.cases.values()} == {"train", "test"}
    assert made.masks("002") == {"labelsTr/PROS_002.nii.gz"}


def test_bids(root: Tree) -> None:
    for subject, sessions in (("01", ("01", "02")), ("02", ("01",)), ("17", ("01",))):
        for session in sessions:
            stem = f"sub-{subject}_ses-{session}"
            body = Phantom(stem, SHAPE, values=(1,))
            write_nifti(root / f"sub-{subject}/ses-{session}/anat/{stem}_T1w.nii.gz", body.mr())
            write_nifti(root / f"sub-{subject}/ses-{session}/anat/{stem}_FLAIR.nii.gz", body.mr())
            write_nifti(
                root / f"derivatives/lesions/sub-{subject}/ses-{session}/anat/{stem}_label-lesion_mask.nii.gz",
                body.labels,
            )
    write_table(
        root / "participants.tsv",
        [{"participant_id": f"sub-{n}", "age": 50} for n in ("01", "02", "17")],
        separator="\t",
    )
    write_json(root / "dataset_description.json", {"Name": "x", "BIDSVersion": "1.8.0"})
    made = drafted(root.folder)
    assert len(made.cases) == 4
    assert len({case.patient for case in made.cases.values()}) == 3
    (group,) = made.entry.cases
    assert {spec.sequence for spec in group.images.values()} == {"T1", "FLAIR"}
    assert all(len(made.masks(case)) == 1 for case in made.cases)
    assert any("BIDS" in line for line in made.summary)


def test_class_folders(root: Tree) -> None:
    for word, count in (("Normal", 6), ("Pneumonia", 5)):
        for number in range(count):
            write_picture(root / f"chest/{word}/IM-{number:04d}.png", Phantom(f"{word}{number}", (24, 24)).grey())
    made = drafted(root.folder)
    assert len(made.cases) == 11
    (annotation,) = made.entry.cases[0].annotations.values()
    assert annotation.values == {"Normal": "normal", "Pneumonia": "pneumonia"}
    assert made.entry.tasks == (Task.CLASSIFICATION,)
    assert made.entry.cases[0].patient is None, "a class is no person"


def test_split_folders_with_classes(root: Tree) -> None:
    for part in ("train", "val", "test"):
        for word in ("benign", "malignant"):
            for number in range(3):
                picture = Phantom(f"{part}{word}{number}", (24, 24)).rgb()
                write_picture(root / f"{part}/{word}/{number}.jpg", picture)
    made = drafted(root.folder)
    assert len(made.cases) == 18
    assert {case.split for case in made.cases.values()} == {"train", "validation", "test"}
    assert all(group.annotations for group in made.entry.cases)


@pytest.mark.parametrize("depth", ["{p}/{s}/{n}", "{p}/study{s}/series1/{n}"])
def test_a_dicom_tree(root: Tree, depth: str) -> None:
    for patient in ("P-11", "P-12", "P-13"):
        for study in ("1", "2"):
            folder = depth.format(p=patient, s=study, n="").rstrip("/")
            body = Phantom(patient + study, (5, 16, 16))
            write_series(root.folder / folder, body.ct(), PatientID=f"secret {patient}")
    made = drafted(root.folder)
    assert len(made.cases) == 6
    assert len({case.patient for case in made.cases.values()}) == 3
    assert made.entry.modalities == ("CT",)
    assert "6 of 6 series have 3 different PatientIDs" in " ".join(made.text.replace("#", " ").split())
    assert "secret" not in made.text


def test_coco(root: Tree) -> None:
    images = []
    for number in range(4):
        write_picture(root / f"images/{number:012d}.jpg", Phantom(str(number), (24, 24)).rgb())
        images.append({"id": number, "file_name": f"{number:012d}.jpg", "width": 24, "height": 24})
    boxes = [{"id": n, "image_id": n, "category_id": 1, "bbox": [2, 3, 5, 6]} for n in range(4)]
    categories = [{"id": 1, "name": "polyp"}]
    write_json(root / "annotations/instances.json", {"images": images, "annotations": boxes, "categories": categories})
    made = drafted(root.folder)
    (annotation,) = made.entry.cases[0].annotations.values()
    assert (annotation.kind, annotation.format, annotation.values) == ("boxes", "coco", {"polyp": "polyp"})
    assert made.entry.tasks == (Task.DETECTION,)


def test_yolo(root: Tree) -> None:
    for number in range(3):
        write_picture(root / f"train/images/f{number}.png", Phantom(str(number), (24, 24)).rgb())
        write_lines(root / f"train/labels/f{number}.txt", "0 0.5 0.5 0.2 0.1", "1 0.25 0.75 0.1 0.1")
    made = drafted(root.folder)
    (annotation,) = made.entry.cases[0].annotations.values()
    assert (annotation.kind, annotation.format, set(annotation.values)) == ("boxes", "yolo", {"0", "1"})
    assert all(value.startswith("TODO") for value in annotation.values.values()), "a number is no finding"


def test_voc(root: Tree) -> None:
    for number in range(3):
        write_picture(root / f"JPEGImages/f{number}.jpg", Phantom(str(number), (24, 24)).rgb())
        box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>5</xmax><ymax>6</ymax></bndbox>"
        write_lines(
            root / f"Annotations/f{number}.xml", f"<annotation><object><name>polyp</name>{box}</object></annotation>"
        )
    made = drafted(root.folder)
    (annotation,) = made.entry.cases[0].annotations.values()
    assert (annotation.kind, annotation.format, annotation.values) == ("boxes", "voc", {"polyp": "polyp"})


def test_a_mask_per_class(root: Tree) -> None:
    for case in ("s0001", "s0002", "s0003"):
        body = Phantom(case, SHAPE, values=(1, 2, 3))
        write_nifti(root / f"{case}/ct.nii.gz", body.ct())
        for value, word in enumerate(("liver", "spleen", "vertebrae_L5"), start=1):
            write_nifti(root / f"{case}/segmentations/{word}.nii.gz", body.of(value).astype("uint8"))
    made = drafted(root.folder)
    (layer,) = made.entry.cases[0].labels.values()
    assert layer.path == "s{case}/segmentations/{class}.nii.gz"
    assert sorted(layer.classes.values()) == ["L5 vertebra", "liver", "spleen"]
    assert len(made.masks("0002")) == 3


def test_several_studies_of_a_patient_stay_together(root: Tree) -> None:
    for patient, number in ((1, 1), (1, 2), (2, 1), (3, 1)):
        body = Phantom(f"{patient}-{number}", SHAPE, values=(1,))
        write_nifti(root / f"scans/patient{patient:03d}_study{number}.nii.gz", body.mr())
        write_nifti(root / f"masks/patient{patient:03d}_study{number}_seg.nii.gz", body.labels)
    made = drafted(root.folder)
    assert len(made.cases) == 4
    assert len({case.patient for case in made.cases.values()}) == 3
    assert made.entry.cases[0].patients_rest_on is PatientBasis.ASSUMED, "names prove nothing"
