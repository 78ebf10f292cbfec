"""Tissue is found on stained slides and on nothing else; tiles cover it, in raster order, at the wanted pixel size."""

from __future__ import annotations

from pathlib import Path

import made_slides
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medshard.converters.array_types import Array
from medshard.converters.slide import Slide, SlideLevel
from medshard.converters.slides.reading import open_regions, read_slide, tissue_tiles
from medshard.converters.slides.tissue import otsu
from medshard.errors import CaseError


def tissue_of(folder: Path, picture: Array) -> Slide:
    made = made_slides.pyramid(folder / "p.tif", picture, factors=(2,))
    return read_slide(made.files, where="made/case")


def index(tissue: Array, *, microns: float | None = 0.25, factors: tuple[float, ...] = (1, 4, 16)) -> Slide:
    """A slide of 4096 by 4096 pixels, without a file."""
    levels = tuple(
        SlideLevel(shape=(int(4096 / n), int(4096 / n)), downsample=(float(n), float(n)), tile=(256, 256))
        for n in factors
    )
    return Slide(
        levels=levels,
        microns_per_pixel=None if microns is None else (microns, microns),
        tissue=tissue,
        tissue_downsample=(4096 / tissue.shape[0], 4096 / tissue.shape[1]),
        thumbnail=np.zeros((1, 1, 3), np.uint8),
        format="made",
    )


