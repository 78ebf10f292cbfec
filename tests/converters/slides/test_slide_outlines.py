"""Outlines of every program end up in pixels of level 0, and a drawn mask is the area that was outlined."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import made_slides
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from medshard.converters.slides.reading import SlideOutline, rasterise_outlines, read_slide_outlines
from medshard.errors import CaseError

WHERE = "made/case"
SQUARE = [(100, 200), (300, 200), (300, 260), (100, 260)]  # x, y from the slide's corner
STORED = [(199.5, 99.5), (199.5, 299.5), (259.5, 299.5), (259.5, 99.5)]  # y, x from the centre of the first pixel


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def asap(
    path: Path, *, kind: str = "Polygon", group: str = "metastases", points: list[tuple[int, int]] = SQUARE
) -> Path:
    rows = "".join(f'<Coordinate Order="{n}" X="{x}" Y="{y}" />' for n, (x, y) in reversed(list(enumerate(points))))
    return written(
        path,
        '<?xml version="1.0"?><ASAP_Annotations><Annotations>'
        f'<Annotation Name="Dr Doe 1" Type="{kind}" PartOfGroup="{group}" Color="#F4FA58"><Coordinates>{rows}'
        "</Coordinates></Annotation></Annotations><AnnotationGroups/></ASAP_Annotations>",
    )


def aperio(path: Path, regions: str, *, layer: str = "") -> Path:
    return written(
        path,
        f'<Annotations MicronsPerPixel="0.25"><Annotation Id="1" Name="{layer}"><Attributes>'
        f'<Attribute Name="Epithelial" Id="0" Value=""/></Attributes>'
        f"<Regions>{regions}</Regions></Annotation></Annotations>",
    )


def region(points: list[tuple[int, int]], **attributes: Any) -> str:
    words = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    rows = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in points)
    return f"<Region {words}><Vertices>{rows}</Vertices></Region>"


def feature(geometry: dict[str, Any], properties: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "Feature", "id": "a", "geometry": geometry, "properties": properties or {}}


def ring(points: list[tuple[int, int]]) -> list[list[int]]:
    return [list(point) for point in (*points, points[0])]


def points(outline: SlideOutline) -> list[tuple[float, float]]:
    return [(y, x) for y, x in outline.points.tolist()]


def test_asap_outlines_follow_their_order_and_keep_their_group(tmp_path: Path) -> None:
    (one,) = read_slide_outlines([asap(tmp_path / "a.xml")], where=WHERE)
    assert points(one) == STORED
    assert (one.group, one.kind, one.hole) == ("metastases", "polygon", False)
    assert "Doe" not in str(one)


def test_asap_kinds_that_enclose_nothing_are_no_polygons(tmp_path: Path) -> None:
    (dot,) = read_slide_outlines([asap(tmp_path / "a.xml", kind="Dot", points=[(5, 7)], group="None")], where=WHERE)
    (spline,) = read_slide_outlines([asap(tmp_path / "b.xml", kind="Spline")], where=WHERE)
    assert (dot.kind, dot.group, points(dot)) == ("points", None, [(6.5, 4.5)])
    assert (spline.kind, spline.curved) == ("polygon", True)


def test_aperio_regions_take_the_first_word_that_is_given(tmp_path: Path) -> None:
    path = aperio(tmp_path / "a.xml", region(SQUARE, Type=0, Text="gland") + region(SQUARE, Type=0))
    named = aperio(tmp_path / "b.xml", region(SQUARE, Type=0), layer="stroma")
    one, two = read_slide_outlines([path], where=WHERE)
    (three,) = read_slide_outlines([named], where=WHERE)
    assert [one.group, two.group, three.group] == ["gland", "Epithelial", "stroma"]
    assert points(one) == STORED


def test_a_negative_region_cuts_its_layer(tmp_path: Path) -> None:
    inner = [(150, 220), (250, 220), (250, 240), (150, 240)]
    path = aperio(tmp_path / "a.xml", region(SQUARE, NegativeROA=0) + region(inner, NegativeROA=1))
    outlines = read_slide_outlines([path], where=WHERE)
    mask = rasterise_outlines(outlines, (400, 400), (1, 1), (0, 0, 400, 400))
    expected = np.zeros((400, 400), bool)
    expected[200:260, 100:300] = True
    expected[220:240, 150:250] = False
    assert (mask == expected).all()


def test_an_ellipse_of_aperio_fills_its_box(tmp_path: Path) -> None:
    path = aperio(tmp_path / "a.xml", region([(100, 100), (300, 200)], Type=2))
    mask = rasterise_outlines(read_slide_outlines([path], where=WHERE), (400, 400), (1, 1), (0, 0, 400, 400))
    assert mask.sum() == pytest.approx(np.pi * 100 * 50, rel=0.01)
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (100, 199, 100, 299)


@pytest.mark.parametrize("as_collection", [True, False])
def test_geojson_of_qupath_keeps_holes_and_parts(tmp_path: Path, as_collection: bool) -> None:
    hole = [(120, 210), (140, 210), (140, 230), (120, 230)]
    island = [(0, 0), (10, 0), (10, 10), (0, 10)]
    many = {"type": "MultiPolygon", "coordinates": [[ring(SQUARE), ring(hole)], [ring(island)]]}
    features = [
        feature(many, {"classification": {"name": "Tumor", "color": [200, 0, 0]}, "name": "Dr Doe"}),
        feature({"type": "Point", "coordinates": [3, 4, 0]}, {"classification": "cell"}),
        feature({"type": "LineString", "coordinates": [[0, 0], [5, 5]]}),
    ]
    document = {"type": "FeatureCollection", "features": features} if as_collection else features
    path = written(tmp_path / "a.geojson", json.dumps(document))

    outlines = read_slide_outlines([path], where=WHERE)

    assert [one.group for one in outlines] == ["Tumor", "Tumor", "Tumor", "cell", None]
    assert [one.hole for one in outlines] == [False, True, False, False, False]
    assert [one.kind for one in outlines] == ["polygon", "polygon", "polygon", "points", "line"]
    assert points(outlines[0]) == STORED
    mask = rasterise_outlines(outlines, (400, 400), (1, 1), (0, 0, 400, 400))
    assert mask.sum() == 200 * 60 - 20 * 20 + 100
    assert "Doe" not in str(outlines)


def ndpa(path: Path, nanometres: list[tuple[float, float]]) -> Path:
    rows = "".join(f"<point><x>{round(x)}</x><y>{round(y)}</y></point>" for x, y in nanometres)
    return written(
        path,
        '<?xml version="1.0" encoding="utf-8"?><annotations><ndpviewstate id="1"><title>tumour</title>'
        '<annotation type="freehand" displayname="AnnotateFreehand"><measuretype>0</measuretype><closed>1</closed>'
        f"<pointlist>{rows}</pointlist></annotation></ndpviewstate></annotations>",
    )


def test_ndpa_outlines_are_placed_by_their_slide(tmp_path: Path) -> None:
    """Independent of the reader: the picture's centre lies at the offset, and a pixel is 500 nanometres."""
    offset = (3_000_000, -2_000_000)
    made = made_slides.hamamatsu_vms(tmp_path / "h", made_slides.slide_picture(1024, 1536), microns=0.5, offset=offset)
    nanometres = [((x - 768) * 500 + offset[1], (y - 512) * 500 + offset[0]) for x, y in SQUARE]
    path = ndpa(tmp_path / "a.ndpa", nanometres)

    (one,) = read_slide_outlines([path, *made.files], where=WHERE)

    np.testing.assert_allclose(one.points, STORED, atol=1e-6)
    assert one.group == "tumour"


