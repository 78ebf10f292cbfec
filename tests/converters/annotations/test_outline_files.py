"""Outlines that count pixels: LIDC-IDRI's XML, CASCADE's QVS, JSON polygons; made after the published descriptions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Polygon

from medshard.converters.annotations.lidc_xml import strictly_inside
from medshard.converters.annotations.outline_files import FORMATS
from medshard.converters.annotations.rasterise import rasterise
from medshard.converters.annotations.segments import OutlineSet
from medshard.converters.formats.format import Request
from medshard.converters.geometry import affine_from_itk
from medshard.errors import CaseError

SHAPE = (5, 64, 64)
AFFINE = affine_from_itk((-100, -120, -300), (0.7, 0.7, 2.5), np.eye(3).ravel())

RING = [(10, 10), (10, 16), (16, 16), (16, 10)]
HOLE = [(12, 12), (12, 15), (15, 15), (15, 12)]


def read(path: Path, shape=SHAPE) -> OutlineSet:
    found = [one for one in FORMATS if one.sniff([path])]
    assert len(found) == 1
    outlines = found[0].read([path], Request(grid=(shape, AFFINE)))
    assert isinstance(outlines, OutlineSet)
    return outlines


def masks(outlines: OutlineSet, shape=SHAPE) -> dict[str, np.ndarray]:
    return {region.name: rasterise(outlines, region, shape, AFFINE).mask for region in outlines.regions}


def refused(path: Path, shape=SHAPE) -> CaseError:
    with pytest.raises(CaseError) as error:
        read(path, shape)
    return error.value


def roi(z: float, points: list[tuple[int, int]], inclusion: str = "TRUE") -> str:
    edges = "".join(f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for y, x in points)
    return f"<roi><imageZposition>{z}</imageZposition><inclusion>{inclusion}</inclusion>{edges}</roi>"


def lidc(path: Path, *nodules: str, before: str = "") -> Path:
    """Two readers who mark the same."""
    inside = "".join(
        f"<unblindedReadNodule><noduleID>Doe</noduleID>{nodule}</unblindedReadNodule>" for nodule in nodules
    )
    session = f"<readingSession>{inside}<nonNodule><nonNoduleID>1</nonNoduleID></nonNodule></readingSession>"
    text = f'<?xml version="1.0"?>{before}<LidcReadMessage xmlns="http://www.nih.gov">{session * 2}</LidcReadMessage>'
    path.write_text(text)
    return path


class TestLidc:
    def test_a_nodule_is_what_lies_inside_of_its_outline(self, tmp_path):
        found = read(lidc(tmp_path / "a.xml", roi(-295.0, RING), roi(-290.0, [(30, 31)])))
        assert [region.name for region in found.regions] == ["reader 1 nodule 1", "reader 2 nodule 1"]
        assert found.warnings == (
            "2 marks on what is no nodule are left out",
            "2 points and lines without an area are left out",
        )
        mask = masks(found)["reader 1 nodule 1"]
        assert set(zip(*np.nonzero(mask), strict=True)) == {(2, y, x) for y in range(11, 16) for x in range(11, 16)}

    def test_an_exclusion_is_cut_out(self, tmp_path):
        # The exclusion may stand first.
        found = read(lidc(tmp_path / "a.xml", roi(-300, HOLE, "FALSE") + roi(-300, RING)))
        mask = masks(found)["reader 2 nodule 1"]
        assert mask.sum() == 25 - 4
        assert not mask[0, 13:15, 13:15].any()

    @given(st.integers(0, 2**32 - 1), st.integers(3, 25))
    def test_inside_is_inside_for_matplotlib_less_the_outline(self, seed, count):
        rng = np.random.default_rng(seed)
        angles = np.sort(rng.random(count)) * 2 * np.pi
        points = np.rint(16 + np.stack([np.sin(angles), np.cos(angles)], 1) * (4 + 10 * rng.random((count, 1))))
        centres = np.argwhere(np.ones((33, 33), bool))
        # Within a millionth of a pixel of the outline is on it.
        closed = Polygon(np.vstack([points, points[:1]]), closed=True)
        ours = strictly_inside(points.astype(np.int64), (33, 33)).ravel()
        theirs = closed.contains_points(centres)
        for at in np.flatnonzero(ours != theirs):
            assert not ours[at]
            assert distance_to_edges(centres[at], points) < 1e-9

    def test_a_position_between_slices_is_refused(self, tmp_path):
        error = refused(lidc(tmp_path / "a.xml", roi(-296.0, RING)))
        assert error.code == "geometry.mismatch"
        assert "Doe" not in str(error)

    @pytest.mark.parametrize("bad", [roi(0, [(-1, 3), (3, 3), (3, 5)]), roi(-300, RING, "MAYBE"), roi(np.nan, RING)])
    def test_what_is_no_outline_is_refused(self, tmp_path, bad):
        assert refused(lidc(tmp_path / "a.xml", bad)).code == "read.unreadable"

    def test_entities_are_refused_before_they_grow(self, tmp_path):
        bomb = '<!DOCTYPE a [<!ENTITY a "xxxxxxxx"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'
        assert refused(lidc(tmp_path / "a.xml", roi(-300, RING), before=bomb)).code == "read.unsupported"

    def test_depth_and_count_of_elements_are_bounded(self, tmp_path):
        deep = "<a>" * 5000 + "</a>" * 5000
        assert refused(lidc(tmp_path / "a.xml", deep)).code == "read.unsupported"

    def test_broken_xml(self, tmp_path):
        path = lidc(tmp_path / "a.xml", roi(-300, RING))
        path.write_text(path.read_text()[:-30])
        assert refused(path).code == "read.unreadable"


def distance_to_edges(point: np.ndarray, polygon: np.ndarray) -> float:
    start, end = polygon, np.roll(polygon, -1, axis=0)
    along = end - start
    length = np.maximum((along**2).sum(axis=1), 1e-30)
    part = np.clip(((point - start) * along).sum(axis=1) / length, 0, 1)
    return float(np.linalg.norm(start + part[:, None] * along - point, axis=1).min())


def qvs(path: Path, slices: list[dict[str, list[tuple[float, float]]]], first: int = 1) -> Path:
    images = ""
    for number, contours in enumerate(slices, start=first):
        body = ""
        for name, points in contours.items():
            inside = "".join(f'<Point x="{x}" y="{y}"/>' for y, x in points)
            body += (
                f"<QVAS_Contour><Contour_Point>{inside}</Contour_Point><ContourType>{name}</ContourType></QVAS_Contour>"
            )
        images += f'<QVAS_Image xmlns="" ImageName="E9S101I{number}">{body}</QVAS_Image>'
    path.write_text(f'<?xml version="1.0"?><QVAS_Series xmlns="vil.rad.washington.edu">{images}</QVAS_Series>')
    return path


def square(low: float, high: float) -> list[tuple[float, float]]:
    """In the grid of 512 over 64 pixels."""
    return [(low * 8, low * 8), (low * 8, high * 8), (high * 8, high * 8), (high * 8, low * 8)]


class TestQvs:
    def test_the_wall_is_the_ring_around_the_lumen(self, tmp_path):
        found = read(qvs(tmp_path / "a.QVS", [{}, {"Lumen": square(20, 24), "Outer Wall": square(18, 26)}]))
        drawn = masks(found)
        assert drawn["Lumen"][1].sum() == 16
        assert drawn["Lumen"].sum() == 16
        assert drawn["Outer Wall"].sum() == 64 - 16
        assert not (drawn["Outer Wall"] & drawn["Lumen"]).any()
        assert found.warnings == ()

    def test_both_sides_come_together(self, tmp_path):
        left = qvs(tmp_path / "L.QVS", [{"Lumen": square(20, 24)}])
        right = qvs(tmp_path / "R.QVS", [{}, {"Lumen": square(40, 44)}])
        reader = next(one for one in FORMATS if one.sniff([right, left]))
        found = reader.read([right, left], Request(grid=(SHAPE, AFFINE)))
        assert isinstance(found, OutlineSet)
        assert masks(found)["Lumen"].sum(axis=(1, 2)).tolist() == [16, 16, 0, 0, 0]

    def test_doubts_are_counted(self, tmp_path):
        slices = [{"Outer Wall": square(18, 26)}, {"Lumen": square(2, 4), "Doe": square(1, 2)}, {"Lumen": [(1, 1)]}]
        found = read(qvs(tmp_path / "a.QVS", slices, first=7), (5, 64, 32))
        assert len(found.warnings) == 5
        assert not any("Doe" in warning for warning in found.warnings)

    def test_a_slice_that_the_image_does_not_have(self, tmp_path):
        path = qvs(tmp_path / "a.QVS", [{}] * 5 + [{"Lumen": square(20, 24)}])
        assert refused(path).code == "geometry.mismatch"

    def test_a_point_that_is_no_number(self, tmp_path):
        path = qvs(tmp_path / "a.QVS", [{"Lumen": [("Doe", 1), (2, 2), (3, 3)]}])
        assert "Doe" not in str(refused(path))

    def test_the_list_of_series_is_none(self, tmp_path):
        path = tmp_path / "a.QVJ"
        path.write_text("<QVAS_Project><QVAS_Loaded_Series_List/></QVAS_Project>")
        assert not any(one.sniff([path]) for one in FORMATS)


class TestJson:
    def test_labelme_counts_from_the_corner_of_a_pixel(self, tmp_path):
        shapes = [
            {"label": "a", "points": [[2, 3], [6, 3], [6, 5], [2, 5]], "shape_type": "polygon"},
            {"label": "b", "points": [[10, 10], [12, 14]], "shape_type": "rectangle"},
            {"label": "c", "points": [[10, 10], [12, 14]], "shape_type": "circle"},
        ]
        path = tmp_path / "a.json"
        path.write_text(json.dumps({"version": "5.0.1", "shapes": shapes}))
        found = read(path)
        drawn = masks(found)
        assert set(zip(*np.nonzero(drawn["a"]), strict=True)) == {(0, y, x) for y in (3, 4) for x in (2, 3, 4, 5)}
        assert drawn["b"].sum() == 8
        assert found.warnings == ("1 shapes that are no polygon are left out",)

    def test_coco_polygons_have_the_name_of_their_category(self, tmp_path):
        document = {
            "images": [{"id": 1}],
            "categories": [{"id": 7, "name": "polyp"}],
            "annotations": [
                {"category_id": 7, "segmentation": [[2, 3, 6, 3, 6, 5, 2, 5]]},
                {"category_id": 7, "segmentation": {"counts": "x", "size": [1, 1]}},
            ],
        }
        path = tmp_path / "a.json"
        path.write_text(json.dumps(document))
        found = read(path)
        assert masks(found)["polyp"].sum() == 8
        document["images"] = [{"id": 1}, {"id": 2}]
        path.write_text(json.dumps(document))
        assert refused(path).code == "read.unsupported"

    @pytest.mark.parametrize(
        "text",
        ['{"shapes": 3}', '{"shapes": [{"points": [[1]]}]}', '{"shapes": [', '{"shapes": ' + "[" * 100_000],
    )
    def test_what_is_no_such_file(self, tmp_path, text):
        path = tmp_path / "a.json"
        path.write_text(text)
        assert refused(path).code == "read.unreadable"