def expected_mask(slide: Slide, picture: Array) -> Array:
    inside = np.zeros(slide.tissue.shape, bool)
    height, width = inside.shape
    inside[height // 4 : height * 3 // 4, width // 4 : width * 3 // 4] = True
    return inside


def test_the_stained_square_is_found(tmp_path: Path) -> None:
    picture = made_slides.slide_picture(2048, 2048)
    slide = tissue_of(tmp_path, picture)
    inside = expected_mask(slide, picture)
    assert slide.tissue[inside].mean() > 0.7  # the section has gaps of its own
    assert slide.tissue[~inside].mean() < 0.02


@pytest.mark.parametrize("grey", [255, 240, 0, 128])
def test_an_empty_slide_has_no_tissue_and_says_so(tmp_path: Path, grey: int) -> None:
    random = np.random.default_rng(1)
    picture = np.full((1200, 1200, 3), grey, np.uint8)
    if grey == 240:  # real glass is noisy and a little tinted
        picture = (picture.astype(int) + random.integers(-3, 4, picture.shape) - [0, 2, 4]).astype(np.uint8)
    slide = tissue_of(tmp_path, picture)
    assert not slide.tissue.any()
    assert "no tissue is found on the slide" in slide.warnings


def test_padding_and_marker_are_no_tissue(tmp_path: Path) -> None:
    picture = made_slides.slide_picture(2048, 2048)
    picture[:, :300] = 0
    picture[-300:, 400:] = 255
    picture[100:200, 400:1900] = (20, 20, 25)
    picture[220:320, 400:1900] = (30, 140, 70)
    picture[340:440, 400:1900] = (40, 80, 190)
    slide = tissue_of(tmp_path, picture)
    assert slide.tissue[~expected_mask(slide, picture)].mean() < 0.02
    assert slide.tissue.mean() > 0.1


def test_a_slide_full_of_tissue_stays_full(tmp_path: Path) -> None:
    tile = made_slides.real_tile()[:64, :64]
    stain = tile.mean((0, 1)).round().astype(np.uint8)
    slide = tissue_of(tmp_path, np.broadcast_to(stain, (1200, 1200, 3)).copy())
    assert slide.tissue.all()


def test_the_thumbnail_is_small_and_looks_like_the_slide(tmp_path: Path) -> None:
    picture = made_slides.slide_picture(2100, 1500)
    slide = tissue_of(tmp_path, picture)
    assert max(slide.thumbnail.shape) <= 1024
    factor = round(2100 / slide.thumbnail.shape[0])
    rows, columns = 2100 // factor, 1500 // factor
    difference = slide.thumbnail[:rows, :columns].astype(float) - made_slides.reduced(picture, factor)
    assert np.abs(difference).max() <= 1


def test_tiles_of_the_slides_own_pixels_cover_it_once_and_in_order() -> None:
    grid = tissue_tiles(index(np.ones((64, 64), bool)), microns_per_pixel=None, size=1000, least_tissue=0)
    expected = [(y, x) for y in range(0, 4096, 1000) for x in range(0, 4096, 1000)]
    assert (grid.level, grid.factor, grid.read) == (0, (1, 1), (1000, 1000))
    assert [tuple(corner) for corner in grid.corners.tolist()] == expected
    assert grid.tissue[0] == 1
    assert grid.tissue[-1] == pytest.approx((96 / 1000) ** 2)


@pytest.mark.parametrize(
    ("wanted", "level", "factor"),
    [(0.25, 0, 1.0), (0.5, 0, 2.0), (0.99, 1, 0.99), (1.0, 1, 1.0), (2.0, 1, 2.0), (4.0, 2, 1.0), (16.0, 2, 4.0)],
)
def test_the_level_is_the_nearest_that_is_not_coarser(wanted: float, level: int, factor: float) -> None:
    grid = tissue_tiles(index(np.ones((64, 64), bool)), microns_per_pixel=wanted, size=64, least_tissue=0)
    assert (grid.level, grid.factor) == (level, pytest.approx((factor, factor)))
    assert (grid.corners == grid.places * int(index(np.ones((4, 4), bool)).levels[level].downsample[0])).all()


def test_a_downsample_a_little_below_a_whole_number_is_no_other_level() -> None:
    grid = tissue_tiles(
        index(np.ones((64, 64), bool), factors=(1, 3.9996, 15.998)), microns_per_pixel=1.0, size=64, least_tissue=0
    )
    assert grid.level == 1


def test_pixels_that_the_slide_does_not_have_are_refused() -> None:
    tissue = np.ones((64, 64), bool)
    for slide, code in (
        (index(tissue, microns=0.5), "slide.too_coarse"),
        (index(tissue, microns=None), "slide.no_pixel_size"),
    ):
        with pytest.raises(CaseError) as caught:
            tissue_tiles(slide, microns_per_pixel=0.25, size=64, least_tissue=0)
        assert caught.value.code == code


@given(
    seed=st.integers(0, 1000),
    size=st.integers(3, 900),
    least=st.floats(0.01, 1),
    overlap=st.floats(0, 0.9),
)
def test_tissue_shares_are_those_of_the_mask_at_full_size(seed: int, size: int, least: float, overlap: float) -> None:
    tissue = np.random.default_rng(seed).random((16, 16)) < 0.4
    slide = index(tissue, factors=(1,))
    common = int(overlap * size)
    if (size - common) < 40:
        common = 0
    if size < 40:
        size, common = 40, 0
    grid = tissue_tiles(slide, microns_per_pixel=None, size=size, least_tissue=least, overlap=common)
    full = tissue.repeat(256, 0).repeat(256, 1)
    shares = [full[y : y + size, x : x + size].sum() / size**2 for y, x in grid.corners[:50].tolist()]
    np.testing.assert_allclose(grid.tissue[:50], shares, atol=1e-5)
    assert (grid.tissue >= least - 1e-6).all()
    assert np.array_equal(grid.corners, sorted(grid.corners.tolist())) or not len(grid.corners)


def test_chosen_tiles_hold_stained_pixels(tmp_path: Path) -> None:
    made = made_slides.aperio(tmp_path / "a.svs", made_slides.slide_picture(2048, 2048))
    slide = read_slide(made.files, where="made/case")
    grid = tissue_tiles(slide, microns_per_pixel=2.0, size=64, least_tissue=0.5)
    with open_regions(made.files, slide, where="made/case") as region:
        tiles = [region(grid.level, int(y), int(x), *grid.read) for y, x in grid.places]
    assert 0 < len(tiles) < grid.candidates / 2
    assert all(np.ptp(tile.astype(int), axis=0).mean() > 10 for tile in tiles)


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (10, 10), (10, -1)])
def test_a_grid_that_is_none_is_refused(size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="no grid"):
        tissue_tiles(index(np.ones((4, 4), bool)), microns_per_pixel=None, size=size, least_tissue=0, overlap=overlap)


@given(low=st.floats(0, 50), high=st.floats(150, 255), share=st.floats(0.05, 0.95))
def test_the_threshold_parts_two_values(low: float, high: float, share: float) -> None:
    count = int(share * 200)
    values = np.array([low] * count + [high] * (200 - count), np.float32)
    assert low < otsu(values) < high
