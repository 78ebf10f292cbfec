"""Previews out of a store: sources decoded where they lie, pages that need no other file, equal bytes, bounded size."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import made_slides
import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from made_builds import catalog_of
from made_videos import CODECS, number_of, write_video
from PIL import Image as Picture

from medshard.cli import cli
from medshard.converters.annotation_table import AnnotationTable, rows_table
from medshard.converters.geometry import pixel_grid_affine
from medshard.converters.slides.reading import read_slide
from medshard.converters.sources import SourceFile
from medshard.converters.table import table_of
from medshard.converters.videos.reading import read_video
from medshard.converters.volume import Image, LabelLayer, Volume
from medshard.pipelines.build import build
from medshard.pipelines.reporting.montage import contact_sheet
from medshard.pipelines.reporting.previews.cases import ShownCase, ShownCases, cases_to_show
from medshard.pipelines.reporting.previews.kept import TISSUE, scattered, shown_slides, shown_videos
from medshard.pipelines.reporting.previews.page import preview_page
from medshard.pipelines.reporting.previews.sheet import sheet_png
from medshard.pipelines.reporting.previews.views import shown_case, shown_cases
from medshard.registry.store import Store

SOURCE = (SourceFile(path="source", sha256="", size=1),)


def page_of(*cases: ShownCase) -> str:
    return preview_page("made", ShownCases(cases=iter(cases), total=len(cases)))


def case(**contents: object) -> Volume:
    return Volume(entry="made", case="one", patient="one", **contents)  # type: ignore[arg-type]


@pytest.fixture
def slide_case(tmp_path: Path) -> ShownCase:
    file = tmp_path / "slide.tiff"
    made_slides.aperio(file, made_slides.slide_picture(1600, 2400))
    slide = replace(read_slide([file], where="made"), files=SOURCE)
    corners = [(400.0, 600.0), (400.0, 1200.0), (800.0, 1200.0)]
    rows = [{"concept": "tumour", "outline": 1, "z": 0.0, "y": y, "x": x} for y, x in corners]
    table = AnnotationTable(kind="outlines", table=rows_table("outlines", rows), image="slide")
    return ShownCase(volume=case(slides={"slide": slide}, annotations={"a": table}), files={"source": file})


@pytest.fixture
def video_case(tmp_path: Path) -> ShownCase:
    file = tmp_path / "video.mp4"
    write_video(file, CODECS[next(name for name in CODECS if "264" in name)])
    video = replace(read_video([file], where="made"), files=SOURCE)
    box = {"z_min": -0.5, "z_max": 0.5, "y_min": 19.5, "y_max": 39.5, "x_min": 29.5, "x_max": 49.5}
    rows = [{"concept": "polyp", **box, "frame": frame} for frame in (7, 13)]
    table = AnnotationTable(kind="boxes", table=rows_table("boxes", rows), image="video")
    return ShownCase(volume=case(videos={"video": video}, annotations={"a": table}), files={"source": file})


def test_tiles_are_the_pixels_of_the_slide_at_their_places_and_lie_on_tissue(slide_case: ShownCase) -> None:
    thumbnail, tiles = shown_slides(slide_case.volume, slide_case.files)
    whole = made_slides.slide_picture(1600, 2400)
    for plane in tiles.planes:
        top, left = (int(number) for number in re.findall(r"[yx] (\d+)", plane.foot))
        expected = whole[top : top + 256, left : left + 256]
        shown = plane.pixels[: expected.shape[0], : expected.shape[1]]
        assert np.abs(shown.astype(int) - expected).max() == 0
    (plane,) = thumbnail.planes
    scale = 1600 / plane.pixels.shape[0]
    tumour = next(stroke for stroke in plane.strokes if stroke.concept == "tumour")
    assert ((tumour.points + 0.5) * scale - 0.5).round(6).tolist() == [[400, 600], [400, 1200], [800, 1200]]
    rows, columns = np.nonzero(plane.marked[TISSUE])
    assert rows.mean() * scale == pytest.approx(800, rel=0.05)
    assert columns.mean() * scale == pytest.approx(1200, rel=0.05)


def test_a_source_that_is_gone_leaves_the_thumbnail_and_says_so(slide_case: ShownCase) -> None:
    thumbnail, tiles = shown_slides(slide_case.volume, {})
    assert thumbnail.planes
    assert tiles.planes == ()
    assert "not in the store any more" in tiles.caption[1]


def test_frames_with_marks_are_shown_with_their_times(video_case: ShownCase) -> None:
    (shown,) = shown_videos(video_case.volume, video_case.files)
    assert [plane.foot for plane in shown.planes] == ["frame 7, 0.280 s", "frame 13, 0.520 s"]
    assert [number_of(np.moveaxis(plane.pixels, -1, 0)) for plane in shown.planes] == [7, 13]
    assert all(stroke.points.min(axis=0).tolist() == [19.5, 29.5] for p in shown.planes for stroke in p.strokes)


def test_without_marks_frames_are_spread_over_the_video(video_case: ShownCase) -> None:
    (shown,) = shown_videos(replace(video_case.volume, annotations={}), video_case.files)
    numbers = [number_of(np.moveaxis(plane.pixels, -1, 0)) for plane in shown.planes]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 8
    assert numbers[-1] >= 30


@pytest.mark.parametrize(("count", "kept"), [(0, 0), (3, 3), (95, 8), (10_000, 8)])
def test_tiles_are_taken_from_all_over_the_raster(count: int, kept: int) -> None:
    chosen = scattered(count, kept)
    assert len(set(chosen)) == kept
    assert all(0 <= number < count for number in chosen)


def text_case() -> ShownCase:
    report = rows_table("report", [{"section": "findings", "text": "<script>alert(1)</script> " + "word " * 500}])
    questions = rows_table(
        "question-answers", [{"question": "Is it a mass?", "answer": "no", "options": ["yes", "no"]}]
    )
    table = pa.table({"age": [1, None], "gene": ["<b>TP53</b>", "x" * 500], "many": [list(range(99))] * 2})
    picture = Image(array=np.zeros((1, 1, 9, 9), np.uint8), affine=pixel_grid_affine(), trusted_geometry=False)
    volume = case(
        images={"film": picture},
        annotations={
            "r": AnnotationTable(kind="report", table=report, image="film"),
            "q": AnnotationTable(kind="question-answers", table=questions, image="film"),
        },
        tables={"clinical": table_of(table, "csv")},
    )
    return ShownCase(volume=volume, warnings=("a <i>warning</i>",))


def test_a_page_asks_for_no_other_file_and_its_text_is_no_markup(slide_case: ShownCase) -> None:
    page = page_of(text_case(), slide_case)
    assert set(re.findall(r'(?:src|href)="([^"]{0,15})', page)) == {"data:image/png;"}
    assert not re.search(r"https?:|@import|url\(|<script|<i>|<b>TP53", page)
    for said in ("&lt;script&gt;", "a &lt;i&gt;warning&lt;/i&gt;", "Q: Is it a mass?", "99 values", "tumour"):
        assert said in page


def test_texts_are_begun_and_tables_show_types_and_first_rows() -> None:
    picture, texts, table = shown_case(text_case())
    assert picture.first
    assert max(len(passage.text) for passage in texts.passages) <= 403
    assert [passage.heading for passage in texts.passages if passage.text] == ["Q: Is it a mass?", "findings"]
    assert table.rows is not None
    assert table.rows.header == (("age", "int64"), ("gene", "string"), ("many", "list<item: int64>"))
    assert [row[0] for row in table.rows.cells] == ["1", "-"]


def test_equal_cases_give_equal_pages_and_sheets(slide_case: ShownCase, video_case: ShownCase) -> None:
    cases = (slide_case, video_case, text_case())
    assert page_of(*cases) == page_of(*cases)
    sheets = [sheet_png(shown_cases(cases), tile=(480, 190), most_bytes=10**6) for _ in range(2)]
    assert sheets[0] == sheets[1]


def test_a_case_that_cannot_be_drawn_says_why_and_hides_no_other() -> None:
    broken = LabelLayer(
        array=np.full((1, 1, 9, 9), 0.5), affine=pixel_grid_affine(), classes={1: "lesion"}, examined=("lesion",)
    )
    volume = replace(text_case().volume, labels={"l": broken}, annotations={}, tables={})
    shown = shown_cases([ShownCase(volume=volume), text_case()])
    assert any("cannot be shown: label.not_integer" in line for line in shown[0].caption)
    assert len(shown) > 1


def films(folder: Path, names: Sequence[str]) -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 255, (200, 240), np.uint8)
        Picture.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def test_a_sheet_that_would_be_too_large_shows_fewer_cases(tmp_path: Path, store: Store) -> None:
    source = films(tmp_path / "source", [f"c{number:02d}" for number in range(12)])
    catalog = catalog_of(source, {"images": {"film": {"path": "{case}.png"}}, "modality": "X-ray"})
    build(store, "made-entry", to="volumes", catalog=catalog)
    assert len(contact_sheet(store, "made-entry", most_bytes=60_000)) <= 60_000
    assert cases_to_show(store, "made-entry", stage="volumes", plan="default", most_cases=4).total == 12


def test_tiles_in_shards_are_shown_with_their_places(tmp_path: Path, store: Store) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a", "b"):
        made_slides.aperio(source / f"{name}.svs", made_slides.slide_picture(1600, 2400 if name == "a" else 2000))
    group = {"images": {"slide": {"path": "{case}.svs"}}, "modality": "pathology"}
    plans = {"default": {"channels": ["slide"], "microns_per_pixel": 0.5, "tile_size": 224}}
    catalog = catalog_of(source, group, modalities=["pathology"], dimensions=[2], plans=plans)
    build(store, "made-entry", to="shards", catalog=catalog)
    found = cases_to_show(store, "made-entry", stage="shards", plan="default", most_cases=1)
    (shown,) = shown_cases(found.cases)
    assert len(shown.planes) == 8
    assert all(re.fullmatch(r"y \d+, x \d+, tissue \d+%", plane.foot) for plane in shown.planes)
    volumes = shown_cases(cases_to_show(store, "made-entry", stage="volumes", plan="", most_cases=2).cases)
    assert [len(each.planes) for each in volumes] == [1, 8, 1, 8]


def test_what_was_judged_of_an_image_is_said_of_its_sample(tmp_path: Path, store: Store) -> None:
    source = films(tmp_path / "source", ["a", "b"])
    (source / "labels.csv").write_text("image,finding\na,Mass\nb,Normal\n")
    table = {"kind": "class-table", "path": "labels.csv", "key": "{case}", "key_column": "image", "column": "finding"}
    values = {"values": {"Mass": "lung mass", "Normal": "normal"}}
    group = {
        "images": {"film": {"path": "{case}.png"}},
        "modality": "X-ray",
        "annotations": {"findings": table | values},
    }
    build(store, "made-entry", to="shards", catalog=catalog_of(source, group))
    found = cases_to_show(store, "made-entry", stage="shards", plan="default", most_cases=2)
    first, second = shown_cases(found.cases)
    assert first.words == ("findings: lung mass; normal absent",)
    assert second.words == ("findings: normal; lung mass absent",)


def test_the_command_writes_a_picture_and_a_page(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    source = films(tmp_path / "source", ["a", "b"])
    catalog = catalog_of(source, {"images": {"film": {"path": "{case}.png"}}, "modality": "X-ray"})
    build(store, "made-entry", to="volumes", catalog=catalog)
    monkeypatch.setenv("MEDSHARD_CATALOG", str(tmp_path / "catalog.yaml"))
    wanted = ["preview", "made-entry", "--root", str(store.root), "-o", str(tmp_path / "out"), "--html"]
    told = CliRunner().invoke(cli, wanted)
    assert told.exit_code == 0, told.output
    png, page = (Path(line) for line in told.output.split())
    assert Picture.open(io.BytesIO(png.read_bytes())).format == "PNG"
    assert "<h2>b</h2>" in page.read_text(encoding="utf8")
    assert "stage.not_built" in CliRunner().invoke(cli, [*wanted, "--stage", "shards"]).output
