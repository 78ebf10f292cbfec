"""Label files -> label layers: everything that the layout language says about masks, on files that nibabel wrote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import nibabel as nib
import numpy as np
import PIL.Image as Pillow
import pytest
from made_entries import made_entry

from medshard.converters.annotations.segments import Outline, OutlinedRegion, OutlineSet, Segment, SegmentedImage
from medshard.converters.dicom_series_writer import write_ct_series
from medshard.converters.reading import read_header
from medshard.converters.spooling import Spool
from medshard.converters.volume import Image, Rescale
from medshard.errors import CaseError
from medshard.pipelines.labels import case_labels, reading, soft
from medshard.pipelines.labels.case_labels import CaseLabel, label_paths, label_sources, read_case_labels
from medshard.pipelines.stages.case_payload import CasePayload
from medshard.registry.layout import discover

NOBODY = {"patient_id": "p", "series_description": "s", "uid_seed": "u"}
SHAPE = (6, 5, 4)  # x, y, z as nibabel has it
AFFINE = np.diag([0.8, 0.9, 3.0, 1.0])


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)


def box(*corner: int, value: int = 1, size: int = 2) -> np.ndarray:
    """A cube of `size` voxels at (x, y, z)."""
    array = np.zeros(SHAPE, np.uint8)
    array[tuple(slice(start, start + size) for start in corner)] = value
    return array


class Case:
    """One case in a folder, `c1`, with the image `ct.nii.gz`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        save(folder / "c1" / "ct.nii.gz", np.zeros(SHAPE, np.int16))

    def add(self, name: str, array: np.ndarray, affine: np.ndarray = AFFINE) -> None:
        save(self.folder / "c1" / name, array, affine)

    def payload(
        self, spec: dict[str, Any] | None = None, *, images: Any = None, annotations: Any = None, **changes: Any
    ) -> CasePayload:
        group = {
            "modality": "CT",
            "images": images or {"ct": {"path": "{case}/ct.nii.gz"}},
            "labels": {"organs": spec} if spec else {},
            "annotations": annotations or {},
        }
        entry = made_entry("made", cases=[group], **changes)
        files = {path.relative_to(self.folder).as_posix(): path for path in self.folder.rglob("*") if path.is_file()}
        (found,) = discover(entry, sorted(files)).cases
        return CasePayload(entry=entry, group=entry.cases[0], case=found, files=files)

    def labels(
        self, spec: dict[str, Any] | None = None, *, spool: Spool | None = None, **more: Any
    ) -> tuple[CaseLabel, ...]:
        payload = self.payload(spec, **more)
        headers = {
            name: read_header(payload.locate(paths), where="made/c1") for name, paths in payload.case.images.items()
        }
        source = next(iter(label_sources(payload)))
        return read_case_labels(payload, source, images=headers, **({"spool": spool} if spool else {}))

    def label(self, spec: dict[str, Any] | None = None, **more: Any) -> CaseLabel:
        (found,) = self.labels(spec, **more)
        return found


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def values(label: CaseLabel) -> np.ndarray:
    """As nibabel has them: (x, y, z)."""
    return np.asarray(label.layer.array[0]).T


