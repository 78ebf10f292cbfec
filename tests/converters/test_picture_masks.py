"""Masks stored as pictures: what reaches the values of a label, for each odd way in which masks are kept."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from made_pictures import bmp_bytes, png_bytes
from PIL import Image as Pillow

from medshard.converters.formats.format import ANY, Request
from medshard.converters.formats.raster import read_alpha
from medshard.converters.label_values import grey, marked, values_of_colours, whole_values
from medshard.converters.reading import read_header, read_image
from medshard.converters.volume import Image
from medshard.errors import CaseError

ROWS, COLUMNS = np.mgrid[:40, :56]
DISC = (ROWS - 18) ** 2 + (COLUMNS - 30) ** 2 < 130
CLASSES = np.where(DISC, 2, np.where(COLUMNS > 40, 1, 0)).astype(np.uint8)
INDEX = Request(palette="index")
VOC = ((0, 0, 0), (128, 0, 0), (0, 128, 0))


def stored(path: Path, content: bytes) -> list[Path]:
    path.write_bytes(content)
    return [path]


def by_pillow(path: Path, picture: Pillow.Image, kind: str = "PNG", **options: object) -> list[Path]:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stored(path, stream.getvalue())


def mask(files: list[Path], request: Request = ANY) -> Image:
    return read_image(files, where="e/c", request=request)


def voc(folder: Path, kind: str = "PNG") -> list[Path]:
    picture = Pillow.fromarray(CLASSES, mode="P")
    picture.putpalette([value for colour in VOC for value in colour] + [9] * 3 * 253)
    return by_pillow(folder / "voc", picture, kind)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "GIF", "BMP"])
def test_the_indices_of_a_palette_are_the_classes_when_asked_for(tmp_path, kind):
    files = voc(tmp_path, kind)
    np.testing.assert_array_equal(whole_values(mask(files, INDEX), where="e/c")[0, 0], CLASSES)
    header = read_header(files, where="e/c", request=INDEX)
    assert (header.channels, header.dtype, header.warnings) == (1, "uint8", ("the pixels are indices into a palette",))


def test_the_colours_of_a_palette_are_the_classes_when_the_entry_names_them(tmp_path):
    colours = {f"#{red:02x}{green:02x}{blue:02x}": value for value, (red, green, blue) in enumerate(VOC)}
    values = values_of_colours(mask(voc(tmp_path)).array, colours, background=0, where="e/c")
    np.testing.assert_array_equal(values[0, 0], CLASSES)


def test_colours_asked_for_as_indices_are_refused(tmp_path):
    files = by_pillow(tmp_path / "colours.png", Pillow.fromarray(np.dstack([CLASSES * 80] * 3)))
    with pytest.raises(CaseError, match="read.no_palette"):
        mask(files, INDEX)


def test_a_grey_mask_asked_for_as_indices_is_its_values(tmp_path):
    files = by_pillow(tmp_path / "grey.png", Pillow.fromarray(CLASSES))
    np.testing.assert_array_equal(mask(files, INDEX).array[0, 0], CLASSES)


@pytest.mark.parametrize("depth", [2, 4])
def test_small_depths_keep_the_stored_values_where_pillow_stretches_them(tmp_path, depth):
    files = stored(tmp_path / "mask.png", png_bytes(CLASSES[..., None], depth, 0))
    np.testing.assert_array_equal(mask(files).array[0, 0], CLASSES)
    assert Pillow.open(files[0]).getextrema()[1] > 2
    assert f"values are 0 to {2**depth - 1}" in read_header(files, where="e/c").warnings[0]


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("TIFF", {"compression": "group4"}), ("BMP", {})])
def test_a_mask_of_one_bit_is_zeros_and_ones(tmp_path, kind, options):
    files = by_pillow(tmp_path / "mask", Pillow.fromarray(DISC), kind, **options)
    np.testing.assert_array_equal(whole_values(mask(files), where="e/c")[0, 0], DISC)


def test_a_bmp_of_8_bits_with_a_palette_of_black_and_white_is_not_taken_for_1_bit(tmp_path):
    table = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    files = stored(tmp_path / "mask.bmp", bmp_bytes(DISC.astype(np.uint8), 8, table))
    np.testing.assert_array_equal(mask(files, INDEX).array[0, 0], DISC)
    np.testing.assert_array_equal(mask(files).array[:, 0], [DISC * 255] * 3)


def test_an_instance_mask_keeps_its_16_bits(tmp_path):
    instances = (CLASSES.astype(np.uint16) * 300 + ROWS.astype(np.uint16)).astype(np.uint16)
    for name in ("png", "tif"):
        files = [tmp_path / f"instances.{name}"]
        Pillow.fromarray(instances).save(files[0])
        np.testing.assert_array_equal(whole_values(mask(files), where="e/c")[0, 0], instances)


@pytest.mark.parametrize("quality", [60, 90])
def test_a_lossy_mask_is_exact_behind_its_threshold(tmp_path, quality):
    files = by_pillow(tmp_path / "mask.jpg", Pillow.fromarray((DISC * 255).astype(np.uint8)), "JPEG", quality=quality)
    found = mask(files).array
    assert len(np.unique(found)) > 2
    values = marked(found, threshold=128, background=0)
    assert (values[0, 0] != DISC).mean() < 0.01


def test_a_mask_of_0_and_255_and_its_inversion_mark_the_same_voxels(tmp_path):
    straight = by_pillow(tmp_path / "a.png", Pillow.fromarray((DISC * 255).astype(np.uint8)))
    inverted = by_pillow(tmp_path / "b.png", Pillow.fromarray((~DISC * 255).astype(np.uint8)))
    for files, background in ((straight, 0), (inverted, 255)):
        values = marked(mask(files).array, threshold=None, background=background)
        np.testing.assert_array_equal(values[0, 0], DISC)


def test_a_tiff_where_0_is_white_is_turned_and_says_so(tmp_path):
    tifffile.imwrite(tmp_path / "mask.tif", (DISC * 255).astype(np.uint8), photometric="miniswhite")
    files = [tmp_path / "mask.tif"]
    np.testing.assert_array_equal(mask(files).array[0, 0], np.where(DISC, 0, 255))
    assert "0 is white" in read_header(files, where="e/c").warnings[0]


def test_a_mask_with_alpha_is_its_grey(tmp_path):
    colours = np.dstack([(DISC * 255).astype(np.uint8)] * 3 + [np.full(DISC.shape, 255, np.uint8)])
    files = by_pillow(tmp_path / "mask.png", Pillow.fromarray(colours))
    np.testing.assert_array_equal(marked(grey(mask(files).array), threshold=128, background=0)[0, 0], DISC)


@pytest.mark.parametrize("colour", [0, 255])
def test_a_mask_drawn_in_alpha_alone_is_said_and_can_be_had(tmp_path, colour):
    colours = np.dstack([np.full(DISC.shape, colour, np.uint8)] * 3 + [(DISC * 255).astype(np.uint8)])
    files = by_pillow(tmp_path / "mask.png", Pillow.fromarray(colours))
    assert len(np.unique(mask(files).array)) == 1
    (warning,) = read_header(files, where="e/c").warnings
    assert "lies in alpha alone" in warning
    assert f"{(~DISC).sum()} of {DISC.size} pixels" in warning
    alpha = read_alpha(files)
    assert alpha is not None
    np.testing.assert_array_equal(alpha.array[0, 0], DISC * 255)


def test_a_transparent_entry_of_a_palette_is_counted_as_alpha(tmp_path):
    table = bytes(value for colour in VOC for value in colour)
    content = png_bytes(CLASSES[..., None], 8, 3, extra=((b"PLTE", table), (b"tRNS", b"\0")))
    files = stored(tmp_path / "mask.png", content)
    said = " ".join(read_header(files, where="e/c").warnings)
    assert f"{(CLASSES == 0).sum()} of {CLASSES.size} pixels" in said


def test_a_picture_without_alpha_has_none(tmp_path):
    assert read_alpha(by_pillow(tmp_path / "a.png", Pillow.fromarray(CLASSES))) is None
