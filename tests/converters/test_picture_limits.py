"""Cut, lying and huge pictures: refused by name, before anything of their stated size is allocated."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from made_pictures import bmp_bytes, png_bytes
from PIL import Image as Pillow
from pydicom import dcmread
from pydicom.data import get_testdata_file

from medshard.converters.formats.format import Request
from medshard.converters.formats.pictures import samples
from medshard.converters.reading import read_header, read_image
from medshard.converters.spooling import Spool, is_spooled
from medshard.errors import CaseError

# A real colour ultrasound frame.
COLOUR = dcmread(str(get_testdata_file("examples_rgb_color.dcm"))).pixel_array[60:140, 40:160]
GREY16 = (COLOUR[..., 0].astype(np.uint16) << 8) + COLOUR[..., 1]


def tiff_bytes(pixels: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, metadata=None, **options)
    return stream.getvalue()


def pillow_bytes(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Pillow.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


WHOLE = {
    "png": png_bytes(COLOUR, 8, 2),
    "png interlaced": png_bytes(COLOUR, 8, 2, interlaced=True),
    "jpeg": pillow_bytes(COLOUR, "JPEG"),
    "jpeg progressive": pillow_bytes(COLOUR, "JPEG", progressive=True),
    "jpeg with thumbnail and profile": pillow_bytes(COLOUR, "JPEG", icc_profile=b"x" * 500, comment=b"\xff\xd9"),
    "jp2": imagecodecs.jpeg2k_encode(GREY16, level=0, reversible=True, codecformat="jp2"),
    "j2k": imagecodecs.jpeg2k_encode(GREY16, level=0, reversible=True, codecformat="j2k"),
    "webp": pillow_bytes(COLOUR, "WEBP", lossless=True),
    "tiff": tiff_bytes(GREY16, rowsperstrip=7),
    "tiff lzw": tiff_bytes(COLOUR, compression="lzw", photometric="rgb", tile=(16, 16)),
    "tiff jpeg": pillow_bytes(COLOUR, "TIFF", compression="jpeg"),
    "bmp": pillow_bytes(COLOUR, "BMP"),
    "bmp runs": bmp_bytes(COLOUR[..., 0] & 15, 8, np.arange(48, dtype=np.uint8).reshape(16, 3), runs=True),
    "gif": pillow_bytes(COLOUR[..., 0], "GIF"),
    "ppm": pillow_bytes(COLOUR, "PPM"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_cut_picture_is_never_padded(tmp_path: Path, name: str) -> None:
    """Cut anywhere, it is refused; or what is missing was no pixel, and every pixel is right."""
    path, content = tmp_path / "picture", WHOLE[name]
    path.write_bytes(content)
    whole = read_image([path], where="e/c").array
    tail = [len(content) - missing for missing in (1, 2, 3, 5, 9, 14, 30)]
    for cut in [*range(1, len(content), max(1, len(content) // 40)), *tail]:
        path.write_bytes(content[:cut])
        try:
            found = read_image([path], where="e/c").array
        except CaseError as error:
            codes = ("read.truncated", "read.unreadable", "read.unknown_format", "read.unsupported")
            assert error.code in codes, (cut, error.code)  # noqa: PT017
        else:
            np.testing.assert_array_equal(found, whole)
            assert cut >= len(content) - 300


@pytest.mark.parametrize("name", WHOLE)
def test_what_follows_a_picture_is_no_part_of_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / "picture"
    path.write_bytes(WHOLE[name])
    whole = read_image([path], where="e/c").array
    path.write_bytes(WHOLE[name] + b"\0\xff\xd8 anything \xff\xd9" * 20)
    np.testing.assert_array_equal(read_image([path], where="e/c").array, whole)


def png_that_lies(side: int) -> bytes:
    content = bytearray(png_bytes(COLOUR, 8, 2))
    content[16:24] = struct.pack(">II", side, side)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def jpeg_that_lies() -> bytes:
    content = bytearray(pillow_bytes(COLOUR, "JPEG"))
    place = content.find(b"\xff\xc0")
    content[place + 5 : place + 9] = struct.pack(">HH", 60000, 60000)
    return bytes(content)


def tiff_that_lies() -> bytes:
    content = bytearray(tiff_bytes(np.zeros((8, 8), np.uint8)))
    tags = tifffile.TiffFile(io.BytesIO(content)).pages[0].tags
    for tag in (tags[256], tags[257], tags[278]):
        struct.pack_into("<H" if tag.dtype == 3 else "<I", content, tag.valueoffset, 60000)
    return bytes(content)


LIES = {
    "png": png_that_lies(60000),
    "png of many pixels": png_that_lies(40000),
    "jpeg": jpeg_that_lies(),
    "tiff": tiff_that_lies(),
    "bmp": WHOLE["bmp"][:18] + struct.pack("<ii", 40000, 40000) + WHOLE["bmp"][26:],
    "gif": WHOLE["gif"][:6] + struct.pack("<HH", 65535, 65535) + WHOLE["gif"][10:],
    "ppm": b"P6\n40000 40000\n255\n" + bytes(1000),
    "pgm of text": b"P2\n40000 40000\n255\n" + b"1 " * 1000,
    "jp2": WHOLE["j2k"][:8] + struct.pack(">II", 1 << 30, 1 << 30) + WHOLE["j2k"][16:],
}


@pytest.mark.parametrize("name", LIES)
def test_a_size_that_the_file_cannot_hold_is_refused_before_it_is_allocated(tmp_path: Path, name: str) -> None:
    path = tmp_path / "picture"
    path.write_bytes(LIES[name])
    tracemalloc.start()
    try:
        with pytest.raises(CaseError, match="read.truncated|read.unreadable|read.too_large"):
            read_image([path], where="e/c")
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_a_large_picture_lies_in_the_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "SLAB_BYTES", 1 << 12)
    spool = Request(spool=Spool(folder=tmp_path, limit_bytes=1 << 10))
    for name, content in WHOLE.items():
        path = tmp_path / "picture"
        path.write_bytes(content)
        plain = read_image([path], where="e/c").array
        spooled = read_image([path], where="e/c", request=spool).array
        np.testing.assert_array_equal(spooled, plain)
        assert is_spooled(spooled) or name in ("webp", "gif", "bmp runs")


def test_a_blank_picture_of_many_pixels_is_read(tmp_path: Path) -> None:
    """A hundred kilobytes may be a hundred megapixels: no lie, only blank."""
    Pillow.new("1", (12000, 9000)).save(tmp_path / "blank.png")
    assert (tmp_path / "blank.png").stat().st_size < 200_000
    header = read_header([tmp_path / "blank.png"], where="e/c")
    assert header.shape == (1, 9000, 12000)


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "header"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 40, "length"),
        (b"II*\0" + b"\x08\0\0\0" + b"\0" * 40, "tags|page"),
        (b"BM" + b"\0" * 12 + b"\x28\0\0\0" + b"\0" * 60, "BMP"),
    ],
)
def test_a_file_with_the_right_start_and_nothing_else_is_refused(tmp_path: Path, start: bytes, what: str) -> None:
    (tmp_path / "picture").write_bytes(start)
    with pytest.raises(CaseError, match="read.") as error:
        read_image([tmp_path / "picture"], where="e/c")
    assert "picture" in str(error.value)
