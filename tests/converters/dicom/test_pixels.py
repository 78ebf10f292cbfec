"""Stored numbers of DICOM frames against pydicom's and GDCM's readings of real files, and against planted faults."""

from __future__ import annotations

import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian

from medshard.converters.dicom.pixels import decode_file, stored_form
from medshard.errors import CaseError

SYNTAXES = [
    "MR_small_implicit.dcm", "MR_small.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm", "MR_small_RLE.dcm",
    "SC_rgb_jpeg_dcmtk.dcm", "JPGExtended.dcm", "JPEG-LL.dcm", "JPGLosslessP14SV1_1s_1f_8b.dcm",
    "MR_small_jpeg_ls_lossless.dcm", "JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm",
    "MR_small_jp2klossless.dcm", "JPEG2000.dcm", "SC_rgb_gdcm_KY.dcm",
]  # fmt: skip
COLOURS = [
    "color-pl.dcm", "color-px.dcm", "SC_rgb_16bit.dcm", "SC_rgb_rle_32bit_2frame.dcm", "ExplVR_BigEnd.dcm",
    "SC_rgb_small_odd_big_endian.dcm", "SC_ybr_full_uncompressed.dcm", "SC_ybr_full_422_uncompressed.dcm",
    "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_jls_lossy_line.dcm", "SC_rgb_jls_lossy_sample.dcm", "US1_J2KI.dcm", "US1_J2KR.dcm",
    "GDCMJ2K_TextGBR.dcm", "SC_rgb_jpeg_app14_dcmd.dcm", "SC_rgb_small_odd_jpeg.dcm", "examples_palette.dcm",
    "gdcm-US-ALOKA-16.dcm", "OBXXXX1A.dcm", "OBXXXX1A_rle_2frame.dcm",
]  # fmt: skip
OTHERS = [
    "J2K_pixelrep_mismatch.dcm", "mlut_18.dcm", "liver.dcm", "liver_expb.dcm", "rtdose.dcm", "rtdose_expb.dcm",
    "rtdose_rle.dcm", "emri_small_RLE.dcm", "emri_small_jpeg_ls_lossless.dcm", "emri_small_jpeg_2k_lossless.dcm",
    "emri_small_big_endian.dcm", "MR_small_padded.dcm", "explicit_VR-UN.dcm",
]  # fmt: skip


def sample(name: str) -> Any:
    found = get_testdata_file(name)
    assert isinstance(found, str)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(found)


