"""Outlines drawn: matplotlib for points inside, the shoelace formula for areas, and what no drawing may break."""

from __future__ import annotations

import time
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Polygon

from medshard.converters.annotations.rasterise import DrawnRegion, fill_polygons, rasterise
from medshard.converters.annotations.segments import Outline, OutlinedRegion, OutlineSet
from medshard.converters.geometry import affine_from_itk
from medshard.errors import CaseError

SHAPE = (6, 40, 50)
TILTED = affine_from_itk((-30, 12, 100), (0.7, 0.9, 3.0), np.eye(3).ravel())
TILTED[1, 0] = 0.8  # A gantry tilt: slices slide along y.
FLIPPED = TILTED @ np.diag([-1.0, 1.0, -1.0, 1.0])
TURNED = TILTED[:, [2, 0, 1, 3]]


def outlined(*polygons, space="index") -> OutlineSet:
    outlines = tuple(Outline(points=np.asarray(points, float)) for points in polygons)
    return OutlineSet(regions=(OutlinedRegion(number=1, name="Jane Doe", outlines=outlines),), space=space)


def in_slice(z: float, points) -> np.ndarray:
    return np.insert(np.asarray(points, float), 0, z, axis=1)


def drawn(outlines: OutlineSet, shape=SHAPE, affine=None) -> DrawnRegion:
    return rasterise(outlines, outlines.regions[0], shape, np.eye(4) if affine is None else affine)


def star(rng: np.random.Generator, count: int, centre=(20, 25), reach=14.0) -> np.ndarray:
    """A polygon that does not cross itself."""
    angles = np.sort(rng.random(count)) * 2 * np.pi
    radius = reach * (0.3 + 0.7 * rng.random(count))
    return np.stack([centre[0] + radius * np.sin(angles), centre[1] + radius * np.cos(angles)], axis=1)


def area(points: np.ndarray) -> float:
    row, column = points.T
    return abs(float(row @ np.roll(column, 1) - column @ np.roll(row, 1))) / 2


def perimeter(points: np.ndarray) -> float:
    return float(np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1).sum())


def filled(*polygons, shape=(40, 50)) -> np.ndarray:
    plane = np.zeros(shape, bool)
    fill_polygons(plane, [np.asarray(points, float) for points in polygons])
    return plane


class TestPolygons:
    @given(st.integers(0, 2**32 - 1), st.integers(3, 60))
    def test_centres_inside_are_those_of_matplotlib(self, seed, count):
        points = star(np.random.default_rng(seed), count)
        centres = np.argwhere(np.ones((40, 50), bool))
        inside = Polygon(np.vstack([points, points[:1]]), closed=True).contains_points(centres).reshape(40, 50)
        np.testing.assert_array_equal(filled(points), inside)

    @given(st.integers(0, 2**32 - 1), st.integers(3, 60))
    def test_the_area_is_right_to_within_the_edge(self, seed, count):
        points = star(np.random.default_rng(seed), count)
        assert abs(filled(points).sum() - area(points)) <= perimeter(points) + 1

    @given(st.lists(st.tuples(st.integers(0, 39), st.integers(0, 49)), min_size=3, max_size=12), st.integers(0, 11))
    def test_neither_direction_nor_start_matters(self, points, start):
        expected = filled(points)
        np.testing.assert_array_equal(filled(points[::-1]), expected)
        np.testing.assert_array_equal(filled(np.roll(points, start, axis=0)), expected)

    @given(st.integers(0, 2**32 - 1), st.integers(-9, 9), st.integers(-9, 9))
    def test_a_shift_by_pixels_shifts_the_drawing(self, seed, down, right):
        # Sixteenths: a sum with a whole number is exact.
        points = np.round(star(np.random.default_rng(seed), 12, reach=9) * 16) / 16
        moved = filled(np.add(points, (down, right)))
        np.testing.assert_array_equal(moved, np.roll(filled(points), (down, right), axis=(0, 1)))

    @given(st.integers(0, 2**32 - 1), st.booleans())
    def test_polygons_that_share_edges_neither_overlap_nor_leave_gaps(self, seed, on_centres):
        rng = np.random.default_rng(seed)
        corners = np.array([[0.0, 0.0], [0, 49], [39, 49], [39, 0]])
        middle = rng.random(2) * (39, 49)
        if on_centres:
            middle = np.rint(middle)
        times = sum(filled([corners[k], corners[(k + 1) % 4], middle]).astype(int) for k in range(4))
        np.testing.assert_array_equal(times, filled(corners).astype(int))

    def test_the_rule_for_centres_on_the_edge(self):
        plane = filled([(2, 3), (2, 6), (5, 6), (5, 3)])
        assert set(map(tuple, np.argwhere(plane))) == {(r, c) for r in (2, 3, 4) for c in (3, 4, 5)}

    def test_a_hole_and_an_island_in_it(self):
        squares = [[(a, a), (a, 39 - a), (39 - a, 39 - a), (39 - a, a)] for a in (2.5, 8.5, 14.5)]
        plane = filled(*squares)
        assert plane.sum() == 34**2 - 22**2 + 10**2
        assert [plane[20, column] for column in (5, 12, 20)] == [True, False, True]

    def test_a_keyhole_is_a_hole(self):
        outer, inner = (
            [(2.5, 2.5), (2.5, 30.5), (30.5, 30.5), (30.5, 2.5)],
            [(8.5, 8.5), (20.5, 8.5), (20.5, 20.5), (8.5, 20.5)],
        )
        keyhole = [*outer, outer[0], inner[0], *inner[1:], inner[0]]
        np.testing.assert_array_equal(filled(keyhole), filled(outer, inner))

    def test_a_polygon_larger_than_the_image_fills_it(self):
        assert filled([(-1e7, -1e7), (-1e7, 1e7), (1e7, 1e7), (1e7, -1e7)]).all()

    @pytest.mark.parametrize("points", [[(3, 3)], [(3, 3), (8, 8)], [(3.2, 3.2), (3.2, 3.8), (3.8, 3.8)], [(3, 3)] * 5])
    def test_what_encloses_no_centre_draws_nothing(self, points):
        assert not filled(points).any()


