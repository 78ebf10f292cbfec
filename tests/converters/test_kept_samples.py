"""Slides and videos when they are sharded: which tiles and frames, their pixels, and what was drawn on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from made_slides import aperio, slide_picture

from medshard.converters.annotation_table import AnnotationTable, rows_table
from medshard.converters.plan import FrameRule, Plan, TileRule
from medshard.converters.samples import Sample, make_sample
from medshard.converters.slide import Slide
from medshard.converters.slides.reading import read_slide
from medshard.converters.sources import SourceFile
from medshard.converters.volume import LabelLayer, Volume
from medshard.errors import CaseError

SHAPE = (600, 700)


@pytest.fixture(scope="module")
def slide_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "s.svs"
    aperio(path, slide_picture(*SHAPE), microns="0.5000", factors=(2, 4))
    return path


@pytest.fixture(scope="module")
def slide(slide_file: Path) -> Slide:
    index = read_slide([slide_file], where="made/c")
    return replace(index, files=(SourceFile(path="s.svs", sha256="0" * 64, size=1),), tissue=np.ones_like(index.tissue))


def plan(**rule: float) -> Plan:
    tiles = TileRule(**{"size": 64, "microns_per_pixel": 0.5, "least_tissue": 0.0, **rule})
    return Plan(
        name="default", entry="made", recipe_digest="0", channels=("slide",), spacing_mm=None, tiles=tiles,
        patch_size=(1, 64, 64), inner_chunk=(1, 64, 64),
    )  # fmt: skip


def sample_of(slide: Slide, slide_file: Path, asked: Plan, **contents: object) -> Sample:
    volume = Volume(entry="made", case="c", patient="p", slides={"slide": slide}, **contents)
    return make_sample(volume, asked, files={"s.svs": slide_file})


def corners(sample: Sample) -> list[tuple[int, int]]:
    assert sample.places is not None
    return list(zip(sample.places["y"].to_pylist(), sample.places["x"].to_pylist(), strict=True))


def test_tiles_are_the_pixels_of_the_slide_at_their_corners(slide: Slide, slide_file: Path) -> None:
    sample = sample_of(slide, slide_file, plan())
    assert sample.image is not None
    stored = tifffile.imread(slide_file, key=0).transpose(2, 0, 1)
    assert sample.image.shape == (3, 10 * 11, 64, 64)
    for number, (y, x) in enumerate(corners(sample)):
        pixels = stored[:, y : y + 64, x : x + 64]
        np.testing.assert_array_equal(sample.image[:, number, : pixels.shape[1], : pixels.shape[2]], pixels)
    np.testing.assert_allclose(np.linalg.norm(sample.affine[:3, 1:3], axis=0), 0.0005)


def test_a_coarser_pixel_size_takes_fewer_and_wider_tiles(slide: Slide, slide_file: Path) -> None:
    sample = sample_of(slide, slide_file, plan(microns_per_pixel=1.0))
    assert sample.image is not None
    assert sample.image.shape[1] == 5 * 6
    stored = tifffile.imread(slide_file, key=0).astype(float)
    means = stored[:128, :128].reshape(64, 2, 64, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    assert np.abs(sample.image[:, 0] - means).max() <= 1.0


def test_a_slide_without_tissue_has_no_sample_and_says_why(slide: Slide, slide_file: Path) -> None:
    bare = replace(slide, tissue=np.zeros_like(slide.tissue))
    with pytest.raises(CaseError, match=r"slide\.no_tissue"):
        sample_of(bare, slide_file, plan(least_tissue=0.1))


def test_a_mask_of_the_slide_follows_its_tiles(slide: Slide, slide_file: Path) -> None:
    mask = np.zeros((1, 1, *SHAPE), np.uint8)
    mask[..., 100:300, 150:420] = 2
    layer = LabelLayer(array=mask, affine=slide.affine, classes={2: "metastasis"}, examined=("metastasis",))
    sample = sample_of(slide, slide_file, plan(), labels={"regions": layer})
    tiles = sample.labels["regions"].array
    for number, (y, x) in enumerate(corners(sample)):
        part = mask[0, 0, y : y + 64, x : x + 64]
        np.testing.assert_array_equal(tiles[0, number, : part.shape[0], : part.shape[1]], part)
    assert int((tiles == 2).sum()) == 200 * 270
    assert sample.warnings == ()


def outlines(*polygons: tuple[str | None, bool, list[tuple[float, float]]]) -> AnnotationTable:
    rows = [
        {"concept": concept, "outline": number, "hole": hole, "z": 0.0, "y": float(y), "x": float(x)}
        for number, (concept, hole, points) in enumerate(polygons)
        for y, x in points
    ]
    return AnnotationTable(
        kind="outlines", table=rows_table("outlines", rows), examined=("metastasis",), image="slide"
    )  # fmt: skip


def square(top: int, left: int, bottom: int, right: int) -> list[tuple[float, float]]:
    """Along the outer edges of the pixels top..bottom-1, left..right-1."""
    return [(top - 0.5, left - 0.5), (top - 0.5, right - 0.5), (bottom - 0.5, right - 0.5), (bottom - 0.5, left - 0.5)]


@pytest.mark.parametrize("cut", [("hole", True), (None, False)], ids=["hole", "without a concept"])
def test_outlines_become_masks_of_the_tiles(slide: Slide, slide_file: Path, cut: tuple[str | None, bool]) -> None:
    concept, hole = cut
    drawn = outlines(
        ("metastasis", False, square(100, 150, 300, 420)),
        ("metastasis" if concept else None, hole, square(150, 200, 200, 260)),
    )
    sample = sample_of(slide, slide_file, plan(), annotations={"drawn": drawn})
    expected = np.zeros(SHAPE, np.uint8)
    expected[100:300, 150:420] = 1
    expected[150:200, 200:260] = 0
    label = sample.labels["drawn"]
    assert label.classes == {1: "metastasis"}
    for number, (y, x) in enumerate(corners(sample)):
        part = expected[y : y + 64, x : x + 64]
        np.testing.assert_array_equal(label.array[0, number, : part.shape[0], : part.shape[1]], part)
    rows = sample.foreground["drawn"]
    assert len(rows)
    assert (label.array[0][tuple(rows[:, 1:].T)] == 1).all()


def test_a_layer_that_lies_on_no_tile_is_said(slide: Slide, slide_file: Path) -> None:
    small = LabelLayer(
        array=np.ones((1, 1, 60, 70), np.uint8), affine=np.eye(4), classes={1: "metastasis"}, examined=("metastasis",)
    )
    sample = sample_of(slide, slide_file, plan(), labels={"regions": small})
    assert sample.labels == {}
    assert "regions" in sample.warnings[0]


def test_a_source_that_is_gone_is_named(slide: Slide) -> None:
    volume = Volume(entry="made", case="c", patient="p", slides={"slide": slide})
    with pytest.raises(CaseError, match=r"source\.gone"):
        make_sample(volume, plan(), files={})


def test_the_rules_of_a_plan_survive_its_json() -> None:
    frames = replace(plan(), tiles=None, frames=FrameRule(rate_hz=None, most=7))
    for asked in (plan(), frames):
        assert Plan.from_json(asked.to_json()) == asked
