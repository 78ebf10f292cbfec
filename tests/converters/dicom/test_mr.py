"""Contrast words and diffusion weights read off MR headers of six makers, worded as their scanners write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from medshard.converters.dicom import mr
from medshard.registry.vocabulary import Sequence

OBLIQUE = [0.8, 0.6, 0.0, -0.6, 0.8, 0.0]


def header(**fields: Any) -> Dataset:
    dataset = Dataset()
    for name, value in {"Modality": "MR", "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"], **fields}.items():
        setattr(dataset, name, value)
    return dataset


def private(group: int, creator: str, **elements: tuple[str, Any]) -> Dataset:
    dataset = header()
    block = dataset.private_block(group, creator, create=True)
    for name, (vr, value) in elements.items():
        block.add_new(int(name[1:], 16), vr, value)
    return dataset


def timed(kind: str | list[str], echo: float, repetition: float, **fields: Any) -> Dataset:
    return header(ScanningSequence=kind, EchoTime=echo, RepetitionTime=repetition, **fields)


class TestSequence:
    @pytest.mark.parametrize(
        ("dataset", "word"),
        [
            (timed("SE", 100, 4000), Sequence.T2),
            (timed("SE", 12, 600), Sequence.T1),
            (timed("SE", 30, 3000), Sequence.PD),
            (timed(["SE", "IR"], 90, 9000, InversionTime=2500), Sequence.FLAIR),
            (timed(["GR", "IR"], 3, 2300, InversionTime=900, SequenceVariant=["SK", "SP", "MP"]), Sequence.T1),
            (timed("GR", 25, 600), Sequence.T2_STAR),
            (timed(["EP", "GR"], 30, 2000), Sequence.T2_STAR),
            (timed("SE", 50, 1200), None),
            (header(SeriesDescription="t1_mprage_sag"), Sequence.T1),
            (header(SeriesDescription="AX T1 POST"), Sequence.T1C),
            (header(SeriesDescription="t1_vibe_fs art"), Sequence.T1),
            (header(SeriesDescription="t1_vibe_fs art", ContrastBolusAgent="Gadovist"), Sequence.T1_ARTERIAL),
            (header(SeriesDescription="t1_vibe pre", ContrastBolusAgent="Gadovist"), Sequence.T1),
            (header(SeriesDescription="t1 se", ContrastBolusAgent="NONE"), Sequence.T1),
            (header(SeriesDescription="t2_tirm_tra_dark-fluid"), Sequence.FLAIR),
            (header(SeriesDescription="t2_tse_tra"), Sequence.T2),
            (header(SeriesDescription="Ax T2* GRE"), Sequence.T2_STAR),
            (header(SeriesDescription="SWI_Images"), Sequence.SWI),
            (header(SeriesDescription="3D TOF"), Sequence.TOF),
            (header(ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]), Sequence.ADC),
            (header(ImageType=["ORIGINAL", "PRIMARY", "DIXON", "WATER"], SeriesDescription="t1_vibe"), Sequence.WATER),
            (header(ImageType=["ORIGINAL", "PRIMARY", "P", "ND"], SeriesDescription="t1"), None),
            (header(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], SeriesDescription="t2"), None),
            (header(SeriesDescription="MR of Mr Flairty T1000"), None),
            (header(Modality="CT", SeriesDescription="t1"), None),
            (header(DiffusionBValue=0.0, SeriesDescription="ep2d_diff"), Sequence.B0),
            (header(DiffusionBValue=800.0), Sequence.DWI),
            (header(DiffusionBValue=1400.0), Sequence.HIGH_B),
            (header(DiffusionBValue=0.0, ScanningSequence="SE", EchoTime=90, RepetitionTime=4000), Sequence.T2),
        ],
    )  # fmt: skip
    def test_the_word_is_what_the_header_decides(self, dataset, word):
        assert mr.sequence(dataset) == word

    def test_a_stack_of_several_b_values_is_a_diffusion_image(self):
        assert mr.sequence(header(DiffusionBValue=0.0, SeriesDescription="dwi"), (0.0, 1000.0)) is Sequence.DWI

    def test_an_enhanced_object_states_its_contrast(self):
        dataset, group, frame_type = header(), Dataset(), Dataset()
        frame_type.AcquisitionContrast = "FLUID_ATTENUATED"
        group.MRImageFrameTypeSequence = Items([frame_type])
        dataset.PerFrameFunctionalGroupsSequence = Items([group])
        assert mr.sequence(dataset) is Sequence.FLAIR

    @pytest.mark.parametrize("name", ["MR_small.dcm", "emri_small.dcm"])
    def test_a_real_header_gives_a_word_or_none(self, name):
        found = mr.sequence(pydicom.dcmread(str(get_testdata_file(name))))
        assert found is None or isinstance(found, Sequence)


class TestDiffusion:
    @pytest.mark.parametrize(
        ("dataset", "b_value", "direction"),
        [
            (header(DiffusionBValue=1000.0, DiffusionGradientOrientation=[0.0, 0.6, 0.8]), 1000, (0, 0.6, 0.8)),
            (private(0x0019, "SIEMENS MR HEADER", x0C=("IS", "700"), x0E=("FD", [0.0, 0.0, -2.0])), 700, (0, 0, -1)),
            (private(0x0043, "GEMS_PARM_01", x39=("IS", [1000000800, 8, 0, 0])), 800, None),
            (private(0x2001, "Philips Imaging DD 001", x03=("FL", 600.0), x04=("CS", "I")), 600, None),
            (private(0x0065, "Image Private Header", x09=("FD", 1000.0)), 1000, None),
            (header(Manufacturer="TOSHIBA_MEC", ImageComments="b=1500(0.0,0.6,0.8)"), 1500, (0, 0.6, 0.8)),
        ],
    )
    def test_every_maker_is_understood(self, dataset, b_value, direction):
        found = mr.diffusion(dataset)
        assert found is not None
        assert found.b_value_s_mm2 == b_value
        if direction is None:
            assert found.direction is None
        else:
            np.testing.assert_allclose(found.direction, direction)

    def test_bytes_of_an_unknown_kind_are_read_as_the_maker_means_them(self):
        raw = np.array([650.0], "<f8").tobytes()
        found = mr.diffusion(private(0x0065, "Image Private Header", x09=("UN", raw)))
        assert found is not None
        assert found.b_value_s_mm2 == 650.0

    def test_united_imaging_states_directions_in_the_axes_of_the_image(self):
        dataset = private(0x0065, "Image Private Header", x09=("FD", 1000.0), x37=("FD", [1.0, 0.0, 0.0]))
        dataset.ImageOrientationPatient = OBLIQUE
        found = mr.diffusion(dataset)
        assert found is not None
        np.testing.assert_allclose(found.direction, OBLIQUE[:3])

    def test_ge_states_directions_in_the_axes_of_the_image_with_the_normal_reversed(self):
        dataset = private(0x0019, "GEMS_ACQU_01", xBB=("DS", "0"), xBC=("DS", "0.6"), xBD=("DS", "0.8"))
        dataset.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x39, "IS", [1000, 8, 0, 0])
        dataset.ImageOrientationPatient = OBLIQUE
        dataset.InPlanePhaseEncodingDirection = "COL"
        found = mr.diffusion(dataset)
        assert found is not None
        np.testing.assert_allclose(found.direction, [-0.36, 0.48, -0.8])

    def test_every_frame_of_an_enhanced_object_has_its_own(self):
        dataset, groups = header(), []
        for b_value in (0.0, 500.0):
            group, item = Dataset(), Dataset()
            item.DiffusionBValue = b_value
            group.MRDiffusionSequence = Items([item])
            groups.append(group)
        dataset.PerFrameFunctionalGroupsSequence = Items(groups)
        found = [mr.diffusion(dataset, number) for number in (0, 1)]
        assert [item.b_value_s_mm2 for item in found if item] == [0.0, 500.0]

    @pytest.mark.parametrize("b_value", [-1.0, 1e9, float("nan")])
    def test_a_b_value_that_cannot_be_is_none(self, b_value):
        assert mr.diffusion(header(DiffusionBValue=b_value)) is None

    def test_a_zero_in_a_gradient_echo_says_nothing(self):
        assert mr.diffusion(header(DiffusionBValue=0.0, ScanningSequence="GR")) is None

    def test_a_header_without_diffusion_has_none(self):
        assert mr.diffusion(pydicom.dcmread(str(get_testdata_file("MR_small.dcm")))) is None