class TestOneMask:
    spec: ClassVar[dict[str, Any]] = {"path": "{case}/mask.nii.gz", "classes": {1: "liver", 2: "liver tumour"}}

    def test_its_values_are_stored_in_the_smallest_type_with_their_counts(self, case: Case) -> None:
        case.add("mask.nii.gz", (box(0, 0, 0) + box(3, 3, 2, value=2)).astype(np.float64))
        found = case.label(self.spec)
        assert found.layer.array.dtype == np.uint8
        assert found.layer.array.shape == (1, 4, 5, 6)
        assert dict(found.counts) == {0: 104, 1: 8, 2: 8}
        assert (found.name, found.image, found.repair, found.warnings) == ("organs", "ct", None, ())
        assert found.verdict is not None
        assert found.verdict.kind == "same"

    def test_a_flipped_mask_is_turned_back_and_the_repair_is_among_the_warnings(self, case: Case) -> None:
        flipped = AFFINE @ np.array([[-1, 0, 0, 5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
        case.add("mask.nii.gz", box(0, 0, 0)[::-1], flipped)
        found = case.label(self.spec)
        np.testing.assert_array_equal(values(found), box(0, 0, 0))
        assert found.verdict is not None
        assert found.verdict.kind == "flip"
        assert found.warnings == (found.repair,)

    def test_values_that_nobody_listed_are_left_for_the_inclusion_criteria(self, case: Case) -> None:
        case.add("mask.nii.gz", box(0, 0, 0, value=7))
        found = case.label(self.spec)
        assert dict(found.counts) == {0: 112, 7: 8}
        assert 7 not in found.layer.ignore

    def test_where_unlisted_values_are_accepted_they_are_ignored_not_background(self, case: Case) -> None:
        case.add("mask.nii.gz", box(0, 0, 0, value=7))
        found = case.label(self.spec, inclusion={"label_values_must_be_known": False})
        assert found.layer.ignore == (7,)
        assert "8 voxels" in found.warnings[0]

    def test_unmapped_values_are_ignored_and_said(self, case: Case) -> None:
        case.add("mask.nii.gz", box(0, 0, 0, value=3))
        found = case.label({**self.spec, "unmapped": {3: "stapled"}, "ignore": [9]})
        assert found.layer.ignore == (9, 3)
        assert "8 voxels" in found.warnings[0]

    def test_an_inverted_mask_is_stored_with_the_background_0(self, case: Case) -> None:
        case.add("mask.nii.gz", np.where(box(0, 0, 0) > 0, 0, 3).astype(np.uint8))
        spec = {"path": "{case}/mask.nii.gz", "background": 3, "classes": {0: "tumour", 1: "stroma"}, "ignore": [3]}
        found = case.label(spec)
        np.testing.assert_array_equal(values(found), box(0, 0, 0, value=3))
        assert found.layer.classes == {3: "tumour", 1: "stroma"}
        assert found.layer.ignore == (0,)

    def test_a_threshold_of_an_inverted_mask_marks_what_lies_below_it(self, case: Case) -> None:
        case.add("mask.nii.gz", (255 - box(0, 0, 0, value=255)).astype(np.uint8))
        spec = {"path": "{case}/mask.nii.gz", "background": 255, "classes": {0: "tumour"}, "threshold": 128}
        found = case.label(spec)
        np.testing.assert_array_equal(values(found), box(0, 0, 0, value=255))
        assert found.layer.classes == {255: "tumour"}

    def test_negative_values_are_ignored_where_unlisted_ones_are_accepted(self, case: Case) -> None:
        mask = box(0, 0, 0).astype(np.int16)
        mask[4, 4, 3] = -1
        case.add("mask.nii.gz", mask)
        found = case.label(self.spec, inclusion={"label_values_must_be_known": False})
        assert found.layer.ignore == (-1,)
        assert "1 voxels" in found.warnings[0]

    def test_a_threshold_makes_one_class_of_grey_values(self, case: Case) -> None:
        case.add("mask.nii.gz", box(0, 0, 0, value=255) + box(3, 3, 2, value=127))
        found = case.label({"path": "{case}/mask.nii.gz", "classes": {4: "liver"}, "threshold": 128})
        np.testing.assert_array_equal(values(found), box(0, 0, 0, value=4))

    def test_in_an_instance_layer_the_numbers_above_the_threshold_stay(self, case: Case) -> None:
        case.add("mask.nii.gz", box(0, 0, 0, value=5) + box(3, 3, 2, value=2))
        spec = {"path": "{case}/mask.nii.gz", "kind": "instance", "classes": {1: "nodule"}, "threshold": 3}
        np.testing.assert_array_equal(values(case.label(spec)), box(0, 0, 0, value=5))

    def test_a_mask_of_several_channels_without_a_word_is_refused(self, case: Case) -> None:
        case.add("mask.nii.gz", np.zeros((*SHAPE, 1, 3), np.uint8))
        with pytest.raises(CaseError, match=r"annotation\.not_a_mask"):
            case.label(self.spec)

    @pytest.mark.parametrize("name", ["mask.nii.gz", "{class}.nii.gz"])
    def test_three_channels_in_space_are_no_colours(self, case: Case, name: str) -> None:
        case.add("mask.nii.gz", np.ones((*SHAPE, 1, 3), np.uint8))
        spec = {"path": f"{{case}}/{name}", "classes": {1: "liver"}, "names": {1: "mask"}, "threshold": 1}
        with pytest.raises(CaseError, match=r"annotation\.not_a_mask"):
            case.label(spec)

    def test_it_may_lie_in_a_file(self, case: Case, tmp_path_factory: pytest.TempPathFactory) -> None:
        case.add("mask.nii.gz", box(0, 0, 0, value=255))
        spool = Spool(folder=tmp_path_factory.mktemp("spool"), limit_bytes=1)
        spec = {"path": "{case}/mask.nii.gz", "classes": {1: "liver"}, "threshold": 128}
        np.testing.assert_array_equal(values(case.label(spec, spool=spool)), box(0, 0, 0))

    def test_without_any_file_it_is_missing(self, case: Case) -> None:
        with pytest.raises(CaseError, match=r"annotation\.missing"):
            case.label(self.spec)


class TestSeveralImages:
    images: ClassVar[dict[str, Any]] = {"pet": {"path": "{case}/pet.nii.gz"}, "ct": {"path": "{case}/ct.nii.gz"}}
    spec = TestOneMask.spec

    def test_a_mask_belongs_to_the_image_on_whose_grid_it_lies(self, case: Case) -> None:
        case.add("pet.nii.gz", np.zeros((3, 3, 4), np.float32), np.diag([2.0, 2.0, 3.0, 1.0]))
        case.add("mask.nii.gz", box(0, 0, 0))
        assert case.label(self.spec, images=self.images).image == "ct"

    def test_a_mask_without_geometry_that_fits_several_says_so(self, case: Case) -> None:
        case.add("pet.nii.gz", np.zeros(SHAPE, np.float32), np.diag([2.0, 2.0, 3.0, 1.0]))
        np.save(case.folder / "c1" / "mask.npy", box(0, 0, 0).T)
        found = case.label({**self.spec, "path": "{case}/mask.npy"}, images=self.images)
        assert found.image == "pet"
        assert found.warnings[-1] == "no geometry tells whether the mask belongs to pet or to ct"

    def test_where_none_fits_the_error_shows_the_first(self, case: Case) -> None:
        case.add("pet.nii.gz", np.zeros((3, 3, 4), np.float32), np.diag([2.0, 2.0, 3.0, 1.0]))
        affine = AFFINE.copy()
        affine[0, 3] = 7.0
        case.add("mask.nii.gz", box(0, 0, 0), affine)
        with pytest.raises(CaseError, match=r"geometry\.mismatch") as error:
            case.label(self.spec, images=self.images)
        assert error.value.details["image"].startswith("3x3x4")


class TestOneFilePerClass:
    spec: ClassVar[dict[str, Any]] = {
        "path": "{case}/masks/{class}.nii.gz",
        "classes": {5: "liver", 9: "hepatic vessel", 7: "spleen"},
        "names": {5: "liver", 9: "ves*", 7: "spleen"},
    }

    def test_later_classes_lie_over_earlier_ones_and_the_overlap_is_counted(self, case: Case) -> None:
        case.add("masks/liver.nii.gz", box(0, 0, 0, size=4, value=255))
        case.add("masks/vessels.nii.gz", box(1, 1, 1, value=255))
        case.add("masks/spleen.nii.gz", box(4, 3, 2))
        found = case.label(self.spec)
        expected = box(0, 0, 0, size=4, value=5)
        expected[1:3, 1:3, 1:3] = 9
        expected[4:6, 3:5, 2:4] = 7
        np.testing.assert_array_equal(values(found), expected)
        assert found.warnings == ("8 voxels of liver lie under hepatic vessel",)

    def test_a_class_without_a_file_was_not_examined(self, case: Case) -> None:
        case.add("masks/liver.nii.gz", box(0, 0, 0))
        found = case.label(self.spec)
        assert found.layer.examined == ("liver",)
        assert found.warnings == ("no file for: hepatic vessel, spleen",)

    def test_unless_the_entry_says_so(self, case: Case) -> None:
        case.add("masks/liver.nii.gz", box(0, 0, 0))
        found = case.label({**self.spec, "examined": ["liver", "spleen"]})
        assert found.layer.examined == ("liver", "spleen")

    def test_several_values_in_one_file_are_said(self, case: Case) -> None:
        case.add("masks/liver.nii.gz", box(0, 0, 0, value=1) + box(3, 3, 2, value=2))
        found = case.label(self.spec)
        assert dict(found.counts) == {0: 104, 5: 16}
        assert "several values above 0" in found.warnings[0]

    def test_values_that_nobody_judged_do_not_become_the_class(self, case: Case) -> None:
        case.add("masks/liver.nii.gz", box(0, 0, 0) + box(3, 3, 2, value=255))
        with pytest.raises(CaseError, match=r"annotation\.not_a_mask") as error:
            case.label({**self.spec, "ignore": [255]})
        assert error.value.details["ignored values"] == "255"

    def test_of_inverted_files_the_background_is_not_the_class(self, case: Case) -> None:
        case.add("masks/liver.nii.gz", (255 - box(0, 0, 0, value=255)).astype(np.uint8))
        found = case.label({**self.spec, "background": 255})
        np.testing.assert_array_equal(values(found), box(0, 0, 0, value=5))
        assert found.warnings == ("no file for: hepatic vessel, spleen",)

    def test_each_file_is_repaired_by_itself(self, case: Case) -> None:
        flipped = AFFINE @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 3], [0, 0, 0, 1.0]])
        case.add("masks/liver.nii.gz", box(0, 0, 0))
        case.add("masks/spleen.nii.gz", box(4, 3, 2)[..., ::-1], flipped)
        found = case.label(self.spec)
        np.testing.assert_array_equal(values(found), box(0, 0, 0, value=5) + box(4, 3, 2, value=7))
        assert found.repair is not None
        assert "in 1 of 2 files" in found.repair

    def test_a_file_on_another_grid_is_refused(self, case: Case) -> None:
        case.add("masks/liver.nii.gz", box(0, 0, 0))
        case.add("masks/spleen.nii.gz", box(4, 3, 2)[1:])
        with pytest.raises(CaseError, match=r"geometry\.mismatch"):
            case.label(self.spec)