def as_pydicom_reads(name: str) -> np.ndarray:
    dataset = sample(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plugin = "pylibjpeg" if dataset.file_meta.TransferSyntaxUID.is_encapsulated else ""
        stored = pixel_array(dataset, decoding_plugin=plugin)
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            stored = apply_color_lut(stored, dataset)
        elif "ModalityLUTSequence" in dataset:
            stored = apply_modality_lut(stored, dataset)
    channels = 3 if dataset.PhotometricInterpretation == "PALETTE COLOR" else dataset.SamplesPerPixel
    return stored.reshape(-1, dataset.Rows, dataset.Columns, channels)


def made(words: np.ndarray, *, syntax: str = ExplicitVRLittleEndian, **fields: Any) -> Dataset:
    """A grey single frame of unsigned words as they lie in the file."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.Rows, dataset.Columns = words.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = words.dtype.itemsize * 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits, bits - 1, 0
    dataset.add_new(0x7FE00010, "OW", words.tobytes())
    for name, value in fields.items():
        setattr(dataset, name, value)
    return dataset


def refused(dataset: Any) -> CaseError:
    with pytest.raises(CaseError) as error:
        decode_file(dataset, file=Path("a.dcm"))
    return error.value


class TestRealFiles:
    @pytest.mark.parametrize("name", SYNTAXES + COLOURS + OTHERS)
    def test_the_numbers_are_those_of_pydicom_in_every_syntax_and_colour(self, name):
        np.testing.assert_array_equal(decode_file(sample(name)), as_pydicom_reads(name))

    @pytest.mark.parametrize("name", ["MR_small_jp2klossless.dcm", "MR_small_RLE.dcm", "MR_small_jpeg_ls_lossless.dcm",
                                      "JPEG-LL.dcm", "color-pl.dcm", "gdcm-US-ALOKA-16_big.dcm", "image_dfl.dcm",
                                      "SC_ybr_full_422_uncompressed.dcm", "explicit_VR-UN.dcm"])  # fmt: skip
    def test_the_numbers_are_those_of_gdcm(self, name):
        image = sitk.ReadImage(str(get_testdata_file(name)))
        dataset = sample(name)
        values = decode_file(dataset).astype(float) * float(dataset.get("RescaleSlope") or 1)
        values += float(dataset.get("RescaleIntercept") or 0)
        expected = sitk.GetArrayFromImage(image).astype(float)
        np.testing.assert_array_equal(values.reshape(expected.shape), expected)

    @pytest.mark.parametrize("name", SYNTAXES + COLOURS + OTHERS)
    def test_the_header_alone_tells_the_form_of_the_numbers(self, name):
        form, found = stored_form(sample(name)), decode_file(sample(name))
        assert (form.dtype, form.channels) == (str(found.dtype), found.shape[-1])

    @pytest.mark.parametrize("name", ["OBXXXX1A_expb.dcm", "gdcm-US-ALOKA-16_big.dcm"])
    def test_a_big_endian_palette_gives_the_colours_of_its_little_endian_twin(self, name):
        twin = {"OBXXXX1A_expb.dcm": "OBXXXX1A.dcm", "gdcm-US-ALOKA-16_big.dcm": "gdcm-US-ALOKA-16.dcm"}[name]
        np.testing.assert_array_equal(decode_file(sample(name)), decode_file(sample(twin)))

    @pytest.mark.parametrize(
        "name", ["emri_small.dcm", "emri_small_RLE.dcm", "emri_small_jpeg_2k_lossless.dcm", "liver.dcm"]
    )
    def test_frames_are_had_by_number_in_the_order_asked_for(self, name):
        everything = decode_file(sample(name))
        np.testing.assert_array_equal(decode_file(sample(name), [2, 0]), everything[[2, 0]])

    def test_only_the_wanted_frame_is_decoded(self):
        dataset = sample("emri_small_jpeg_ls_lossless.dcm")
        streams = list(generate_frames(dataset.PixelData, number_of_frames=10))
        broken = encapsulate([stream if number == 3 else b"\0" * 20 for number, stream in enumerate(streams)])
        expected = decode_file(dataset, [3])
        dataset["PixelData"]._value = broken
        np.testing.assert_array_equal(decode_file(dataset, [3]), expected)

    @pytest.mark.parametrize("name", ["MR_truncated.dcm"])
    def test_missing_pixels_are_an_error_that_names_the_file(self, name):
        with pytest.raises(CaseError, match="read.truncated") as error:
            decode_file(sample(name))
        assert error.value.where == name


class TestBits:
    @given(stored=st.integers(2, 16), shift=st.integers(0, 14), signed=st.booleans(), seed=st.integers(0, 99))
    @settings(max_examples=60, deadline=None)
    def test_only_the_meaningful_bits_count_whatever_lies_in_the_others(self, stored, shift, signed, seed):
        high = min(15, stored - 1 + shift)
        lowest = high - stored + 1
        random = np.random.default_rng(seed)
        least, most = (-(1 << (stored - 1)), 1 << (stored - 1)) if signed else (0, 1 << stored)
        values = random.integers(least, most, (4, 5))
        field = ((1 << stored) - 1) << lowest
        garbage = random.integers(0, 1 << 16, (4, 5)) & ~field
        words = ((values << lowest) & field | garbage).astype("<u2")
        dataset = made(words, BitsStored=stored, HighBit=high, PixelRepresentation=int(signed))
        found = decode_file(dataset)
        np.testing.assert_array_equal(found[0, :, :, 0], values)
        assert found.dtype == (np.int16 if signed else np.uint16)

    def test_clean_numbers_are_not_copied(self):
        dataset = made(np.arange(20, dtype="<u2").reshape(4, 5), BitsStored=12, HighBit=11)
        assert not decode_file(dataset).flags.owndata

    def test_bytes_in_big_endian_words_lie_the_other_way_round(self):
        pixels = np.arange(20, dtype=np.uint8).reshape(4, 5)
        swapped = pixels.reshape(-1, 2)[:, ::-1].reshape(4, 5)
        dataset = made(np.ascontiguousarray(swapped), syntax=ExplicitVRBigEndian)
        np.testing.assert_array_equal(decode_file(dataset)[0, :, :, 0], pixels)

    @pytest.mark.parametrize(("keyword", "dtype"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")])
    def test_floats_come_as_they_are(self, keyword, dtype):
        dataset = made(np.zeros((2, 3), "<u2"))
        del dataset.PixelData
        values = np.array([[0.5, -1.25, 3e7], [1.0, 2.0, np.pi]], dtype)
        setattr(dataset, keyword, values.tobytes())
        np.testing.assert_array_equal(decode_file(dataset)[0, :, :, 0], values)

    @pytest.mark.parametrize("signed", [False, True])
    def test_deflated_frames_are_read_as_what_they_hold(self, signed):
        """Compressed here by zlib: no library at hand writes the syntax."""
        frames = np.arange(-6, 18).reshape(2, 3, 4).astype("<i2" if signed else "<u2")
        dataset = made(frames[0], syntax="1.2.840.10008.1.2.8.1", NumberOfFrames=2, PixelRepresentation=int(signed))
        deflated = []
        for frame in frames:
            deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
            data = deflate.compress(frame.tobytes()) + deflate.flush()
            deflated.append(data + b"\0" * (len(data) % 2))
        dataset.PixelData = encapsulate(deflated)
        dataset["PixelData"].is_undefined_length = True
        np.testing.assert_array_equal(decode_file(dataset)[..., 0], frames)

    def test_a_deflated_file_is_read_as_what_it_holds(self):
        dataset = made(np.arange(6, dtype="<u2").reshape(2, 3), syntax=DeflatedExplicitVRLittleEndian)
        np.testing.assert_array_equal(decode_file(dataset).ravel(), np.arange(6))

    def test_more_bytes_than_needed_are_left_alone(self):
        dataset = made(np.arange(6, dtype="<u2").reshape(2, 3))
        dataset.PixelData += b"\xff\xff\xff\xff"
        np.testing.assert_array_equal(decode_file(dataset).ravel(), np.arange(6))


class TestHostileHeaders:
    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"Rows": 65535, "Columns": 65535}, "read.truncated"),
            ({"Rows": 0}, "read.unreadable"),
            ({"NumberOfFrames": 1_000_000_000}, "read.truncated"),
            ({"NumberOfFrames": -1}, "read.unreadable"),
            ({"BitsAllocated": 7}, "read.unsupported"),
            ({"BitsAllocated": 0}, "read.unreadable"),
            ({"BitsStored": 17}, "read.unreadable"),
            ({"HighBit": 16}, "read.unreadable"),
            ({"SamplesPerPixel": 2}, "read.unsupported"),
            ({"SamplesPerPixel": 3}, "read.unreadable"),
            ({"PixelData": b"\0" * 11}, "read.truncated"),
        ],
    )
    def test_what_cannot_be_true_is_refused_before_anything_is_allocated(self, fields, code):
        assert refused(made(np.zeros((2, 3), "<u2"), **fields)).code == code

    @pytest.mark.parametrize("name", ["MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_RLE.dcm",
                                      "JPGExtended.dcm"])  # fmt: skip
    @pytest.mark.parametrize("fields", [{"Rows": 65535, "Columns": 65535}, {"NumberOfFrames": 1_000_000_000}])
    def test_compressed_frames_of_another_size_than_the_header_says_are_refused(self, name, fields):
        dataset = sample(name)
        for keyword, value in fields.items():
            setattr(dataset, keyword, value)
        assert refused(dataset).code in ("read.truncated", "read.unreadable")

    @pytest.mark.parametrize("name", ["MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPGExtended.dcm",
                                      "JPEG-LL.dcm", "MR_small_RLE.dcm"])  # fmt: skip
    @pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
    def test_a_cut_stream_is_an_error_and_never_a_picture(self, name, part):
        dataset = sample(name)
        stream = next(generate_frames(dataset.PixelData, number_of_frames=1))
        dataset["PixelData"]._value = encapsulate([stream[: int(len(stream) * part)]])
        assert refused(dataset).code in ("read.truncated", "read.unreadable")

    def test_an_unknown_transfer_syntax_is_named(self):
        dataset = made(np.zeros((2, 3), "<u2"), syntax="1.2.840.10008.1.2.4.102")
        error = refused(dataset)
        assert error.code == "read.unsupported"
        assert "MPEG-4" in error.details["found"]
