"""Which frames are one image, and which are steps of one: by what headers say, never by names or instance numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_dicom import enhanced, frames, item, planes, put_pixels, write

from medshard.converters.formats import dicom
from medshard.converters.formats.format import Request
from medshard.converters.reading import read_header, read_image
from medshard.errors import CaseError


def volumes(count, fields_of, *, slices=3, modality="MR"):
    """Data sets of `count` volumes at the same places; fields_of(t) goes into all slices of volume t."""
    made = []
    for t in range(count):
        part = frames(planes(slices, start=1000 * t), modality=modality, **fields_of(t))
        for z, dataset in enumerate(part):
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{t + 1}.{z + 1}"
            dataset.InstanceNumber = t * slices + z + 1
        made += part
    return made


def first_voxels(image):
    return image.array[:, 0, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("fields_of", "kind", "values"),
    [
        (lambda t: {"TemporalPositionIdentifier": t + 1}, "time", None),
        (lambda t: {"AcquisitionTime": f"10000{t}.5"}, "time", (0.0, 1.0, 2.0)),
        (lambda t: {"EchoTime": 5.0 + 10 * t}, "echo", (5.0, 15.0, 25.0)),
        (lambda t: {"TriggerTime": 40.0 * t, "CardiacNumberOfImages": 3}, "phase", (0.0, 40.0, 80.0)),
        (lambda t: {"InversionTime": 100.0 * (t + 1)}, "other", (100.0, 200.0, 300.0)),
    ],
    ids=["temporal position", "time", "echo", "phase", "inversion"],
)
def test_frames_that_share_places_are_steps_of_one_image(tmp_path, fields_of, kind, values):
    made = volumes(3, fields_of)
    paths = write([made[i] for i in np.random.default_rng(1).permutation(len(made))], tmp_path)
    image, header = read_image(paths, where="e/c"), read_header(paths, where="e/c")
    assert image.array.shape == (3, 1, 3, 6, 8)
    assert (header.timepoints, header.shape) == (3, (3, 6, 8))
    assert (image.leading.kind, image.leading.values) == (kind, values)
    assert header.leading == image.leading
    assert first_voxels(image) == [0, 1000, 2000]


def test_diffusion_steps_keep_the_order_of_the_acquisition_and_their_b_values(tmp_path):
    weights = (0.0, 1000.0, 500.0)
    made = volumes(3, lambda t: {"DiffusionBValue": weights[t]})
    image = read_image(write(made[::-1], tmp_path), where="e/c")
    assert (image.leading.kind, image.leading.values) == ("diffusion", weights)
    assert first_voxels(image) == [0, 1000, 2000]
    assert image.sequence == "DWI"


def test_the_unweighted_volume_of_a_maker_that_states_only_weights_has_b_zero(tmp_path):
    comments = (None, "b=1000(0.445,0.000,0.895)", "b=1000(0.000,1.000,0.000)")
    made = volumes(3, lambda t: {"Manufacturer": "TOSHIBA", "ImageComments": comments[t]})
    image = read_image(write(made, tmp_path), where="e/c")
    assert (image.leading.kind, image.leading.values) == ("diffusion", (0.0, 1000.0, 1000.0))
    assert image.sequence == "DWI"


def test_echoes_that_run_in_time_are_an_image_each(tmp_path):
    made = volumes(4, lambda t: {"EchoTime": 5.0 + t % 2, "TemporalPositionIdentifier": t // 2 + 1})
    paths = write(made, tmp_path)
    with pytest.raises(CaseError) as error:
        read_header(paths, where="e/c")
    assert error.value.code == "dicom.several_series"
    assert "EchoTime: 5" in error.value.action
    image = read_image(paths, where="e/c", request=Request(select={"EchoTime": "6"}))
    assert first_voxels(image) == [1000, 3000]


@pytest.mark.parametrize(
    ("field", "one", "other"),
    [
        ("ImageType", ["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]),
        ("ImageType", ["ORIGINAL", "PRIMARY", "WATER"], ["ORIGINAL", "PRIMARY", "FAT"]),
        ("ImageType", ["ORIGINAL", "PRIMARY", "M"], ["DERIVED", "PRIMARY", "ADC"]),
        ("SeriesInstanceUID", "1.2.3", "1.2.4"),
    ],
)
def test_what_is_another_image_is_never_a_step(tmp_path, field, one, other):
    made = volumes(2, lambda t: {field: (one, other)[t]})
    found = dicom.read_all(write(made, tmp_path))
    assert [image.array.shape for _, image in found] == [(1, 3, 6, 8)] * 2


def test_three_planes_of_a_localiser_are_three_images(tmp_path):
    planes_of = [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1)]
    made = [
        dataset
        for number, orientation in enumerate(planes_of)
        for dataset in frames(planes(2), series="localiser", orientation=orientation, modality="MR")
        if not dataset.__setattr__("SOPInstanceUID", f"1.2.{number}.{dataset.InstanceNumber}")
    ]
    assert len(dicom.read_all(write(made, tmp_path))) == 3


def test_a_bad_image_is_an_error_among_the_others_and_a_bad_file_too(tmp_path):
    whole, gappy = frames(planes(3)), frames(planes(5), series="other", number=2)
    del gappy[2]
    paths = [*write(whole, tmp_path, prefix="a"), *write(gappy, tmp_path, prefix="b")]
    (tmp_path / "c.dcm").write_bytes(paths[0].read_bytes()[:200])
    found = dicom.read_all([*paths, tmp_path / "c.dcm"])
    assert len(found) == 3
    (header, image), gap, unreadable = found
    assert image.array.shape == (1, 3, 6, 8)
    assert any("cannot be read" in warning for warning in header.warnings)
    assert (gap.code, unreadable.code, unreadable.where) == ("dicom.missing_slices", "read.unreadable", "c.dcm")


def test_slabs_that_overlap_are_told_apart_by_their_acquisition(tmp_path):
    low = frames(planes(4), AcquisitionNumber=1)
    high = frames(planes(4, start=500), AcquisitionNumber=2, origin=(-20, 15, -303))
    for z, dataset in enumerate(high):
        dataset.SOPInstanceUID = f"1.2.3.{z + 1}"
    assert len(dicom.read_all(write([*low, *high], tmp_path))) == 2


def test_the_last_volume_of_an_aborted_scan_is_left_out_and_named(tmp_path):
    made = volumes(4, lambda t: {"TemporalPositionIdentifier": t + 1})[:-1]
    paths = write(made, tmp_path)
    header, image = read_header(paths, where="e/c"), read_image(paths, where="e/c")
    assert image.array.shape[0] == header.timepoints == 3
    assert first_voxels(image) == [0, 1000, 2000]
    assert any("2 of 3 slices" in warning and "image-0010.dcm" in warning for warning in header.warnings)


def test_a_lost_slice_shifts_no_other_volume(tmp_path):
    made = volumes(5, lambda _: {})  # nothing but instance numbers tells the volumes apart
    del made[4]
    assert first_voxels(read_image(write(made, tmp_path), where="e/c")) == [0, 2000, 3000, 4000]


def test_nothing_tells_two_slices_apart(tmp_path):
    made = frames(planes(3), InstanceNumber=None)
    (other,) = frames(planes(1, start=77), InstanceNumber=None)
    other.SOPInstanceUID = "1.2.3"
    with pytest.raises(CaseError) as error:
        read_header(write([*made, other], tmp_path), where="e/c")
    assert error.value.code == "dicom.duplicate_slices"
    assert "image-0001.dcm" in error.value.details["first pair"]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_neither_names_nor_the_order_of_files_nor_instance_numbers_place_a_slice(tmp_path_factory, seed):
    random = np.random.default_rng(seed)
    made = frames(planes(5))
    for dataset, number in zip(made, random.permutation(5), strict=True):
        dataset.InstanceNumber = int(number) + 1
    paths = write([made[i] for i in random.permutation(5)], tmp_path_factory.mktemp("shuffled"))
    image = read_image([paths[i] for i in random.permutation(5)], where="e/c")
    np.testing.assert_array_equal(image.array[0], planes(5))


class TestEnhanced:
    def test_time_and_place_come_from_the_functional_groups(self, tmp_path):
        voxels = np.stack([planes(3, start=1000 * t) for t in range(2)])
        made = enhanced(voxels)
        order = [4, 2, 0, 5, 1, 3]
        groups = list(made.PerFrameFunctionalGroupsSequence)
        made.PerFrameFunctionalGroupsSequence = [groups[i] for i in order]
        put_pixels(made, voxels.reshape(-1, 6, 8)[order])
        image = read_image(write([made], tmp_path), where="e/c")
        np.testing.assert_array_equal(image.array[:, 0], voxels)

    def test_an_index_whose_bytes_look_like_a_blank_counts(self, tmp_path):
        """32 is the blank of text, and pads it; 0 does too."""
        voxels = np.stack([planes(2, start=100 * t) for t in range(34)])
        image = read_image(write([enhanced(voxels)], tmp_path), where="e/c")
        np.testing.assert_array_equal(image.array[:, 0], voxels)

    def test_stacks_of_one_object_are_images(self, tmp_path):
        made = enhanced(np.stack([planes(3), planes(3, start=500)]))
        for group in made.PerFrameFunctionalGroupsSequence:
            content = group.FrameContentSequence[0]
            content.StackID = str(content.TemporalPositionIndex)
        found = dicom.read_all(write([made], tmp_path))
        assert [int(image.array.flat[0]) for _, image in found] == [0, 500]
        only = read_image(write([made], tmp_path), where="e/c", request=Request(select={"StackID": "2"}))
        assert only.array.flat[0] == 500

    def test_the_parts_of_a_concatenation_are_one_image(self, tmp_path):
        low, high = enhanced(planes(3)), enhanced(planes(2, start=144), origin=(-20, 15, -303))
        high.SOPInstanceUID = "1.2.3.4"
        image = read_image(write([high, low], tmp_path), where="e/c")
        np.testing.assert_array_equal(image.array[0], planes(5))

    def test_water_and_fat_of_one_object_are_images(self, tmp_path):
        made = enhanced(np.stack([planes(3), planes(3, start=500)]))
        for group in made.PerFrameFunctionalGroupsSequence:
            word = ("WATER", "FAT")[group.FrameContentSequence[0].TemporalPositionIndex - 1]
            group.MRImageFrameTypeSequence = [item(FrameType=["DERIVED", "PRIMARY", "DIXON", word])]
        assert len(dicom.read_all(write([made], tmp_path))) == 2

    def test_a_large_object_is_read_in_parts(self, tmp_path, monkeypatch):
        monkeypatch.setattr(dicom, "CHUNK_BYTES", 200)
        voxels = np.stack([planes(3, start=1000 * t) for t in range(2)])
        image = read_image(write([enhanced(voxels)], tmp_path), where="e/c")
        np.testing.assert_array_equal(image.array[:, 0], voxels)