class TestInstancesAndRaters:
    classes: ClassVar[dict[int, str]] = {1: "kidney", 2: "kidney tumour"}
    names: ClassVar[dict[int, str]] = {1: "kidney", 2: "tumor"}
    path = "{case}/{class}_instance-{instance}_annotation-{rater}.nii.gz"

    def test_instances_are_counted_in_natural_order(self, case: Case) -> None:
        case.add("lesion10.nii.gz", box(3, 3, 2))
        case.add("lesion2.nii.gz", box(0, 0, 0))
        spec = {"path": "{case}/lesion{instance}.nii.gz", "kind": "instance", "classes": {1: "liver tumour"}}
        found = case.label(spec)
        np.testing.assert_array_equal(values(found), box(0, 0, 0, value=1) + box(3, 3, 2, value=2))
        assert found.layer.classes == {1: "liver tumour"}

    def test_in_a_semantic_layer_they_are_united(self, case: Case) -> None:
        case.add("lesion1.nii.gz", box(3, 3, 2))
        case.add("lesion2.nii.gz", box(0, 0, 0))
        found = case.label({"path": "{case}/lesion{instance}.nii.gz", "classes": {6: "liver tumour"}})
        np.testing.assert_array_equal(values(found), box(0, 0, 0, value=6) + box(3, 3, 2, value=6))

    @pytest.mark.parametrize(("kind", "stored"), [("semantic", 255), ("instance", 1)])
    def test_inverted_instances_keep_the_background(self, case: Case, kind: str, stored: int) -> None:
        case.add("lesion1.nii.gz", (255 - box(3, 3, 2, value=255)).astype(np.uint8))
        spec = {"path": "{case}/lesion{instance}.nii.gz", "kind": kind, "classes": {0: "cyst"}, "background": 255}
        found = case.label(spec)
        np.testing.assert_array_equal(values(found), box(3, 3, 2, value=stored))
        assert found.layer.classes == {255: "cyst"}

    def test_an_instance_keeps_the_further_concepts_of_its_class(self, case: Case) -> None:
        for name in ("kidney_1", "kidney_2", "tumor_1"):
            case.add(f"{name}.nii.gz", box(0, 0, 0))
        spec = {"path": "{case}/{class}_{instance}.nii.gz", "kind": "instance", "classes": self.classes}
        found = case.label({**spec, "names": self.names, "also": {2: ["kidney"]}})
        assert found.layer.also == {3: ("kidney",)}

    def test_raters_whose_words_make_one_name_are_refused(self, case: Case) -> None:
        case.add("mask_a b.nii.gz", box(0, 0, 0))
        case.add("mask_a_b.nii.gz", box(3, 3, 2))
        with pytest.raises(CaseError, match=r"annotation\.raters"):
            case.labels({"path": "{case}/mask_{rater}.nii.gz", "classes": {1: "liver"}})

    def test_every_rater_has_a_layer_and_every_instance_its_class(self, case: Case) -> None:
        for rater in (1, 2):
            case.add(f"kidney_instance-1_annotation-{rater}.nii.gz", box(0, 0, 0))
            case.add(f"kidney_instance-2_annotation-{rater}.nii.gz", box(2, 2, 0))
        case.add("tumor_instance-1_annotation-2.nii.gz", box(4, 3, 2))
        spec = {"path": self.path, "kind": "instance", "classes": self.classes, "names": self.names}
        first, second = case.labels(spec)
        assert (first.name, first.layer.rater) == ("organs-1", "1")
        assert (second.name, second.layer.rater) == ("organs-2", "2")
        assert dict(second.layer.classes) == {1: "kidney", 2: "kidney", 3: "kidney tumour"}
        assert dict(second.counts) == {0: 96, 1: 8, 2: 8, 3: 8}
        assert first.layer.examined == ("kidney",)


