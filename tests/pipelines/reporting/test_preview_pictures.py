"""Previews of scans, pictures and surfaces: what lies where, in which colour, and what a swapped side looks like."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_meshes import cube, joined
from numpy.typing import NDArray

from medshard.converters.annotation_table import AnnotationKind, AnnotationTable, rows_table
from medshard.converters.geometry import pixel_grid_affine
from medshard.converters.volume import Image, LabelLayer, MeshLabel, Volume
from medshard.pipelines.reporting.mesh_views import shown_meshes
from medshard.pipelines.reporting.planes import shown_images
from medshard.pipelines.reporting.previews.colours import CONCEPT_COLOURS, colours_of
from medshard.pipelines.reporting.previews.facts import facts_of
from medshard.pipelines.reporting.previews.panels import outline, panel_of
from medshard.pipelines.reporting.previews.shown import Plane

SIZE = (40, 60)


def picture(**changes: Any) -> Image:
    pixels = np.full((3, 1, *SIZE), 120, np.uint8)
    return replace(Image(array=pixels, affine=pixel_grid_affine(), trusted_geometry=False), **changes)


def layer(mask: NDArray[Any], **changes: Any) -> LabelLayer:
    found = LabelLayer(array=mask[None, None], affine=pixel_grid_affine(), classes={1: "lesion"}, examined=("lesion",))
    return replace(found, **changes)


def case(**contents: Any) -> Volume:
    return Volume(entry="made", case="one", patient="one", **contents)


def annotation(kind: AnnotationKind, *rows: dict[str, Any], image: str | None = "photo") -> AnnotationTable:
    return AnnotationTable(kind=kind, table=rows_table(kind, list(rows)), image=image)


def drawn(plane: Plane, size: tuple[int, int]) -> NDArray[np.uint8]:
    concepts = {*plane.marked, *(stroke.concept for stroke in plane.strokes)}
    return np.asarray(panel_of(plane, size, colours_of(concepts), scale_bar=None))


def coloured(pixels: NDArray[np.uint8], number: int = 0) -> NDArray[np.bool_]:
    return np.asarray(np.all(pixels == CONCEPT_COLOURS[number], axis=-1))


def test_a_mask_on_a_picture_is_shown_as_picture_as_outline_and_as_mask() -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[5:15, 40:55] = 1
    shown = next(shown_images(case(images={"photo": picture()}, labels={"l": layer(mask)})))
    plain, outlined, alone = (coloured(drawn(plane, (60, 40))) for plane in shown.planes)
    assert not plain.any()
    assert np.count_nonzero(outlined) == 2 * 10 + 2 * 15 - 4
    assert np.count_nonzero(alone[1:-1, 1:-1]) == 10 * 15
    assert outlined[5, 40]
    assert not outlined[6, 41]


def test_a_mirrored_mask_lies_on_the_other_side_of_its_picture() -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[5:15, 40:55] = 1
    sides = []
    for each in (mask, np.fliplr(mask)):
        shown = next(shown_images(case(images={"photo": picture()}, labels={"l": layer(each)})))
        sides.append(np.nonzero(coloured(drawn(shown.planes[1], (240, 160))))[1].mean())
    assert sides[0] == pytest.approx((40 + 55) / 2 * 4 - 0.5, abs=1)
    assert sides[1] == pytest.approx((60 - 47.5) * 4 - 0.5, abs=1)


def test_a_mask_of_another_size_says_nothing_of_a_picture() -> None:
    other = np.ones((7, 9), np.uint8)
    shown = next(shown_images(case(images={"photo": picture()}, labels={"l": layer(other)})))
    assert shown.concepts == set()


def test_instances_that_touch_are_outlined_each() -> None:
    marked = np.zeros((20, 40), np.int32)
    marked[5:15, 5:20], marked[5:15, 20:35] = 1, 2
    apart = outline(marked, (40, 20))
    together = outline(marked != 0, (40, 20))
    assert apart[10, 19] or apart[10, 20]
    assert not together[10, 19]
    assert not together[10, 20]


@settings(max_examples=60, deadline=None)
@given(
    place=st.tuples(st.integers(0, 199), st.integers(0, 299)),
    size=st.tuples(st.integers(3, 60), st.integers(3, 60)),
)
def test_one_marked_pixel_never_vanishes_and_stays_where_it_is(place: tuple[int, int], size: tuple[int, int]) -> None:
    mask = np.zeros((200, 300), bool)
    mask[place] = True
    rows, columns = np.nonzero(outline(mask, size))
    assert len(rows) > 0
    assert abs((rows.mean() + 0.5) / size[1] - (place[0] + 0.5) / 200) < 1.01 / size[1]
    assert abs((columns.mean() + 0.5) / size[0] - (place[1] + 0.5) / 300) < 1.01 / size[0]


def test_a_box_a_landmark_and_an_outline_lie_where_their_rows_say() -> None:
    box = {"z_min": -0.5, "z_max": 0.5, "y_min": 9.5, "y_max": 19.5, "x_min": 4.5, "x_max": 24.5}
    corners = [(30.0, 30.0), (30.0, 50.0), (35.0, 50.0)]
    annotations = {
        "a": annotation("boxes", {"concept": "a box", **box, "score": 0.5}),
        "b": annotation("landmarks", {"concept": "b point", "z": 0.0, "y": 5.0, "x": 50.0}),
        "c": annotation(
            "outlines",
            *({"concept": None, "word": "c word", "outline": 1, "z": 0.0, "y": y, "x": x} for y, x in corners),
        ),
        "elsewhere": annotation("boxes", {"concept": "other", **box}, image="another"),
    }
    shown = next(shown_images(case(images={"photo": picture()}, annotations=annotations)))
    assert shown.concepts == {"a box", "b point", "c word"}
    pixels = drawn(
        replace(shown.planes[1], strokes=tuple(replace(s, word="") for s in shown.planes[1].strokes)), (600, 400)
    )
    rows, columns = np.nonzero(coloured(pixels, 0))
    assert (rows.min(), rows.max()) == (pytest.approx(100, abs=1), pytest.approx(200, abs=1))
    assert (columns.min(), columns.max()) == (pytest.approx(50, abs=1), pytest.approx(250, abs=1))
    rows, columns = np.nonzero(coloured(pixels, 1))
    assert (rows.mean(), columns.mean()) == (pytest.approx(54.5, abs=1), pytest.approx(504.5, abs=1))
    rows, columns = np.nonzero(coloured(pixels, 2))
    assert (rows.min(), columns.max()) == (pytest.approx(304.5, abs=1), pytest.approx(504.5, abs=1))


def test_slices_of_a_scan_go_through_its_box_and_turn_it_as_they_turn_the_voxels() -> None:
    affine = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
    voxels = np.zeros((1, 10, 20, 30), np.int16)
    voxels[0, 7:9, 14:18, 22:28] = 100
    box = {"z_min": 6.5, "z_max": 8.5, "y_min": 13.5, "y_max": 17.5, "x_min": 21.5, "x_max": 27.5}
    volume = case(
        images={"photo": Image(array=voxels, affine=affine, modality="MR")},
        annotations={"a": annotation("boxes", {"concept": "a box", **box})},
    )
    shown = next(shown_images(volume))
    letters = [plane.left + plane.right + plane.top + plane.bottom for plane in shown.planes]
    assert letters == ["RLAP", "RLSI", "APSI"]
    for plane in shown.planes:
        rows, columns = np.nonzero(plane.pixels)
        points = plane.strokes[0].points
        assert points.min(axis=0).tolist() == [rows.min() - 0.5, columns.min() - 0.5]
        assert points.max(axis=0).tolist() == [rows.max() + 0.5, columns.max() + 0.5]


def test_classes_and_scores_are_written_beside_the_picture() -> None:
    said = {"concept": "lung mass", "word": "Mass", "state": "present"}, {"concept": "effusion", "state": "absent"}
    annotations = {
        "findings": annotation("classes", *said),
        "grade": annotation("scores", {"name": "BI-RADS", "value": 4.0}, image=None),
    }
    shown = next(shown_images(case(images={"photo": picture()}, annotations=annotations)))
    assert shown.words == ("findings: lung mass; effusion absent", "grade: BI-RADS 4")


def test_slices_show_as_many_classes_as_can_be_seen_at_once() -> None:
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[2:18, 2:18, 2:18] = 1
    labels[4, 5, 6] = 2
    affine = np.eye(4)[:, [2, 1, 0, 3]]
    both = LabelLayer(array=labels[None], affine=affine, classes={1: "liver", 2: "lesion"}, examined=())
    image = Image(array=labels[None].astype(np.int16), affine=affine)
    shown = next(shown_images(case(images={"scan": image}, labels={"l": both})))
    assert all(plane.marked["lesion"].any() for plane in shown.planes)


def test_labels_on_a_surface_have_their_colours_and_the_nearest_hides_what_is_behind() -> None:
    # The smaller cube lies in front of the larger, for whoever looks from the front, at the patient's right.
    surface = replace(joined(cube(size=20), cube(size=5, at=(14, 25, 7))), space="ras")
    values = np.repeat([1, 2], len(surface.faces) // 2)
    label = MeshLabel(array=values, per="face", classes={1: "back", 2: "front"})
    volume = case(meshes={"m": replace(surface, labels={"l": label})})
    below, front, _ = next(shown_meshes(volume)).planes
    rows, columns = np.nonzero(front.marked["front"])
    assert len(rows) == pytest.approx((400 * 5 / 30) ** 2, rel=0.05)
    assert columns.mean() < front.pixels.shape[1] / 2
    assert not front.marked["back"][front.marked["front"]].any()
    assert np.nonzero(below.marked["front"])[0].mean() < np.nonzero(below.marked["back"])[0].mean()
    assert (front.left, front.right, front.top, front.bottom) == ("R", "L", "S", "I")


def test_a_surface_in_its_scanners_own_space_has_no_letters() -> None:
    shown = next(shown_meshes(case(meshes={"m": replace(cube(), space="own")})))
    assert {plane.left + plane.top for plane in shown.planes} == {""}
    assert "own space" in shown.caption[2]


def test_facts_count_voxels_and_say_what_was_looked_for_in_vain() -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[:2, :3] = 1
    volume = case(images={"photo": picture()}, labels={"l": layer(mask, examined=("lesion", "cyst"))})
    facts = {kind: text for kind, _, text in facts_of(volume)}
    assert "lesion 6 voxels; looked for and not there: cyst" in facts["labels"]
    assert "3 x 1 x 40 x 60 (c, z, y, x), uint8, no geometry" in facts["image"]
