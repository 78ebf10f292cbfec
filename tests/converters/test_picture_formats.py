"""What each format states, against decoders of other libraries; and where Pillow, which is one, changes numbers."""

from __future__ import annotations

import io
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import tifffile
from made_pictures import exif_block, png_bytes
from PIL import Image as Pillow
from pydicom import dcmread
from pydicom.data import get_testdata_file

from medshard.converters.reading import identify, read_header, read_image
from medshard.errors import CaseError

GREY16 = dcmread(str(get_testdata_file("MR_small.dcm"))).pixel_array[:40].astype(np.uint16)
COLOUR = dcmread(str(get_testdata_file("examples_rgb_color.dcm"))).pixel_array[60:140, 40:160]
DEEP = np.stack([GREY16, GREY16 * 5, GREY16 + 77], axis=-1)


def stored(path: Path, content: bytes) -> list[Path]:
    path.write_bytes(content)
    return [path]


def pixels(files: list[Path]) -> np.ndarray:
    return np.moveaxis(read_image(files, where="e/c").array[:, 0], 0, -1)


def warnings_of(files: list[Path]) -> str:
    return " | ".join(read_header(files, where="e/c").warnings)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("samples", [GREY16, DEEP], ids=["grey", "colour"])
def test_16_bits_are_those_of_simpleitk(tmp_path, suffix, samples):
    path = tmp_path / f"deep.{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(samples, isVector=samples.ndim == 3), str(path))
    oracle = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    np.testing.assert_array_equal(pixels([path]).squeeze(), oracle)


def test_pillow_loses_half_of_deep_colour_and_we_do_not(tmp_path):
    files = stored(tmp_path / "deep.png", png_bytes(DEEP, 16, 2))
    assert np.asarray(Pillow.open(files[0])).dtype == np.uint8
    np.testing.assert_array_equal(pixels(files), DEEP)


@pytest.mark.parametrize("most", [15, 1000, 4095])
def test_pillow_stretches_netpbm_and_we_do_not(tmp_path, most):
    values = GREY16 % (most + 1)
    body = values.astype(np.uint8 if most < 256 else ">u2").tobytes()
    files = stored(tmp_path / "a.pgm", f"P5 64 40 {most}\n".encode() + body)
    assert np.asarray(Pillow.open(files[0])).max() > most
    np.testing.assert_array_equal(pixels(files)[..., 0], values)
    assert f"states {most} as its largest value" in warnings_of(files)


def test_netpbm_comments_may_stand_anywhere_in_a_text(tmp_path):
    files = stored(tmp_path / "a.pgm", b"P2 # one\n3 # two\n2\n#three\n9\n0 1 2 # four 8 8\n3 4\n9")
    np.testing.assert_array_equal(pixels(files)[..., 0], [[0, 1, 2], [3, 4, 9]])


def test_a_value_beyond_the_stated_largest_is_refused(tmp_path):
    for content in (b"P2 2 1 9\n3 10\n", b"P5 2 1 9\n\x03\x0a"):
        with pytest.raises(CaseError, match="read.unreadable"):
            read_image(stored(tmp_path / "a.pgm", content), where="e/c")


@pytest.mark.parametrize("text", [b"P5 was the fifth patient\n", b"P1,0,1\n", b"P3\n"])
def test_a_text_that_begins_like_netpbm_is_none(tmp_path, text):
    with pytest.raises(CaseError, match="read.unknown_format"):
        identify(stored(tmp_path / "notes.txt", text), "e/c")


@pytest.mark.parametrize("options", [{"subsampling": 2}, {"progressive": True}, {"keep_rgb": True}])
def test_jpeg_is_that_of_pillow(tmp_path, options):
    path = tmp_path / "a.jpg"
    Pillow.fromarray(COLOUR).save(path, quality=90, **options)
    difference = pixels([path]).astype(int) - np.asarray(Pillow.open(path).convert("RGB"))
    assert np.abs(difference).max() <= 3


def test_adobe_cmyk_is_inverted_and_any_cmyk_becomes_rgb(tmp_path):
    picture = Pillow.fromarray(COLOUR).convert("CMYK")
    picture.save(tmp_path / "a.tif")
    picture.save(tmp_path / "b.jpg", quality=100, subsampling=0)
    for name, most in (("a.tif", 0), ("b.jpg", 12)):
        found = pixels([tmp_path / name]).astype(int)
        assert np.abs(found - COLOUR).max() <= most
        assert "CMYK converted to RGB" in warnings_of([tmp_path / name])


def test_cmyk_without_adobes_marker_is_taken_as_written_and_said(tmp_path):
    stream = io.BytesIO()
    Pillow.fromarray(COLOUR).convert("CMYK").save(stream, "JPEG", quality=100)
    content = stream.getvalue()
    place = content.find(b"\xff\xee")
    length = int.from_bytes(content[place + 2 : place + 4], "big")
    files = stored(tmp_path / "a.jpg", content[:place] + content[place + 2 + length :])
    assert "without Adobe's marker" in warnings_of(files)


