"""Whole slides are recognised by content, indexed without decoding, and read pixel by pixel as they are stored."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import made_dicom_slides
import made_slides
import numpy as np
import openslide
import pytest
import tifffile
from made_slides import MadeSlide, slide_picture
from wsidicom import WsiDicom

from medshard.converters.array_types import Array
from medshard.converters.slide import Slide
from medshard.converters.slides.reading import is_slide, open_regions, read_slide, slide_decoders
from medshard.errors import CaseError

WHERE = "made/case"
PICTURE = slide_picture(1027, 1403)


def boxes(shape: Sequence[int], count: int, seed: int = 3) -> list[tuple[int, int, int, int]]:
    """Boxes (y, x, height, width) that lie inside of a level, across its edges and beside it."""
    random = np.random.default_rng(seed)
    return [
        (
            int(random.integers(-80, shape[0] + 20)),
            int(random.integers(-80, shape[1] + 20)),
            int(random.integers(1, 300)),
            int(random.integers(1, 300)),
        )
        for _ in range(count)
    ]


def cut(level: Array, box: tuple[int, int, int, int], fill: int) -> Array:
    """(c, height, width) of a box of (y, x, c), by padding."""
    y, x, height, width = box
    padded = np.pad(level, ((400, 400), (400, 400), (0, 0)), constant_values=fill)
    return np.moveaxis(padded[400 + y : 400 + y + height, 400 + x : 400 + x + width], -1, 0)


def check_pixels(made: MadeSlide, slide: Slide, levels: Sequence[Array], fill: int = 255) -> None:
    assert [level.shape for level in slide.levels] == [level.shape[:2] for level in levels]
    with open_regions(made.files, slide, where=WHERE) as region:
        for number, level in enumerate(levels):
            stored = level if level.ndim == 3 else level[..., None]
            for box in boxes(stored.shape, 8):
                found = region(number, *box)
                assert found.dtype == slide.dtype
                np.testing.assert_array_equal(found, cut(stored, box, fill))


@pytest.mark.parametrize("compression", ["deflate", "jpeg", "APERIO_JP2000_RGB"])
def test_every_level_of_an_aperio_slide_gives_the_pixels_that_tifffile_decodes(
    tmp_path: Path, compression: str
) -> None:
    made = made_slides.aperio(tmp_path / "a.svs", PICTURE, compression=compression)

    slide = read_slide(made.files, where=WHERE)

    with tifffile.TiffFile(made.files[0]) as file:
        levels = [level.asarray() for level in file.series[0].levels]
    check_pixels(made, slide, levels)


def test_an_aperio_slide_states_what_openslide_reads_of_it(tmp_path: Path) -> None:
    made = made_slides.aperio(tmp_path / "a.svs", PICTURE)

    slide = read_slide(made.files, where=WHERE)

    with openslide.OpenSlide(made.files[0]) as other:
        assert [level.shape[::-1] for level in slide.levels] == list(other.level_dimensions)
        assert slide.microns_per_pixel == (float(other.properties["openslide.mpp-y"]),) * 2
        assert slide.magnification == float(other.properties["openslide.objective-power"])
        assert np.asarray(other.read_region((300, 200), 0, (500, 400)))[..., 0].tolist() == (
            PICTURE[200:600, 300:800, 0].tolist()
        )
    assert (slide.format, slide.labelled, slide.files, slide.warnings) == ("aperio-svs", True, (), ())


def test_a_level_that_lost_its_last_incomplete_pixels_has_a_whole_downsample(tmp_path: Path) -> None:
    slide = read_slide(made_slides.aperio(tmp_path / "a.svs", PICTURE).files, where=WHERE)

    assert slide.levels[1].shape == (256, 350)  # 1027 / 256 is 4.012, 1403 / 350 is 4.009
    assert [level.downsample for level in slide.levels] == [(1, 1), (4, 4), (16, 16)]


@pytest.mark.parametrize("sub_directories", [False, True])
@pytest.mark.parametrize("picture", [PICTURE, PICTURE[..., 1], PICTURE[..., 1].astype(np.uint16) * 201])
def test_pyramids_of_any_program_keep_their_channels_and_type(
    tmp_path: Path, picture: Array, sub_directories: bool
) -> None:
    made = made_slides.pyramid(tmp_path / "p.tif", picture, sub_directories=sub_directories, bigtiff=True)

    slide = read_slide(made.files, where=WHERE)

    assert (slide.channels, slide.dtype) == (3 if picture.ndim == 3 else 1, str(picture.dtype))
    check_pixels(made, slide, made.levels, fill=255 if picture.ndim == 3 else 0)


def test_the_channels_of_a_fluorescence_slide_come_in_their_order(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    channels = random.integers(0, 90, (4, 300, 420), np.uint16)
    channels[2, 100:200, 100:300] += 3000
    made = made_slides.ome(tmp_path / "f.ome.tif", channels)

    slide = read_slide(made.files, where=WHERE)

    assert (slide.channels, slide.dtype, slide.format) == (4, "uint16", "ome-tiff")
    assert slide.microns_per_pixel == (0.325, 0.325)
    check_pixels(made, slide, made.levels, fill=0)
    inside = np.zeros((75, 105), bool)  # at 8 micrometres rather than 0.325 a pixel it would be too small
    inside[25:50, 25:75] = True
    assert slide.tissue_downsample == (4, 4)
    assert np.mean(slide.tissue == inside) > 0.97


@pytest.mark.parametrize(
    ("resolution", "unit", "expected"),
    [((40000, 40000), 3, (0.25, 0.25)), ((101600, 101600), 2, (0.25, 0.25)), ((40000, 20000), 3, (0.5, 0.25))],
)
def test_the_pixel_size_follows_the_unit_of_the_resolution(
    tmp_path: Path, resolution: tuple[float, float], unit: int, expected: tuple[float, float]
) -> None:
    made = made_slides.pyramid(tmp_path / "p.tif", PICTURE, resolution=resolution, unit=unit)
    assert read_slide(made.files, where=WHERE).microns_per_pixel == pytest.approx(expected)


@pytest.mark.parametrize(("resolution", "unit"), [((72, 72), 2), ((40000, 40000), 1), ((0, 0), 3)])
def test_a_resolution_that_no_slide_has_is_a_warning_and_no_pixel_size(
    tmp_path: Path, resolution: tuple[float, float], unit: int
) -> None:
    made = made_slides.pyramid(tmp_path / "p.tif", PICTURE, resolution=resolution, unit=unit)

    slide = read_slide(made.files, where=WHERE)

    assert slide.microns_per_pixel is None
    assert any("pixel size" in warning for warning in slide.warnings)


@pytest.mark.parametrize("microns", ["0", "-1", "nan", "250", "0.0001", made_slides.NAME])
def test_an_absurd_number_of_the_scanner_is_a_warning_and_no_pixel_size(tmp_path: Path, microns: str) -> None:
    slide = read_slide(made_slides.aperio(tmp_path / "a.svs", PICTURE, microns=microns).files, where=WHERE)
    assert slide.microns_per_pixel is None
    assert any("pixel size" in warning for warning in slide.warnings)


@pytest.mark.parametrize(
    "options", [{}, {"sparse": True}, {"jpeg": True}, {"sparse": True, "jpeg": True}, {"factors": (3, 7)}]
)
def test_a_folder_of_dicom_instances_is_read_as_wsidicom_and_openslide_read_it(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    made = made_dicom_slides.dicom_slide(tmp_path / "d", slide_picture(1027, 901, glass=255), **options)

    slide = read_slide(made.files, where=WHERE)

    assert (slide.microns_per_pixel, slide.magnification, slide.labelled) == ((0.5, 0.5), 20, True)
    levels = []
    for path in sorted(made.files, reverse=True)[: len(made.levels)]:  # the writer counts down from 9.dcm
        with WsiDicom.open([path]) as other:
            levels.append(np.asarray(other.read_region((0, 0), 0, (other.size.width, other.size.height))))
    check_pixels(made, slide, levels)
    with openslide.OpenSlide(tmp_path / "d" / "9.dcm") as other, open_regions(made.files, slide, where=WHERE) as region:
        rgba = np.asarray(other.read_region((250, 300), 0, (400, 300)))
        assert (np.moveaxis(rgba[..., :3], -1, 0) == region(0, 300, 250, 300, 400)).all()


def test_a_missing_level_is_no_obstacle_but_a_missing_slide_is(tmp_path: Path) -> None:
    made = made_dicom_slides.dicom_slide(tmp_path / "d", PICTURE, factors=(2, 8))

    without_middle = [path for path in made.files if path.name != "8.dcm"]
    slide = read_slide(without_middle, where=WHERE)
    with pytest.raises(CaseError) as caught:
        read_slide([path for path in made.files if path.name.startswith("0")], where=WHERE)

    assert [level.downsample[0] for level in slide.levels] == [1, 8]
    assert caught.value.code == "read.missing_part"


def test_instances_of_two_slides_are_refused(tmp_path: Path) -> None:
    one = made_dicom_slides.dicom_slide(tmp_path / "a", PICTURE)
    other = made_dicom_slides.dicom_slide(tmp_path / "b", PICTURE[:800])
    with pytest.raises(CaseError) as caught:
        read_slide([*one.files, *other.files], where=WHERE)
    assert caught.value.code == "read.several_images"


def test_a_scanners_own_geometry_is_left_to_openslide(tmp_path: Path) -> None:
    picture = slide_picture(1024, 1536)
    philips = made_slides.philips(tmp_path / "p.tiff", picture)
    hamamatsu = made_slides.hamamatsu_vms(tmp_path / "h", picture, microns=0.5, offset=(0, 0))

    for made, vendor, microns in ((philips, "philips", 0.25), (hamamatsu, "hamamatsu", 0.5)):
        slide = read_slide(made.files, where=WHERE)
        assert (slide.format, slide.microns_per_pixel) == (vendor, (microns, microns))
        file = next(path for path in made.files if path.suffix in (".tiff", ".vms"))
        with openslide.OpenSlide(file) as other, open_regions(made.files, slide, where=WHERE) as region:
            for level in range(3):
                y, x = 200 >> level, 300 >> level
                rgba = np.asarray(other.read_region((300, 200), level, (150, 100)))
                assert (np.moveaxis(rgba[..., :3], -1, 0) == region(level, y, x, 100, 150)).all()
            assert (region(0, -10, -10, 5, 5) == 255).all()


def test_pictures_are_no_slides(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "small.tif", PICTURE[:500, :500], tile=(128, 128), photometric="rgb")
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((5, 256, 256), np.uint8), tile=(128, 128))
    tifffile.imwrite(tmp_path / "strips.tif", PICTURE, photometric="rgb")
    (tmp_path / "text.tif").write_bytes(b"II*\x00 no TIFF")
    (tmp_path / "empty.tif").write_bytes(b"")
    assert not any(is_slide([path]) for path in tmp_path.iterdir())
    assert not is_slide([])


def test_a_large_tiled_picture_is_a_slide_of_one_level(tmp_path: Path) -> None:
    tile = np.full((1024, 1024), 7, np.uint8)
    path = tmp_path / "large.tif"
    tifffile.imwrite(
        path, (tile for _ in range(81)), shape=(8200, 8300), dtype="uint8", tile=(1024, 1024), compression="deflate"
    )
    assert is_slide([path])
    assert [level.shape for level in read_slide([path], where=WHERE).levels] == [(8200, 8300)]


def test_nothing_that_names_a_person_is_kept(tmp_path: Path) -> None:
    vms = made_slides.hamamatsu_vms(tmp_path / "h", slide_picture(1024, 1536), microns=0.5, offset=(0, 0))
    for made in (
        made_slides.aperio(tmp_path / "a.svs", PICTURE),
        made_dicom_slides.dicom_slide(tmp_path / "d", PICTURE),
        made_slides.philips(tmp_path / "p.tiff", PICTURE[:1024, :1024]),
        vms,
    ):
        kept = str(asdict(read_slide(made.files, where=WHERE)))
        assert "Doe" not in kept
        assert "2003" not in kept


def test_another_slide_under_the_same_name_is_noticed(tmp_path: Path) -> None:
    slide = read_slide(made_slides.aperio(tmp_path / "a.svs", PICTURE).files, where=WHERE)
    other = made_slides.aperio(tmp_path / "a.svs", PICTURE[:900])
    with pytest.raises(CaseError) as caught, open_regions(other.files, slide, where=WHERE):
        pass
    assert caught.value.code == "slide.changed"


def test_what_is_no_slide_or_no_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no slide")
    (tmp_path / "b.svs").write_bytes(b"")
    for files, code in (
        ([tmp_path / "a.txt"], "unknown_format"),
        ([tmp_path / "b.svs"], "truncated"),
        ([], "no_files"),
    ):
        with pytest.raises(CaseError) as caught:
            read_slide(files, where=WHERE)
        assert caught.value.code == f"read.{code}"


def test_regions_are_read_in_a_spawned_process(tmp_path: Path) -> None:
    made = made_slides.aperio(tmp_path / "a.svs", PICTURE)
    slide = read_slide(made.files, where=WHERE)
    here = int(PICTURE[100:400, 100:400].sum())
    assert made_slides.sum_of_region(made.files, slide) == here
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(made_slides.sum_of_region, (made.files, slide)) == here


def test_the_index_does_not_depend_on_names_or_order_of_files(tmp_path: Path) -> None:
    made = made_dicom_slides.dicom_slide(tmp_path / "d", PICTURE)
    moved = [Path(shutil.copy(path, tmp_path / f"{5 - n}{path.name}")) for n, path in enumerate(made.files)]
    one, other = (read_slide(files, where=WHERE) for files in (made.files, moved[::-1]))
    assert one.levels == other.levels
    assert (one.tissue == other.tissue).all()
    assert (one.thumbnail == other.thumbnail).all()


def test_every_library_that_decodes_is_named(tmp_path: Path) -> None:
    aperio = made_slides.aperio(tmp_path / "a.svs", PICTURE)
    folder = made_dicom_slides.dicom_slide(tmp_path / "d", PICTURE)
    philips = made_slides.philips(tmp_path / "p.tiff", PICTURE[:1024, :1024])
    assert {"tifffile", "imagecodecs"} <= set(slide_decoders(aperio.files))
    assert {"wsidicom", "pydicom"} <= set(slide_decoders(folder.files))
    assert {"openslide-python", "openslide-bin"} <= set(slide_decoders(philips.files))