class TestSoftMaps:
    def test_they_are_channels_of_one_scale(self, case: Case) -> None:
        case.add("grey.nii.gz", box(0, 0, 0, value=200))
        case.add("white.nii.gz", box(3, 3, 2, value=100))
        maps = [
            {"path": "{case}/grey.nii.gz", "concept": "grey matter", "scale": 1 / 255},
            {"path": "{case}/white.nii.gz", "concept": "white matter", "scale": 1 / 255},
        ]
        found = case.label({"kind": "soft", "maps": maps})
        assert found.layer.array.shape == (2, 4, 5, 6)
        assert dict(found.counts) == {1: 8, 2: 0}
        assert found.layer.rescale.slope == (1 / 255,)

    def test_maps_whose_slices_are_scaled_one_by_one_are_refused(
        self, case: Case, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (case.folder / "c1" / "grey.nii.gz").write_bytes(b"stub")
        rescale = Rescale(slope=(1.0, 2.0, 3.0, 4.0), intercept=(0.0,))
        array = box(0, 0, 0).T[None]
        found = Image(array=array, affine=AFFINE[:, [2, 1, 0, 3]], rescale=rescale)
        monkeypatch.setattr(soft, "read_image", lambda *_, **__: found)
        with pytest.raises(CaseError, match=r"annotation\.scales"):
            case.label({"kind": "soft", "maps": [{"path": "{case}/grey.nii.gz", "concept": "grey matter"}]})


def stubbed(monkeypatch: pytest.MonkeyPatch, found: SegmentedImage | OutlineSet) -> None:
    """What a file of named annotations would read as; the readers have tests of their own."""
    for module in (case_labels, reading):
        monkeypatch.setattr(module, "read_annotation", lambda *_, **__: found)


def segmented(*arrays: np.ndarray, names: tuple[str, ...]) -> SegmentedImage:
    affine = AFFINE[:, [2, 1, 0, 3]]
    segments = tuple(
        Segment(number=number, name=name, channel=number - 1, value=1) for number, name in enumerate(names, start=1)
    )
    return SegmentedImage(array=np.stack([array.T for array in arrays]), affine=affine, segments=segments)


class TestNamedSegments:
    spec: ClassVar[dict[str, Any]] = {
        "path": "{case}/seg.dcm",
        "classes": {3: "liver", 8: "spleen", 9: "gallbladder"},
        "names": {3: "Liver*", 8: "SPL", 9: "GB"},
    }

    @pytest.fixture(autouse=True)
    def file(self, case: Case) -> None:
        (case.folder / "c1" / "seg.dcm").write_bytes(b"stub")

    def test_names_say_which_segment_is_which_value(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        arrays = (box(0, 0, 0), box(3, 3, 2), box(0, 3, 0))
        stubbed(monkeypatch, segmented(*arrays, names=("SPL", "Liver segment", "Dr Who")))
        found = case.label(self.spec)
        np.testing.assert_array_equal(values(found), box(0, 0, 0, value=8) + box(3, 3, 2, value=3))
        assert found.layer.examined == ("liver", "spleen")
        assert found.warnings == (
            "1 segments of the file are left out: the entry does not name them",
            "the file has no region for: gallbladder",
        )

    def test_segments_that_overlap_are_refused_by_concept(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        stubbed(monkeypatch, segmented(box(0, 0, 0), box(1, 0, 0), names=("SPL", "Liver")))
        with pytest.raises(CaseError, match=r"annotation\.overlap") as error:
            case.label(self.spec)
        assert error.value.details == {"structures": "liver, spleen", "voxels": "4"}

    def test_segments_off_the_grid_of_the_image_are_an_error_of_the_case(
        self, case: Case, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = segmented(box(0, 0, 0), names=("SPL",))
        stubbed(monkeypatch, replace(found, affine=found.affine @ np.diag([1, 1.5, 1.5, 1])))
        with pytest.raises(CaseError, match=r"geometry\.mismatch") as error:
            case.label(self.spec)
        assert error.value.where == "made/c1 label organs"

    def test_without_names_the_number_is_the_value(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        stubbed(monkeypatch, segmented(box(0, 0, 0), box(3, 3, 2), names=("a", "b")))
        found = case.label({"path": "{case}/seg.dcm", "classes": {2: "liver"}})
        np.testing.assert_array_equal(values(found), box(3, 3, 2, value=2))

    def test_segments_that_nobody_judged_are_ignored_without_names_too(
        self, case: Case, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stubbed(monkeypatch, segmented(box(0, 0, 0), box(3, 3, 2), names=("a", "b")))
        found = case.label({"path": "{case}/seg.dcm", "classes": {2: "liver"}, "ignore": [1]})
        np.testing.assert_array_equal(values(found), box(0, 0, 0) + box(3, 3, 2, value=2))
        assert found.layer.ignore == (1,)

    def test_the_value_0_cannot_mean_a_region(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        stubbed(monkeypatch, segmented(box(0, 0, 0), names=("a",)))
        spec = {"path": "{case}/seg.dcm", "classes": {0: "liver"}, "names": {0: "a"}, "background": 255}
        with pytest.raises(CaseError, match=r"annotation\.background"):
            case.label(spec)


class TestPictures:
    """A picture for each slice, as CHAOS has them: the slices of the image are sorted by position, not by name."""

    spec: ClassVar[dict[str, Any]] = {"path": "{case}/truth/*.png", "classes": {1: "liver"}, "threshold": 128}
    images: ClassVar[dict[str, Any]] = {"ct": {"path": "{case}/dicom/*.dcm"}}

    def series(self, case: Case, names: str) -> None:
        """Four slices of 5 rows and 6 columns; the first file lies highest. Picture n marks n pixels."""
        affine = AFFINE[:, [2, 1, 0, 3]] * np.array([1.0, -1, -1, 1])
        image = Image(array=np.arange(120, dtype=np.int16).reshape(1, 4, 5, 6), affine=affine)
        for z, path in enumerate(write_ct_series(image, case.folder / "series", **NOBODY)):
            place = case.folder / "c1" / "dicom" / f"IMG-{4 - z}.dcm"
            place.parent.mkdir(exist_ok=True)
            path.rename(place)
        (case.folder / "c1" / "truth").mkdir()
        for number in range(1, 5):
            pixels = np.zeros((5, 6), np.uint8)
            pixels[0, :number] = 255
            Pillow.fromarray(pixels).save(case.folder / "c1" / "truth" / names.format(number))

    def test_they_pair_with_the_files_of_the_image_by_name(self, case: Case) -> None:
        self.series(case, "IMG-{}.png")
        found = case.label(self.spec, images=self.images)
        assert found.layer.array.sum(axis=(0, 2, 3)).tolist() == [4, 3, 2, 1]
        assert found.warnings == ()

    def test_or_by_the_order_of_their_names_and_it_is_said(self, case: Case) -> None:
        self.series(case, "liver_{:03}.png")
        found = case.label(self.spec, images=self.images)
        assert found.layer.array.sum(axis=(0, 2, 3)).tolist() == [4, 3, 2, 1]
        assert "in the order of their names" in found.warnings[0]


def test_folders_of_dicom_masks_with_0_and_255_are_classes_as_in_3d_ircadb(case: Case) -> None:
    affine = AFFINE[:, [2, 1, 0, 3]] * np.array([1.0, -1, -1, 1])
    folders = {"PATIENT_DICOM": box(0, 0, 0), "MASKS/liver": box(0, 0, 0, size=3), "MASKS/portalvein": box(1, 1, 1)}
    for folder, array in folders.items():
        image = Image(array=array.T[None].astype(np.int16) * 255, affine=affine)
        write_ct_series(image, case.folder / "c1" / folder, **NOBODY)
    spec = {
        "path": "{case}/MASKS/{class}/*",
        "classes": {1: "liver", 2: "portal vein", 3: "gallbladder"},
        "names": {1: "liver", 2: "portalvein", 3: "gallbladder"},
        "threshold": 1,
    }
    found = case.label(spec, images={"ct": {"path": "{case}/PATIENT_DICOM/*"}})
    assert dict(found.counts) == {0: 93, 1: 19, 2: 8}
    assert found.warnings == ("8 voxels of liver lie under portal vein", "no file for: gallbladder")
    assert found.layer.examined == ("liver", "portal vein")


def square(low: float, high: float) -> tuple[Outline, ...]:
    """A square in index space, in the slices 0 and 1."""
    corners = [(low, low), (low, high), (high, high), (high, low)]
    return tuple(Outline(points=np.array([(z, y, x) for y, x in corners])) for z in (0.0, 1.0))


def test_outlines_become_a_layer_in_which_the_inner_one_lies_over_the_outer(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    (case.folder / "c1" / "walls.qvs").write_bytes(b"stub")
    regions = (
        OutlinedRegion(number=1, name="Lumen", outlines=square(1.5, 2.5)),
        OutlinedRegion(number=2, name="Outer Wall", outlines=square(0.5, 3.5)),
    )
    stubbed(monkeypatch, OutlineSet(regions=regions, space="index"))
    words = {"Lumen": "carotid artery lumen", "Outer Wall": "carotid artery wall"}
    walls = {"kind": "contours", "path": "{case}/*.qvs", "format": "qvs", "values": words}
    found = case.label(annotations={"walls": walls})
    assert found.name == "walls"
    assert found.layer.classes == {1: "carotid artery lumen", 2: "carotid artery wall"}
    assert dict(found.counts) == {0: 102, 1: 2, 2: 16}
    assert label_paths(case.payload(annotations={"walls": walls}), "walls") == ("{case}/*.qvs",)


def test_outlines_that_are_the_same_do_not_hide_one_another(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    (case.folder / "c1" / "walls.qvs").write_bytes(b"stub")
    regions = tuple(
        OutlinedRegion(number=number, name=name, outlines=square(0.5, 3.5)) for number, name in enumerate("ab", start=1)
    )
    stubbed(monkeypatch, OutlineSet(regions=regions, space="index"))
    words = {"a": "carotid artery lumen", "b": "carotid artery wall"}
    walls = {"kind": "contours", "path": "{case}/*.qvs", "format": "qvs", "values": words}
    with pytest.raises(CaseError, match=r"annotation\.overlap"):
        case.label(annotations={"walls": walls})


@pytest.mark.parametrize(
    ("stated", "examined"), [({}, ("lesion",)), ({"examined": ["lesion", "cyst"]}, ("lesion", "cyst"))]
)
def test_a_concept_without_an_outline_was_not_examined_unless_the_entry_says_so(
    case: Case, monkeypatch: pytest.MonkeyPatch, stated: dict[str, Any], examined: tuple[str, ...]
) -> None:
    (case.folder / "c1" / "plan.dcm").write_bytes(b"stub")
    region = OutlinedRegion(number=1, name="GTV", outlines=square(0.5, 3.5))
    stubbed(monkeypatch, OutlineSet(regions=(region,), space="index"))
    targets = {
        "kind": "contours", "path": "{case}/plan.dcm", "format": "rtstruct", "values": {"GTV": "lesion", "C": "cyst"},
    }  # fmt: skip
    found = case.label(annotations={"targets": {**targets, **stated}})
    assert found.layer.examined == examined
    assert found.warnings == ("the file has no region for: cyst",)


def test_outlines_belong_to_the_image_in_whose_slices_they_lie_not_to_the_first_that_they_touch(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a CT with 3 mm, beside a PET with 4 mm, whose slices some of the outlines are near."""
    save(case.folder / "c1" / "pet.nii.gz", np.zeros((6, 5, 3), np.int16), AFFINE @ np.diag([1, 1, 4 / 3, 1]))
    (case.folder / "c1" / "plan.dcm").write_bytes(b"stub")
    corners = [(0.4, 0.4), (0.4, 2.0), (2.0, 2.0), (2.0, 0.4)]
    outlines = tuple(Outline(points=np.array([(x, y, z) for x, y in corners])) for z in (0.0, 3.0, 6.0, 9.0))
    region = OutlinedRegion(number=1, name="GTV", outlines=outlines)
    stubbed(monkeypatch, OutlineSet(regions=(region,), space="ras-mm"))
    targets = {"kind": "contours", "path": "{case}/plan.dcm", "format": "rtstruct", "values": {"GTV": "lesion"}}
    images = {"pet": {"path": "{case}/pet.nii.gz"}, "ct": {"path": "{case}/ct.nii.gz"}}
    found = case.label(images=images, annotations={"targets": targets})
    assert found.image == "ct"
    assert found.layer.array.any(axis=(0, 2, 3)).all()
    assert found.warnings == ()
