"""Several pictures in one file: stacks, pyramids, animations, arrays; and the one that `page` names."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from medshard.converters.formats import numpy_pages
from medshard.converters.formats.format import ANY, Request
from medshard.converters.reading import read_header, read_image
from medshard.errors import CaseError

STACK = np.random.default_rng(3).integers(0, 4096, (5, 20, 30)).astype(np.uint16)
COLOUR = np.random.default_rng(4).integers(0, 255, (64, 48, 3)).astype(np.uint8)


def both(path, request=ANY):
    image = read_image([path], where="e/c", request=request)
    header = read_header([path], where="e/c", request=request)
    leading = () if header.timepoints == 1 else (header.timepoints,)
    assert image.array.shape == (*leading, header.channels, *header.shape)
    assert image.trusted_geometry == header.trusted_geometry
    np.testing.assert_array_equal(image.affine, header.affine)
    return image, header


def refusal(path, request=ANY):
    with pytest.raises(CaseError) as error:
        read_image([path], where="e/c", request=request)
    return error.value


def write_pages(path, *pages, **options):
    with tifffile.TiffWriter(path, **options) as writer:
        for page, subfile in pages:
            writer.write(
                page, subfiletype=subfile, photometric="rgb" if page.ndim == 3 else "minisblack", metadata=None
            )


def test_a_key_is_the_number_of_a_page(tmp_path):
    write_pages(tmp_path / "layers.tif", *((page, 0) for page in STACK))
    image, _ = both(tmp_path / "layers.tif", Request(key="3"))
    np.testing.assert_array_equal(image.array[0, 0], STACK[3])
    for key in ("5", "liver", "-1", "\u0663"):
        assert refusal(tmp_path / "layers.tif", Request(key=key)).code == "read.no_such_page"


def test_equal_pages_are_a_stack_along_z_without_trusted_geometry(tmp_path):
    write_pages(tmp_path / "stack.tif", *((page, 0) for page in STACK))
    image, header = both(tmp_path / "stack.tif")
    np.testing.assert_array_equal(image.array, STACK[None])
    assert not image.trusted_geometry
    assert header.warnings == ("5 pages of one size: read as one stack along z, and nothing states their distance",)


def test_pages_of_colour_keep_their_colours_as_channels(tmp_path):
    write_pages(tmp_path / "stack.tif", (COLOUR, 0), (COLOUR[::-1].copy(), 0))
    image, _ = both(tmp_path / "stack.tif")
    np.testing.assert_array_equal(image.array, np.moveaxis(np.stack([COLOUR, COLOUR[::-1]]), -1, 0))


def test_a_page_can_be_named(tmp_path):
    write_pages(tmp_path / "stack.tif", *((page, 0) for page in STACK))
    image, header = both(tmp_path / "stack.tif", Request(page=3))
    np.testing.assert_array_equal(image.array, STACK[None, 3:4])
    assert header.warnings == ("page 3 of 5",)
    assert refusal(tmp_path / "stack.tif", Request(page=5)).code == "read.no_such_page"


@pytest.mark.parametrize("subfile", [0, 1])
def test_lower_resolutions_of_the_same_picture_are_left_out_and_said(tmp_path, subfile):
    write_pages(tmp_path / "pyramid.tif", (COLOUR, 0), (COLOUR[::2, ::2].copy(), subfile))
    image, header = both(tmp_path / "pyramid.tif")
    np.testing.assert_array_equal(image.array[:, 0], np.moveaxis(COLOUR, -1, 0))
    assert header.warnings[0].startswith("1 pages")


def test_pages_that_differ_are_refused_until_one_is_named(tmp_path):
    path = tmp_path / "two.tif"
    write_pages(path, (COLOUR, 0), (COLOUR[:20].copy(), 0))
    assert refusal(path).code == "read.several_images"
    image, _ = both(path, Request(page=1))
    np.testing.assert_array_equal(image.array[:, 0], np.moveaxis(COLOUR[:20], -1, 0))


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_an_imagej_hyperstack_has_time_channels_and_a_spacing_with_a_unit(tmp_path, compression):
    stack = np.arange(2 * 3 * 4 * 5 * 6, dtype=np.uint16).reshape(2, 3, 4, 5, 6)
    tifffile.imwrite(
        tmp_path / "stack.tif",
        stack,
        imagej=True,
        compression=compression,
        metadata={"axes": "TZCYX", "unit": "um", "spacing": 2.0},
        resolution=(2, 4),
    )
    image, header = both(tmp_path / "stack.tif")
    np.testing.assert_array_equal(image.array, stack.transpose(0, 2, 1, 3, 4))
    assert image.trusted_geometry
    assert header.spacing_mm == pytest.approx((0.002, 0.00025, 0.0005))


def test_dots_per_inch_and_pixels_without_a_unit_are_no_spacing(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, metadata={"axes": "ZYX"}, resolution=(2, 4))
    Pillow.fromarray(STACK[0]).save(tmp_path / "b.tif", dpi=(300, 300))
    for name in "ab":
        assert not both(tmp_path / f"{name}.tif")[0].trusted_geometry


def test_ome_planes_have_their_axes_and_a_spacing(tmp_path):
    stack = np.arange(2 * 3 * 5 * 6, dtype=np.uint16).reshape(2, 3, 5, 6)
    sizes = {f"PhysicalSize{axis}": size for axis, size in zip("ZYX", (2.0, 0.5, 0.25), strict=True)}
    tifffile.imwrite(tmp_path / "stack.ome.tif", stack, metadata={"axes": "CZYX", **sizes})
    image, header = both(tmp_path / "stack.ome.tif")
    np.testing.assert_array_equal(image.array, stack)
    assert header.spacing_mm == pytest.approx((0.002, 0.0005, 0.00025))


def test_an_orientation_turns_the_spacing_too(tmp_path):
    sizes = {"PhysicalSizeY": 0.5, "PhysicalSizeX": 0.25}
    tifffile.imwrite(
        tmp_path / "a.ome.tif", STACK[0], metadata={"axes": "YX", **sizes}, extratags=[(274, 3, 1, 6, True)]
    )
    image, header = both(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(image.array[0, 0], np.rot90(STACK[0], -1))
    assert header.spacing_mm[1:] == pytest.approx((0.00025, 0.0005))


def test_a_lost_page_is_not_a_shorter_stack(tmp_path):
    write_pages(tmp_path / "stack.tif", *((page, 0) for page in STACK))
    content = (tmp_path / "stack.tif").read_bytes()
    for cut in (len(content) - 10, len(content) * 3 // 4, len(content) // 2):
        (tmp_path / "cut.tif").write_bytes(content[:cut])
        assert refusal(tmp_path / "cut.tif").code == "read.truncated"


def test_an_animation_is_several_pictures(tmp_path):
    frames = [Pillow.fromarray(frame) for frame in (STACK // 16).astype(np.uint8)]
    frames[0].save(tmp_path / "frames.gif", save_all=True, append_images=frames[1:])
    error = refusal(tmp_path / "frames.gif")
    assert (error.code, error.details["pictures"]) == ("read.several_images", "5")
    image, _ = both(tmp_path / "frames.gif", Request(page=2))
    np.testing.assert_array_equal(image.array[0, 0], STACK[2] // 16)


@pytest.mark.parametrize("shape", [(5, 7, 9), (5, 7, 9, 3), (5, 7, 9, 1), (5, 6, 7, 8)])
@pytest.mark.parametrize("kind", ["u1", ">u2", "f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_picture_of_an_array_is_that_along_its_first_axis(tmp_path, shape, kind, order):
    array = np.asarray(np.arange(np.prod(shape)).reshape(shape) % 251, kind, order=order)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "b.npz", x=array, y=array + 1)
    np.savez_compressed(tmp_path / "c.npz", x=array)
    one = array[3][None, None] if array.ndim == 3 else array[3][None]
    expected = np.moveaxis(array[3], -1, 0)[:, None] if shape[-1] in (1, 3) else one
    for name, key in (("a.npy", None), ("b.npz", "x"), ("c.npz", "x")):
        image, _ = both(tmp_path / name, Request(page=3, key=key))
        np.testing.assert_array_equal(image.array, expected)
        assert refusal(tmp_path / name, Request(page=5, key=key)).code == "read.no_such_page"


def test_a_compressed_array_is_inflated_once_for_all_its_pictures(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "many.npz", x=STACK)
    calls = []
    real = numpy_pages.read_member
    monkeypatch.setattr(numpy_pages, "read_member", lambda *parts: calls.append(1) or real(*parts))
    for number in range(5):
        image, _ = both(tmp_path / "many.npz", Request(page=number))
        np.testing.assert_array_equal(image.array[0, 0], STACK[number])
    assert len(calls) == 1


def test_only_the_picture_of_an_uncompressed_array_is_read(tmp_path):
    stream = io.BytesIO()
    np.savez(stream, x=STACK)
    content = bytearray(stream.getvalue())
    place = content.find(STACK[4].tobytes())
    content[place] ^= 1
    (tmp_path / "many.npz").write_bytes(content)
    image, _ = both(tmp_path / "many.npz", Request(page=1))
    np.testing.assert_array_equal(image.array[0, 0], STACK[1])
