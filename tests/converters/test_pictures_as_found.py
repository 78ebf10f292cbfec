"""Oddities of pictures in public collections that were once read wrongly or refused, made again and small."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from medshard.converters.formats.format import ANY, Request
from medshard.converters.reading import read_header, read_image
from medshard.converters.volume import Image
from medshard.errors import CaseError

PICTURE = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
# An EXIF block that states nothing but that the picture lies on its left side (6).
EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"


def image(path: Path, request: Request = ANY) -> Image:
    return read_image([path], where="e/c", request=request)


def channels_last(found: Image) -> np.ndarray:  # type: ignore[type-arg]
    return np.moveaxis(np.asarray(found.array)[:, 0], 0, -1)


def refusal(path: Path) -> str:
    with pytest.raises(CaseError) as error:
        image(path)
    return error.value.code


def profile_text() -> str:
    digits = EXIF.hex()
    return f"\nexif\n{len(EXIF):>8}\n" + "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72)) + "\n"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("keyword", ["Raw profile type exif", "Raw profile type APP1"])
def test_the_orientation_that_imagemagick_writes_into_a_text_of_a_png_is_applied(tmp_path, keyword, packed):
    texts = PngInfo()
    texts.add_text("Comment", "first")
    texts.add_text(keyword, profile_text(), zip=packed)
    Pillow.fromarray(PICTURE).save(tmp_path / "p.png", pnginfo=texts)
    np.testing.assert_array_equal(channels_last(image(tmp_path / "p.png")), np.rot90(PICTURE, -1))
    assert "EXIF orientation 6 applied" in read_header([tmp_path / "p.png"], where="e/c").warnings


@pytest.mark.parametrize("packed", [False, True])
def test_the_orientation_of_xmp_is_found_behind_other_texts_of_a_png(tmp_path, packed):
    texts = PngInfo()
    texts.add_itxt("Comment", "first")
    texts.add_itxt("XML:com.adobe.xmp", '<rdf tiff:Orientation="3"/>', zip=packed)
    Pillow.fromarray(PICTURE).save(tmp_path / "p.png", pnginfo=texts)
    np.testing.assert_array_equal(channels_last(image(tmp_path / "p.png")), PICTURE[::-1, ::-1])


@pytest.mark.parametrize("text", ["\nexif\n   9\nzz\n", "", "\nexif\n   3\n4578696\n"])
def test_a_broken_profile_of_a_png_says_nothing_about_its_orientation(tmp_path, text):
    texts = PngInfo()
    texts.add_text("Raw profile type exif", text)
    Pillow.fromarray(PICTURE).save(tmp_path / "p.png", pnginfo=texts)
    np.testing.assert_array_equal(channels_last(image(tmp_path / "p.png")), PICTURE)


def test_pixels_of_a_png_that_other_chunks_part_are_refused(tmp_path):
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in PICTURE))
    parts = [
        chunk(b"IHDR", struct.pack(">IIBBBBB", 7, 5, 8, 2, 0, 0, 0)),
        chunk(b"IDAT", packed[:20]),
        chunk(b"gAMA", struct.pack(">I", 45455)),
        chunk(b"IDAT", packed[20:]),
        chunk(b"IEND", b""),
    ]
    (tmp_path / "p.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    assert refusal(tmp_path / "p.png") == "read.unreadable"


@pytest.mark.parametrize("place", [10, 11])
def test_a_png_of_an_unknown_method_is_refused(tmp_path, place):
    Pillow.fromarray(PICTURE).save(tmp_path / "p.png")
    content = bytearray((tmp_path / "p.png").read_bytes())
    content[16 + place] = 1
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "p.png").write_bytes(content)
    assert refusal(tmp_path / "p.png") == "read.unreadable"


@pytest.mark.parametrize("most", [31, 255, 1023, 65535])
def test_alpha_is_opaque_at_the_largest_value_that_the_file_states(tmp_path, most):
    samples = np.full((4, 5, 2), most, np.dtype(">u2") if most > 255 else np.uint8)
    samples[0, :, 0] = 0
    samples[0, 0, 1] = most - 1
    head = f"P7\nWIDTH 5\nHEIGHT 4\nDEPTH 2\nMAXVAL {most}\nTUPLTYPE GRAYSCALE_ALPHA\nENDHDR\n"
    (tmp_path / "p.pam").write_bytes(head.encode() + samples.tobytes())
    warnings = read_header([tmp_path / "p.pam"], where="e/c").warnings
    assert any("1 of 20 pixels (5.00 %) are not opaque" in warning for warning in warnings)


@pytest.mark.parametrize("bits", [8, 12])
def test_colours_of_a_jpeg_without_loss_are_those_of_the_file(tmp_path, bits):
    kind = np.uint8 if bits == 8 else np.uint16
    pixels = np.random.default_rng(1).integers(0, 2**bits, (16, 24, 3)).astype(kind)
    content = imagecodecs.jpeg8_encode(
        pixels, lossless=True, predictor=1, bitspersample=bits, colorspace="RGB", outcolorspace="RGB"
    )
    # libjpeg marks its own as RGB; programs that write JFIF, which knows no RGB, do it without that mark.
    at = content.find(b"\xff\xee")
    if at >= 0:
        content = content[:at] + content[at + 2 + int.from_bytes(content[at + 2 : at + 4], "big") :]
    jfif = b"\xff\xe0\x00\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"
    content = content[:2] + jfif + content[2:]
    (tmp_path / "p.jpg").write_bytes(content)
    np.testing.assert_array_equal(channels_last(image(tmp_path / "p.jpg")), pixels)
    assert any("without loss" in warning for warning in read_header([tmp_path / "p.jpg"], where="e/c").warnings)


def rle8(rows: list[bytes], width: int) -> bytes:
    """A BMP of run lengths; rows from the lowest, as pairs of a count and an index."""
    runs = b"".join(row + b"\0\0" for row in rows) + b"\0\1"
    palette = b"".join(bytes([index, 0, 0, 0]) for index in range(256))
    head = struct.pack("<IiiHHIIiiII", 40, width, len(rows), 1, 8, 1, len(runs), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(palette) + len(runs), 0, 0, 54 + len(palette)) + head + palette + runs


def test_rows_that_are_filled_up_to_four_pixels_are_cut_to_the_picture(tmp_path):
    (tmp_path / "p.bmp").write_bytes(rle8([b"\5\7\3\0", b"\3\1\5\2"], 5))
    found = image(tmp_path / "p.bmp", Request(palette="index"))
    np.testing.assert_array_equal(channels_last(found)[..., 0], [[1, 1, 1, 2, 2], [7] * 5])


def test_rows_that_reach_further_are_refused(tmp_path):
    (tmp_path / "p.bmp").write_bytes(rle8([b"\5\7\4\0", b"\5\1"], 5))
    assert refusal(tmp_path / "p.bmp") == "read.unreadable"


def pages(path: Path, *sizes: int) -> Path:
    with tifffile.TiffWriter(path) as writer:
        for number, size in enumerate(sizes):
            writer.write(np.full((size, size), 40 * number + 1, np.uint8), metadata=None)
    return path


@pytest.mark.parametrize("sizes", [(10, 10, 20), (10, 20), (20, 10, 10), (40, 10, 20)])
def test_smaller_pages_are_lower_resolutions_only_where_they_fall_from_the_first(tmp_path, sizes):
    assert refusal(pages(tmp_path / "p.tif", *sizes)) == "read.several_images"


def test_pages_that_fall_from_the_first_are_lower_resolutions(tmp_path):
    assert image(pages(tmp_path / "p.tif", 40, 20, 10)).array.shape == (1, 1, 40, 40)


def test_a_palette_of_an_ome_channel_is_for_display_and_its_values_stay(tmp_path):
    values = np.arange(2 * 6 * 8, dtype=np.uint8).reshape(2, 6, 8)
    green = np.zeros((3, 256), np.uint16)
    green[1] = np.arange(256) * 256
    with tifffile.TiffWriter(tmp_path / "p.ome.tif", ome=True) as writer:
        writer.write(values, photometric="palette", colormap=green, metadata={"axes": "CYX"})
    found = image(tmp_path / "p.ome.tif")
    np.testing.assert_array_equal(found.array[:, 0], values)
    warnings = read_header([tmp_path / "p.ome.tif"], where="e/c").warnings
    assert any("the stored values are kept" in warning for warning in warnings)


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.float32])
def test_inks_that_are_signed_or_real_are_refused(tmp_path, kind):
    tifffile.imwrite(tmp_path / "p.tif", np.ones((8, 8, 4), kind), photometric="separated", metadata=None)
    assert refusal(tmp_path / "p.tif") == "read.unsupported"