def test_jpeg_of_12_bits_and_without_loss(tmp_path):
    values = (GREY16 % 4096).astype(np.uint16)
    files = stored(tmp_path / "a.jpg", imagecodecs.ljpeg_encode(values, bitspersample=12))
    np.testing.assert_array_equal(pixels(files)[..., 0], values)
    assert read_header(files, where="e/c").attributes["BitsStored"] == 12


def test_an_arithmetic_jpeg_is_refused_by_name(tmp_path):
    content = bytearray(imagecodecs.jpeg8_encode(COLOUR))
    place = content.find(b"\xff\xc0")
    content[place + 1] = 0xC9
    with pytest.raises(CaseError, match="read.unsupported"):
        read_header(stored(tmp_path / "a.jpg", bytes(content)), where="e/c")


def test_xmp_turns_a_picture_that_has_no_exif(tmp_path):
    packet = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    Pillow.fromarray(COLOUR).save(tmp_path / "a.jpg", quality=95, xmp=packet)
    plain = tmp_path / "b.jpg"
    Pillow.fromarray(COLOUR).save(plain, quality=95)
    np.testing.assert_array_equal(pixels([tmp_path / "a.jpg"]), np.rot90(pixels([plain]), -1))


def test_an_orientation_that_no_block_knows_is_none(tmp_path):
    for number in (0, 9, 65535):
        files = stored(tmp_path / "a.png", png_bytes(COLOUR, 8, 2, extra=((b"eXIf", exif_block(number)),)))
        np.testing.assert_array_equal(pixels(files), COLOUR)


def test_alpha_of_jpeg_2000_is_dropped_and_said(tmp_path):
    alpha = np.full((*COLOUR.shape[:2], 1), 255, np.uint8)
    alpha[:10] = 0
    Pillow.fromarray(np.concatenate([COLOUR, alpha], axis=-1)).save(tmp_path / "a.jp2", irreversible=False)
    np.testing.assert_array_equal(pixels([tmp_path / "a.jp2"]), COLOUR)
    assert f"{10 * COLOUR.shape[1]} of" in warnings_of([tmp_path / "a.jp2"])


def test_samples_that_nothing_explains_stay_channels(tmp_path):
    five = np.concatenate([DEEP, DEEP[..., :2]], axis=-1)
    tifffile.imwrite(tmp_path / "a.tif", five, photometric="minisblack", planarconfig="contig", metadata=None)
    np.testing.assert_array_equal(pixels([tmp_path / "a.tif"]), five)
    assert "kept as channels" in warnings_of([tmp_path / "a.tif"])


def test_the_16_bit_colours_of_a_tiff_palette_stay_16_bits(tmp_path):
    table = np.random.default_rng(0).integers(0, 65536, (3, 256)).astype(np.uint16)
    indices = COLOUR[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", indices, photometric="palette", colormap=table, metadata=None)
    found = pixels([tmp_path / "a.tif"])
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, np.moveaxis(table[:, indices], 0, -1))


@pytest.mark.parametrize("compression", ["jpeg2000", "webp", "zstd", "lzma", "jpegxl", "png"])
def test_what_a_tiff_may_be_packed_with_is_unpacked(tmp_path, compression):
    options = {"compressionargs": {"lossless": True}} if compression == "webp" else {}
    if compression == "jpeg2000":
        options = {"compressionargs": {"reversible": True, "level": 0}}
    if compression == "jpegxl":
        options = {"compressionargs": {"lossless": True}}
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, COLOUR, photometric="rgb", compression=compression, tile=(32, 32), metadata=None, **options)
    np.testing.assert_array_equal(pixels([path]), COLOUR)


def test_a_colour_profile_changes_no_pixel_and_is_told(tmp_path):
    for name in ("a.png", "a.tif", "a.webp"):
        options = {"lossless": True} if name.endswith("webp") else {}
        Pillow.fromarray(COLOUR).save(tmp_path / name, icc_profile=b"\0" * 128, **options)
        image = read_image([tmp_path / name], where="e/c")
        assert image.attributes == {"ICCProfile": True}
        np.testing.assert_array_equal(np.moveaxis(image.array[:, 0], 0, -1), COLOUR)


def test_the_unused_byte_of_a_bmp_is_said_where_it_holds_something(tmp_path):
    for alpha, says in ((np.full(COLOUR.shape[:2], 255, np.uint8), ""), (COLOUR[..., 0], "fourth byte")):
        path = tmp_path / "a.bmp"
        Pillow.fromarray(np.dstack([COLOUR, alpha])).save(path)
        np.testing.assert_array_equal(pixels([path]), COLOUR)
        assert (says in warnings_of([path])) if says else not warnings_of([path])


def test_a_header_names_nobody(tmp_path):
    """Comments, artists and descriptions of pictures stay in the file."""
    tags = [(315, 2, 0, "Doe^Jane", True), (270, 2, 0, "born 1970-01-01", True)]
    tifffile.imwrite(tmp_path / "a.tif", GREY16, extratags=tags, metadata=None)
    Pillow.fromarray(COLOUR).save(tmp_path / "b.jpg", comment=b"Doe^Jane born 1970-01-01")
    for name in ("a.tif", "b.jpg"):
        said = repr(read_header([tmp_path / name], where="e/c"))
        assert "Doe" not in said
        assert "1970" not in said
