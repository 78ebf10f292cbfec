"""What the draft says of masks, tables, persons and odd files, and that it only looks."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from made_drafts import drafted
from trees.dicom_files import write_segmentation, write_series
from trees.phantom import Phantom
from trees.picture_files import coloured, write_picture
from trees.table_files import write_lines, write_table
from trees.tree import Tree
from trees.voxel_files import write_itk, write_nifti

from medshard.pipelines.adding.draft import draft
from medshard.registry.catalog import PUBLIC_CATALOG
from medshard.registry.vocabulary import Modality, PatientBasis

SHAPE = (6, 24, 24)


@pytest.fixture
def root(tmp_path: Path) -> Tree:
    (tmp_path / "data").mkdir()
    return Tree(tmp_path / "data")


def pictures(root: Tree, count: int = 4) -> list[Phantom]:
    bodies = [Phantom(str(number), (32, 32), values=(1, 2)) for number in range(count)]
    for number, body in enumerate(bodies):
        write_picture(root / f"images/{number:03d}.png", body.rgb())
    return bodies


def test_masks_of_0_and_255(root: Tree) -> None:
    for number, body in enumerate(pictures(root)):
        write_picture(root / f"polyp masks/{number:03d}.png", body.of(1).astype(np.uint8) * 255)
    (layer,) = drafted(root.folder).entry.cases[0].labels.values()
    assert layer.classes == {255: "polyp"}
    assert layer.threshold is None


def test_masks_stored_with_loss(root: Tree) -> None:
    for number, body in enumerate(pictures(root)):
        write_picture(root / f"masks/{number:03d}.jpg", body.of(1).astype(np.uint8) * 255, quality=60)
    (layer,) = drafted(root.folder).entry.cases[0].labels.values()
    assert layer.threshold == 128
    assert list(layer.classes) == [1]


def test_masks_of_colours(root: Tree) -> None:
    for number, body in enumerate(pictures(root)):
        write_picture(root / f"masks/{number:03d}.png", coloured(body.labels, {1: (255, 0, 0), 2: (0, 128, 255)}))
    (layer,) = drafted(root.folder).entry.cases[0].labels.values()
    assert layer.colours == {"#0080ff": 1, "#ff0000": 2}
    assert set(layer.classes) == {1, 2}


def test_soft_masks(root: Tree) -> None:
    for case in ("a1", "a2", "a3"):
        body = Phantom(case, SHAPE, values=(1,))
        write_nifti(root / f"img/{case}.nii.gz", body.mr())
        write_nifti(root / f"mask/{case}.nii.gz", body.of(1).astype(np.float32) * 0.37)
    (layer,) = drafted(root.folder).entry.cases[0].labels.values()
    assert layer.kind == "soft"


def test_numbered_findings_are_instances(root: Tree) -> None:
    for case, count in (("a1", 30), ("a2", 25), ("a3", 41)):
        labels = np.zeros((8, 32, 32), np.uint16)
        for value in range(1, count + 1):
            labels[value % 8, (value // 8) * 4 : (value // 8) * 4 + 3, 2:9] = value
        write_nifti(root / f"img/{case}.nii.gz", Phantom(case, (8, 32, 32)).mr())
        write_nifti(root / f"mask/{case}.nii.gz", labels)
    (layer,) = drafted(root.folder).entry.cases[0].labels.values()
    assert layer.kind == "instance"


def test_values_are_shown_with_their_counts(root: Tree) -> None:
    for case in ("a1", "a2", "a3"):
        body = Phantom(case, SHAPE, values=(1, 5))
        write_nifti(root / f"img/{case}.nii.gz", body.mr())
        write_nifti(root / f"seg/{case}.nii.gz", body.labels)
    made = drafted(root.folder)
    five = Phantom("a1", SHAPE, values=(1, 5)).count(5) * 3
    assert f"5: TODO name value 5  # in 3 of 3 masks looked at, {five:,} voxels" in made.text
    assert "spacing" in made.text


def test_a_mask_that_no_name_gives_away(root: Tree) -> None:
    for case in ("a1", "a2", "a3"):
        body = Phantom(case, SHAPE, values=(1,))
        write_nifti(root / f"{case}/scan.nii.gz", body.mr())
        write_nifti(root / f"{case}/NB.nii.gz", body.labels)
    made = drafted(root.folder)
    assert made.masks("1") == {"a1/NB.nii.gz"}


def test_named_segments(root: Tree) -> None:
    for case in ("a1", "a2", "a3"):
        body = Phantom(case, (5, 24, 24), values=(1, 2))
        series = write_series(
            root.folder / f"{case}/ct",
            body.ct(),
            PatientBirthDate="",
            PatientSex="",
            AccessionNumber="",
            StudyID="",
            StudyDate="",
            StudyTime="",
            ReferringPhysicianName="",
        )
        write_segmentation(root / f"{case}/seg/seg.dcm", series, {"Liver": body.of(1), "Spleen": body.of(2)})
    made = drafted(root.folder)
    (layer,) = made.entry.cases[0].labels.values()
    assert layer.names == {1: "Liver", 2: "Spleen"}
    assert layer.classes == {1: "liver", 2: "spleen"}


def test_cases_without_a_mask_are_unlabelled(root: Tree) -> None:
    bodies = pictures(root)
    write_picture(root / "masks/000.png", bodies[0].of(1).astype(np.uint8))
    (layer,) = drafted(root.folder).entry.cases[0].labels.values()
    assert layer.optional


def test_names_of_organs_before_a_number_are_no_channels(root: Tree) -> None:
    """Misread, two lungs and two brains would be two cases of two images."""
    for case, shape in (("brain1", SHAPE), ("brain2", SHAPE), ("lung1", (7, 20, 20)), ("lung2", (7, 20, 20))):
        body = Phantom(case, shape, values=(1,))
        write_itk(root / f"{case}_image.nrrd", body.mr())
        write_itk(root / f"{case}_label.nrrd", body.labels)
    made = drafted(root.folder)
    assert sorted(made.cases) == ["brain1", "brain2", "lung1", "lung2"]
    assert made.masks("lung2") == {"lung2_label.nrrd"}


def test_two_modalities_in_one_folder_are_a_question(root: Tree) -> None:
    for number, body in enumerate([Phantom(str(number), SHAPE) for number in range(4)]):
        write_nifti(root / f"scan_{number}.nii.gz", body.ct() if number % 2 else body.mr())
    made = drafted(root.folder)
    assert made.entry.cases[0].modality is Modality.OTHER
    assert "TODO two modalities?" in made.text


def test_a_table_of_classes_and_scores(root: Tree) -> None:
    pictures(root, 6)
    rows = [
        {
            "image_id": f"{number:03d}",
            "diagnosis": ("benign", "malignant")[number % 2],
            "size_mm": 3.5 + number,
            "name": "X",
        }
        for number in range(6)
    ]
    write_table(root / "labels.csv", rows)
    made = drafted(root.folder)
    annotations = made.entry.cases[0].annotations
    assert annotations["diagnosis"].values == {"benign": "benign", "malignant": "malignant"}
    assert (annotations["diagnosis"].key_column, annotations["size_mm"].kind) == ("image_id", "score-table")
    assert "name" not in annotations
    assert not any("labels.csv" in line for line in made.summary), "it is of use"


def test_nobody_is_a_person_of_their_own_in_silence(root: Tree) -> None:
    pictures(root)
    made = drafted(root.folder)
    assert made.entry.cases[0].patients_rest_on is PatientBasis.UNKNOWN
    assert any("one person" in doubt for doubt in made.entry.doubts)


def test_the_same_names_in_two_parts_stay_two_cases(root: Tree) -> None:
    for part in ("train", "test"):
        for number in range(3):
            write_picture(root / f"{part}/images/{number}.png", Phantom(f"{part}{number}", (24, 24)).rgb())
    made = drafted(root.folder)
    assert len(made.cases) == 6
    assert any("different persons" in doubt for doubt in made.entry.doubts)


def test_leftovers_are_counted_and_left_alone(root: Tree) -> None:
    pictures(root)
    for name in (".DS_Store", "images/Thumbs.db", "__MACOSX/images/._000.png"):
        (root / name).write_bytes(b"left")
    write_lines(root / "README.txt", "About.")
    (root / "images/004.png").write_bytes(b"")
    (root / "more.zip").write_bytes(b"PK")
    (root.folder / "images/linked.png").symlink_to(root.folder / "images/000.png")
    made = drafted(root.folder)
    said = " ".join(made.summary)
    assert "3 passed over" in said
    assert "1 for people: README.txt" in said
    assert "1 empty files: images/004.png" in said
    assert "1 archives, not looked into: unpack them: more.zip" in said
    assert "1 links" in said


def test_damaged_files_are_named_and_cost_nothing(root: Tree) -> None:
    for case in ("a1", "a2", "a3"):
        body = Phantom(case, SHAPE, values=(1,))
        write_nifti(root / f"img/{case}.nii.gz", body.mr())
        write_nifti(root / f"seg/{case}.nii.gz", body.labels)
    for path in (root.folder / "img/a1.nii.gz", root.folder / "seg/a1.nii.gz"):
        path.write_bytes(path.read_bytes()[:-40])
    made = drafted(root.folder)
    assert len(made.cases) == 3
    assert "read.truncated" in made.text


def test_nothing_is_written_and_twice_is_the_same(root: Tree, tmp_path: Path) -> None:
    pictures(root)
    before = {path: path.stat().st_mtime_ns for path in sorted(root.folder.rglob("*"))}
    first = drafted(root.folder).text
    assert {path: path.stat().st_mtime_ns for path in sorted(root.folder.rglob("*"))} == before
    shutil.copytree(root.folder, tmp_path / "again/data")
    second = draft(tmp_path / "again/data", entry_id="drafted", beside=tmp_path / "again").text
    assert hashlib.sha256(first.encode()).hexdigest() == hashlib.sha256(second.encode()).hexdigest()


def test_an_empty_folder(root: Tree) -> None:
    made = draft(root.folder, beside=root.folder.parent)
    assert made.cases == 0


def test_the_folder_of_examples(tmp_path: Path) -> None:
    """Three files of three formats that have nothing to do with one another are three cases of three groups."""
    shutil.copytree(PUBLIC_CATALOG.parent / "registry/examples/format-families", tmp_path / "data")
    made = drafted(tmp_path / "data")
    assert len(made.cases) == 3
    assert len(made.groups) == 3