def test_ndpa_without_its_slide_is_refused_by_name(tmp_path: Path) -> None:
    other = made_slides.aperio(tmp_path / "a.svs", made_slides.slide_picture(300, 300), factors=())
    path = ndpa(tmp_path / "a.ndpa", [(0, 0), (5000, 0), (5000, 5000)])
    for files in ([path], [path, *other.files]):
        with pytest.raises(CaseError) as caught:
            read_slide_outlines(files, where=WHERE)
        assert caught.value.code == "annotation.no_image"


@given(
    corners=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=3, max_size=3, unique=True),
    corner=st.tuples(st.integers(-10, 50), st.integers(-10, 50)),
)
def test_a_box_of_the_mask_is_that_box_of_the_whole_mask(
    corners: list[tuple[int, int]], corner: tuple[int, int]
) -> None:
    outline = SlideOutline(points=np.array(corners, np.float64) + 0.25, region=0)
    whole = rasterise_outlines([outline], (64, 64), (1, 1), (0, 0, 64, 64))
    part = rasterise_outlines([outline], (64, 64), (1, 1), (*corner, 30, 20))
    padded = np.pad(whole, 40)
    y, x = corner[0] + 40, corner[1] + 40
    assert (part == padded[y : y + 30, x : x + 20]).all()