class TestSlices:
    @pytest.mark.parametrize("affine", [TILTED, FLIPPED, TURNED], ids=["tilted", "flipped", "turned"])
    def test_patient_space_is_drawn_as_index_space_is(self, affine):
        rng = np.random.default_rng(3)
        axis = 1 if affine is TURNED else 0
        shape = SHAPE if axis == 0 else (50, 6, 40)
        polygons = [np.round(np.insert(star(rng, 20), axis, k, axis=1), 3) for k in range(6)]
        mm = [points @ affine[:3, :3].T + affine[:3, 3] for points in polygons]
        if axis == 1:
            polygons = [points[:, [2, 1, 0]] for points in polygons]
            mm = [points @ affine[:3, :3].T + affine[:3, 3] for points in polygons]
        expected = drawn(outlined(*polygons), shape)
        found = drawn(outlined(*mm, space="ras-mm"), shape, affine)
        assert expected.mask.any()
        np.testing.assert_array_equal(found.mask, expected.mask)
        assert found.report.warnings == ()

    def test_every_outline_that_does_not_fit_is_counted(self):
        square = [(3, 3), (3, 9), (9, 9), (9, 3)]
        oblique = [(1, 3, 3), (1, 3, 9), (3, 9, 9), (3, 9, 3)]
        found = drawn(
            outlined(
                in_slice(0, square),
                in_slice(0.3, square),
                in_slice(2, square),
                in_slice(2, square),
                in_slice(9, square),
                in_slice(4.25, [(3, 3), (3, 90), (9, 90), (9, 3)]),
                oblique,
                in_slice(4.25, [(20.1, 20.1), (20.1, 20.9), (20.9, 20.9)]),
            )
        ).report
        counts = (found.outlines, found.drawn, found.slices, found.oblique, found.outside, found.crowded)
        assert counts == (8, 4, 3, 1, 1, 1)
        assert (found.repeated, found.between, found.beyond, found.without_centre) == (1, 3, 1, 1)
        assert (found.skipped_slices, found.stride) == (2, 2)
        assert any("only every 2nd slice has" in warning for warning in found.warnings)
        assert not any("Doe" in warning for warning in found.warnings)

    def test_a_doubled_outline_does_not_undo_itself(self):
        square = in_slice(1, [(3, 3), (3, 9), (9, 9), (9, 3)])
        assert drawn(outlined(square, square)).mask.sum() == 36

    def test_outlines_elsewhere_are_refused_with_their_count(self):
        with pytest.raises(CaseError) as error:
            drawn(outlined(in_slice(80, [(3, 3), (3, 9), (9, 9)])))
        assert error.value.code == "geometry.mismatch"
        assert error.value.details["outside of the image"] == "1"
        assert "Doe" not in str(error.value)

    def test_a_region_without_outlines_is_empty(self):
        assert not drawn(outlined()).mask.any()

    @settings(max_examples=60)
    @given(st.lists(st.lists(st.tuples(*[st.floats(allow_nan=True)] * 3), min_size=1, max_size=8), max_size=5))
    def test_any_numbers_end_in_a_mask_or_an_error(self, polygons):
        with np.errstate(all="ignore"), suppress(CaseError):
            assert drawn(outlined(*polygons), (3, 5, 4)).mask.shape == (3, 5, 4)

    def test_160_slices_of_500_points_take_less_than_a_second(self):
        turn = np.linspace(0, 2 * np.pi, 500, endpoint=False)
        circle = np.stack([256 + 200 * np.sin(turn), 256 + 150 * np.cos(turn)], axis=1)
        outlines = outlined(*[in_slice(z, circle) for z in range(160)])
        started = time.perf_counter()
        found = drawn(outlines, (160, 512, 512))
        assert time.perf_counter() - started < 1
        assert found.mask.sum() == pytest.approx(160 * np.pi * 200 * 150, rel=1e-3)
