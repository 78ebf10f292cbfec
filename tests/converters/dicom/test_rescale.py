"""From stored numbers to physical ones: where slope, intercept and unit stand, and what becomes of a whole stack."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from medshard.converters.dicom.rescale import FrameRescale, folded, frame_rescale, in_suv, stack_rescale
from medshard.errors import CaseError

PAIRS = st.tuples(st.sampled_from([0.5, 1.0, 2.25]), st.sampled_from([-1024.0, 0.0, 3.5]))


def header(**fields: Any) -> Dataset:
    dataset = Dataset()
    for name, value in {"Modality": "CT", "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], **fields}.items():
        setattr(dataset, name, value)
    return dataset


def transformation(slope: float, kind: str = "HU") -> Dataset:
    group, item = Dataset(), Dataset()
    item.RescaleSlope, item.RescaleIntercept, item.RescaleType = slope, -1000, kind
    group.PixelValueTransformationSequence = Sequence([item])
    return group


def frames(pairs: list[tuple[float, float]], unit: str = "BQML") -> list[FrameRescale]:
    return [FrameRescale(slope=slope, intercept=intercept, unit=unit) for slope, intercept in pairs]


class TestUnits:
    @pytest.mark.parametrize(
        ("fields", "unit"),
        [
            ({"RescaleSlope": 1, "RescaleIntercept": -1024}, "HU"),
            ({"RescaleSlope": 1, "RescaleIntercept": -1024, "RescaleType": "HU"}, "HU"),
            ({"RescaleSlope": 1, "RescaleIntercept": -1024, "RescaleType": "US"}, "HU"),
            ({"RescaleSlope": 1, "RescaleIntercept": 0, "RescaleType": "MGML"}, "MGML"),
            ({"RescaleSlope": 1, "RescaleIntercept": 0, "RescaleType": "a name"}, "arbitrary"),
            (
                {"RescaleSlope": 1, "RescaleIntercept": 0, "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
                "arbitrary",
            ),
            ({}, "arbitrary"),
            ({"Modality": "MR", "RescaleSlope": 2, "RescaleIntercept": 0, "RescaleType": "normalized"}, "arbitrary"),
            ({"Modality": "PT", "Units": "BQML", "RescaleSlope": 2, "RescaleIntercept": 0}, "BQML"),
            ({"Modality": "NM"}, "arbitrary"),
            ({"Modality": "RTDOSE", "DoseUnits": "GY", "DoseGridScaling": "0.001"}, "GY"),
        ],
    )
    def test_the_unit_is_a_word_of_dicom_or_arbitrary(self, fields, unit):
        assert frame_rescale(header(**fields)).unit == unit

    def test_a_ct_without_rescale_is_not_called_hu_and_that_is_noted(self):
        found = frame_rescale(header())
        assert (found.slope, found.intercept, found.unit) == (1.0, 0.0, "arbitrary")
        assert "whether its numbers are HU is unknown" in found.note

    def test_free_text_never_leaves_the_header(self):
        found = frame_rescale(header(RescaleSlope=1, RescaleIntercept=0, RescaleType="DOE JOHN"))
        assert "DOE" not in found.unit + found.note


class TestFrames:
    def test_the_groups_of_the_frame_outweigh_those_of_all_frames(self):
        dataset = header(RescaleSlope=9, RescaleIntercept=9)
        dataset.SharedFunctionalGroupsSequence = Sequence([transformation(2)])
        dataset.PerFrameFunctionalGroupsSequence = Sequence([transformation(3), Dataset()])
        assert [frame_rescale(dataset, number).slope for number in (0, 1)] == [3.0, 2.0]
        assert frame_rescale(dataset, 0).intercept == -1000.0

    def test_a_dose_grid_has_a_slope_of_its_own_name(self):
        dataset = pydicom.dcmread(str(get_testdata_file("rtdose.dcm")))
        assert frame_rescale(dataset).slope == float(dataset.DoseGridScaling)
        assert frame_rescale(dataset).unit == "RELATIVE"

    def test_a_radiograph_that_is_shown_inverted_is_turned_over(self):
        dataset = pydicom.dcmread(str(get_testdata_file("RG3_UNCR.dcm")))
        found = frame_rescale(dataset)
        assert (found.slope, found.intercept, found.unit) == (-1.0, 1023.0, "arbitrary")

    def test_hounsfield_units_are_not_turned_over(self):
        dataset = header(PhotometricInterpretation="MONOCHROME1", BitsStored=12, RescaleSlope=1, RescaleIntercept=-1024)
        assert frame_rescale(dataset).slope == 1.0

    def test_a_modality_table_has_been_applied_already(self):
        dataset = pydicom.dcmread(str(get_testdata_file("mlut_18.dcm")))
        assert (frame_rescale(dataset).slope, frame_rescale(dataset).intercept) == (1.0, 0.0)

    def test_a_slope_of_zero_is_not_believed_and_noted(self):
        found = frame_rescale(header(RescaleSlope=0, RescaleIntercept=5))
        assert found.slope == 1.0
        assert "zero" in found.note

    def test_a_slope_that_is_no_number_is_an_error_without_its_content(self):
        dataset = header()
        dataset.add_new(0x00281053, "LO", "DOE JOHN")
        with pytest.raises(CaseError, match="read.unreadable") as error:
            frame_rescale(dataset)
        assert "DOE" not in str(error.value)

    def test_a_real_world_mapping_and_philips_private_scale_are_told(self):
        dataset = header(Modality="MR", RescaleSlope=2, RescaleIntercept=0, RealWorldValueMappingSequence=[Dataset()])
        dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", 0.004)
        note = frame_rescale(dataset).note
        assert "real world value mapping" in note
        assert "private scale slope" in note


class TestStacks:
    def test_equal_frames_have_one_pair(self):
        found = stack_rescale(frames([(2.0, 1.0)] * 6), steps=2)
        assert (found.rescale.slope, found.rescale.intercept, found.fold) == ((2.0,), (1.0,), None)

    def test_slices_that_differ_alike_in_every_step_keep_a_pair_each(self):
        found = stack_rescale(frames([(1.0, 0.0), (2.0, 0.0)] * 3), steps=3)
        assert (found.rescale.slope, found.fold) == ((1.0, 2.0), None)

    @given(pairs=st.lists(PAIRS, min_size=6, max_size=6), seed=st.integers(0, 9))
    def test_the_physical_values_are_right_whatever_differs(self, pairs, seed):
        stored = np.random.default_rng(seed).integers(-500, 500, (2, 1, 3, 2, 2)).astype(np.int16)
        found = stack_rescale(frames(pairs), steps=2)
        kept = stored if found.fold is None else folded(stored, found.fold)
        table = np.array(pairs).reshape(2, 1, 3, 1, 1, 2)
        expected = (stored * table[..., 0] + table[..., 1]).astype(np.float32)
        np.testing.assert_array_equal(found.rescale.apply(kept), expected)
        assert (found.fold is None) == (pairs[:3] == pairs[3:])

    def test_an_applied_rescale_is_noted(self):
        assert "float32" in stack_rescale(frames([(1.0, 0.0), (2.0, 0.0)]), steps=2).notes[0]

    def test_notes_are_said_once(self):
        noted = [FrameRescale(slope=1.0, intercept=0.0, unit="HU", note="a doubt")] * 5
        assert stack_rescale(noted).notes == ("a doubt",)

    def test_units_that_differ_are_none(self):
        mixed = [*frames([(1.0, 0.0)], "HU"), *frames([(1.0, 0.0)], "MGML")]
        assert stack_rescale(mixed).rescale.unit == "arbitrary"

    @pytest.mark.parametrize("pairs", [[(2.0, 0.0)] * 4, [(1.0, 0.0), (2.0, 0.0), (3.0, 0.0), (4.0, 0.0)]])
    def test_in_suv_every_value_is_the_factor_times_itself(self, pairs):
        stored = np.arange(8, dtype=np.int16).reshape(2, 1, 2, 1, 2)
        plain = stack_rescale(frames(pairs), steps=2)
        suv = in_suv(plain, 0.25)
        values = [
            item.rescale.apply(stored if item.fold is None else folded(stored, item.fold)) for item in (plain, suv)
        ]
        np.testing.assert_allclose(values[1], values[0] * 0.25)
        assert suv.rescale.unit == "SUVbw"
