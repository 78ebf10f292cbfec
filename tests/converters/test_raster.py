"""Pictures, against SimpleITK's decoders and against the pixels they were made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import ExifTags
from PIL import Image as Pillow
from pydicom import dcmread
from pydicom.data import get_testdata_file

from medshard.converters.geometry import canonical_orientation
from medshard.converters.reading import read_header, read_image
from medshard.errors import CaseError

# A real MR slice (64 x 64, cropped so that the sides differ) and a real colour ultrasound frame.
GREY16 = dcmread(str(get_testdata_file("MR_small.dcm"))).pixel_array[:40].astype(np.uint16)
GREY8 = (GREY16 // 16).astype(np.uint8)
COLOUR = dcmread(str(get_testdata_file("examples_rgb_color.dcm"))).pixel_array[60:140, 40:160]


def save(path: Path, pixels: np.ndarray, **options) -> list[Path]:
    Pillow.fromarray(pixels).save(path, **options)
    return [path]


def refused(files: list[Path]) -> CaseError:
    with pytest.raises(CaseError) as error:
        read_image(files, where="entry/case")
    return error.value


@pytest.mark.parametrize(
    ("pixels", "suffix"),
    [(GREY8, ".png"), (GREY8, ".tif"), (GREY8, ".bmp"), (GREY16, ".png"), (GREY16, ".tif")]
    + [(COLOUR, suffix) for suffix in (".png", ".tif", ".bmp")],
)
def test_pixels_are_those_of_simpleitk(tmp_path, pixels, suffix):
    files = save(tmp_path / f"picture{suffix}", pixels)
    image, header = read_image(files, where="e/c"), read_header(files, where="e/c")
    oracle = sitk.GetArrayFromImage(sitk.ReadImage(str(files[0])))
    # SimpleITK reads the grey of a BMP, which is stored as a palette, as three equal channels.
    grey = oracle[..., 0] if oracle.ndim > pixels.ndim else oracle
    expected = np.moveaxis(oracle, -1, 0)[:, None] if pixels.ndim == 3 else grey[None, None]
    np.testing.assert_array_equal(image.array, expected)
    assert image.array.dtype == pixels.dtype == np.dtype(header.dtype)
    assert (header.channels, *header.shape) == image.array.shape
    assert header.warnings == ()


def test_a_jpeg_is_decoded_as_simpleitk_decodes_it(tmp_path):
    # With whole chroma: decoders differ in how they enlarge a subsampled one.
    files = save(tmp_path / "picture.jpg", COLOUR, quality=90, subsampling=0)
    oracle = sitk.GetArrayFromImage(sitk.ReadImage(str(files[0])))
    difference = read_image(files, where="e/c").array[:, 0].astype(int) - np.moveaxis(oracle, -1, 0)
    assert np.abs(difference).max() <= 3


def test_a_picture_has_no_geometry_and_canonical_orientation_leaves_it_upright(tmp_path):
    image = read_image(save(tmp_path / "picture.png", GREY8), where="e/c")
    assert not image.trusted_geometry
    assert image.spacing_mm == (1.0, 1.0, 1.0)
    assert canonical_orientation(image.affine).is_identity


def test_a_palette_becomes_rgb_and_the_header_says_so(tmp_path):
    palette = Pillow.fromarray(COLOUR).quantize(16)
    palette.save(tmp_path / "picture.png")
    files = [tmp_path / "picture.png"]
    colours = np.array(palette.getpalette()).reshape(-1, 3)
    np.testing.assert_array_equal(
        read_image(files, where="e/c").array[:, 0], np.moveaxis(colours[np.array(palette)], -1, 0)
    )
    assert read_header(files, where="e/c").warnings == ("palette expanded to RGB",)


@pytest.mark.parametrize("pixels", [GREY8[..., None], COLOUR], ids=["grey", "RGB"])
@pytest.mark.parametrize("clear", [0, 25])
def test_alpha_is_dropped_and_the_header_says_how_much_it_told(tmp_path, pixels, clear):
    alpha = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    alpha.flat[:clear] = 7
    files = save(tmp_path / "picture.png", np.concatenate([pixels, alpha], axis=-1))
    np.testing.assert_array_equal(read_image(files, where="e/c").array[:, 0], np.moveaxis(pixels, -1, 0))
    (warning,) = read_header(files, where="e/c").warnings
    expected = f"{clear} of {alpha.size} pixels" if clear else "every pixel is opaque"
    assert warning.startswith("alpha channel dropped")
    assert expected in warning


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [(3, lambda p: p[::-1, ::-1]), (6, lambda p: np.rot90(p, -1)), (8, np.rot90), (2, lambda p: p[:, ::-1])],
)
def test_exif_orientation_is_applied_and_the_header_agrees(tmp_path, orientation, upright):
    exif = Pillow.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    files = save(tmp_path / "picture.png", GREY8, exif=exif)
    image, header = read_image(files, where="e/c"), read_header(files, where="e/c")
    np.testing.assert_array_equal(image.array[0, 0], upright(GREY8))
    assert header.shape == image.shape
    assert header.warnings == (f"EXIF orientation {orientation} applied",)


def test_a_two_level_picture_holds_zeros_and_ones(tmp_path):
    Pillow.fromarray(GREY8 > 60).save(tmp_path / "mask.png")
    image = read_image([tmp_path / "mask.png"], where="e/c")
    assert image.array.dtype == np.uint8
    np.testing.assert_array_equal(image.array[0, 0], GREY8 > 60)


def test_float_pixels_stay_floats(tmp_path):
    files = save(tmp_path / "map.tif", GREY16.astype(np.float32) / 7)
    np.testing.assert_array_equal(read_image(files, where="e/c").array[0, 0], GREY16.astype(np.float32) / 7)


def test_colours_of_16_bits_keep_them(tmp_path):
    deep = np.stack([GREY16, GREY16 * 3, GREY16 + 9], axis=-1)
    sitk.WriteImage(sitk.GetImageFromArray(deep, isVector=True), str(tmp_path / "picture.png"))
    image = read_image([tmp_path / "picture.png"], where="e/c")
    assert image.array.dtype == np.uint16
    np.testing.assert_array_equal(image.array[:, 0], np.moveaxis(deep, -1, 0))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_a_cut_picture_is_truncated(tmp_path, suffix):
    files = save(tmp_path / f"picture{suffix}", COLOUR)
    files[0].write_bytes(files[0].read_bytes()[: files[0].stat().st_size // 2])
    error = refused(files)
    assert error.code == "read.truncated"
    assert str(tmp_path) not in str(error)


def test_changed_bytes_in_a_png_are_refused(tmp_path):
    files = save(tmp_path / "picture.png", COLOUR)
    content = bytearray(files[0].read_bytes())
    content[len(content) // 2] ^= 0xFF
    files[0].write_bytes(content)
    assert refused(files).code in ("read.unreadable", "read.truncated")