def test_a_mask_of_a_smaller_level_is_the_reduced_mask_of_the_largest() -> None:
    random = np.random.default_rng(5)
    star = np.stack([np.sin(np.arange(40) * 0.157), np.cos(np.arange(40) * 0.157)], 1) * random.uniform(
        90, 240, (40, 1)
    )
    outline = SlideOutline(points=star + 256, region=0)
    picture = Image.new("1", (4 * 512, 4 * 512))
    drawn = [(float(x) * 4 + 1.5, float(y) * 4 + 1.5) for y, x in outline.points]
    ImageDraw.Draw(picture).polygon(drawn, fill=1)
    oracle = np.asarray(picture)
    for factor in (1, 4):
        mask = rasterise_outlines([outline], (512, 512), (factor, factor), (0, 0, 512 // factor, 512 // factor))
        step = 4 * factor
        share = oracle.reshape(512 // factor, step, 512 // factor, step).mean((1, 3))
        assert mask[share > 0.95].all()
        assert not mask[share < 0.05].any()
        assert abs(mask.mean() - oracle.mean()) < 0.005


def test_nothing_is_drawn_outside_of_the_slide() -> None:
    outline = SlideOutline(points=np.array([[-50.0, -50], [-50, 500], [500, 500], [500, -50]]), region=0)
    mask = rasterise_outlines([outline], (100, 80), (1, 1), (-10, -10, 200, 200))
    assert mask[10:110, 10:90].all()
    assert mask.sum() == 100 * 80


def geometry(kind: str, coordinates: str) -> str:
    return f'[{{"type": "Feature", "geometry": {{"type": "{kind}", "coordinates": {coordinates}}}}}]'


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("a.xml", "<Other/>", "read.unknown_format"),
        ("a.xml", "<Annotations><Annotation><Regions><Region><Vertices>", "read.unreadable"),
        ("a.xml", f"<Annotations><Annotation><Regions>{region(SQUARE, Type=9)}</Regions></Annotation></Annotations>",
         "read.unsupported"),
        ("a.xml", '<!DOCTYPE a [<!ENTITY b "c">]><Annotations>&b;</Annotations>', "read.unsupported"),
        ("a.json", '{"type": "FeatureCollection", "features": [{"type": "Feature"', "read.unreadable"),
        ("a.json", geometry("Polygon", "[[[0, 0], [NaN, 1], [2, 2]]]"), "read.unreadable"),
        ("a.json", geometry("Polygon", "[[[0, 0], [1, 1]]]"), "read.unreadable"),
        ("a.json", geometry("Circle", "[]"), "read.unsupported"),
        ("a.json", '[{"type": "Feature"}, ' + "[" * 100_000, "read.unreadable"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_reason(tmp_path: Path, name: str, text: str, code: str) -> None:
    with pytest.raises(CaseError) as caught:
        read_slide_outlines([written(tmp_path / name, text)], where=WHERE)
    assert caught.value.code == code


def test_two_files_of_outlines_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(CaseError) as caught:
        read_slide_outlines([asap(tmp_path / "a.xml"), asap(tmp_path / "b.xml")], where=WHERE)
    assert caught.value.code == "read.several_images"
