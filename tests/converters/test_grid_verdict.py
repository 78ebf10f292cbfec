"""The verdict on two grids, and labels on their image's grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_grid_faults import MadeGrid, clinical_grid, turned_by, with_steps

from medshard.converters.geometry import (
    ALL_ORIENTATIONS,
    canonical_volume,
    pixel_grid_affine,
    reorient,
    reorient_affine,
)
from medshard.converters.grid_verdict import PlacedLabel, compare_grids, match_label_to_image
from medshard.converters.orientation import Orientation
from medshard.converters.volume import Affine, Image, LabelLayer, Volume
from medshard.errors import CaseError

FEW = settings(max_examples=25, deadline=None)
SHAPE = (3, 4, 5)


@st.composite
def grids(draw: st.DrawFn) -> MadeGrid:
    """A small oblique, anisotropic grid, sheared as by a tilted gantry."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    affine = clinical_grid(random).affine
    affine[:3, 0] += affine[:3, 1] * draw(st.floats(-0.2, 0.2))
    return MadeGrid(shape=SHAPE, affine=affine)


def numbered(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.int32).reshape(shape)


def signed_axes() -> Affine:
    """z to Superior, y to Posterior, x to Left: what most CT files have."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = 5.0, -0.7, -0.7, 1.0
    affine[:3, 3] = (120.0, 130.0, -500.0)
    return affine


def moved_signed_axes() -> Affine:
    affine = signed_axes()
    affine[:3, 3] += 3.0
    return affine


class TestVerdict:
    @FEW
    @given(grids())
    def test_a_grid_is_the_same_as_itself(self, grid: MadeGrid) -> None:
        assert compare_grids(SHAPE, grid.affine, SHAPE, grid.affine.copy()).kind == "same"

    @FEW
    @given(grids(), st.floats(0, 0.9e-4), st.integers(0, 2))
    def test_a_ten_thousandth_of_a_voxel_raises_no_alarm(self, grid: MadeGrid, part: float, axis: int) -> None:
        other = grid.affine.copy()
        other[:3, 3] += other[:3, axis] * part
        assert compare_grids(SHAPE, grid.affine, SHAPE, other).kind == "same"

    @FEW
    @given(grids(), st.floats(2e-4, 1.9e-2))
    def test_a_hundredth_of_a_voxel_is_rounding(self, grid: MadeGrid, part: float) -> None:
        other = grid.affine.copy()
        other[:3, 3] += other[:3, 1] * part
        assert compare_grids(SHAPE, grid.affine, SHAPE, other).kind == "rounding"

    @FEW
    @given(grids(), st.floats(0.05, 400), st.integers(0, 2))
    def test_an_origin_further_away_is_a_shift(self, grid: MadeGrid, voxels: float, axis: int) -> None:
        other = grid.affine.copy()
        other[:3, 3] += other[:3, axis] * voxels
        verdict = compare_grids(SHAPE, grid.affine, SHAPE, other)
        assert verdict.kind == "shift"
        assert f"{voxels:+.2f}" in verdict.evidence

    @FEW
    @given(grids(), st.sampled_from(ALL_ORIENTATIONS[1:]))
    def test_reordered_axes_over_the_right_header_are_a_flip(self, grid: MadeGrid, orientation: Orientation) -> None:
        other_array, other = reorient(numbered(SHAPE), grid.affine, orientation)
        verdict = compare_grids(SHAPE, grid.affine, other_array.shape, other)
        assert verdict.kind == "flip"
        back, _ = reorient(other_array, other, verdict.orientation)
        np.testing.assert_array_equal(back, numbered(SHAPE))

    @FEW
    @given(grids(), st.sampled_from(ALL_ORIENTATIONS[1:]), st.floats(2e-4, 1.9e-2))
    def test_a_flip_may_be_rounded_as_well(self, grid: MadeGrid, orientation: Orientation, part: float) -> None:
        other_array, other = reorient(numbered(SHAPE), grid.affine, orientation)
        other = other.copy()
        other[:3, 3] += grid.affine[:3, 2] * part
        assert compare_grids(SHAPE, grid.affine, other_array.shape, other).kind == "flip"

    @FEW
    @given(grids(), st.sampled_from([1.5, 0.5, -1.0]), st.integers(0, 2))
    def test_a_header_that_nothing_proves_over_the_right_shape_is_header_only(
        self, grid: MadeGrid, factor: float, axis: int
    ) -> None:
        other = grid.affine.copy()
        other[:3, axis] *= factor
        verdict = compare_grids(SHAPE, grid.affine, SHAPE, other)
        assert (verdict.kind, verdict.provable) == ("header_only", False)

    @FEW
    @given(grids(), st.integers(0, 2))
    def test_another_shape_is_a_mismatch(self, grid: MadeGrid, axis: int) -> None:
        shape = [*SHAPE]
        shape[axis] += 3
        assert compare_grids(SHAPE, grid.affine, shape, grid.affine).kind == "mismatch"

    def test_a_header_that_spans_no_space_is_never_the_same(self) -> None:
        broken = signed_axes()
        broken[:3, 0] = np.nan
        assert compare_grids(SHAPE, signed_axes(), SHAPE, broken).kind == "header_only"
        assert compare_grids(SHAPE, broken, (3, 4, 6), broken).kind == "mismatch"


class TestRounding:
    def test_a_spacing_rounded_to_four_decimals_is_rounding_at_512_columns(self) -> None:
        affine, rounded = np.diag([5.0, 0.703125, 0.703125, 1.0]), np.diag([5.0, 0.7031, 0.7031, 1.0])
        assert compare_grids((60, 512, 512), affine, (60, 512, 512), rounded).kind == "rounding"

    @pytest.mark.parametrize("seed", range(10))
    def test_cosines_of_six_decimals_in_a_thousand_slices_are_rounding(self, seed: int) -> None:
        grid = turned_by(clinical_grid(np.random.default_rng(seed)), 7.0, np.array([1.0, 2.0, 3.0]))
        steps = np.linalg.norm(grid.affine[:3, :3], axis=0)
        rounded = grid.affine.copy()
        rounded[:3, :3] = np.round(grid.affine[:3, :3] / steps, 6) * steps
        assert compare_grids((1000, 512, 512), grid.affine, (1000, 512, 512), rounded).kind in {"same", "rounding"}

    def test_what_a_float32_quaternion_loses_near_half_a_turn_is_rounding(self) -> None:
        affine = np.diag([3.0, 0.7, 0.7, 1.0])
        other = turned_by(MadeGrid(shape=SHAPE, affine=affine), np.degrees(3.4e-4), np.array([0.0, 0, 1])).affine
        assert compare_grids((200, 512, 512), affine, (200, 512, 512), other).kind == "rounding"

    def test_a_tenth_of_a_degree_is_not(self) -> None:
        affine = np.diag([3.0, 0.7, 0.7, 1.0])
        other = turned_by(MadeGrid(shape=SHAPE, affine=affine), 0.1, np.array([0.0, 0, 1])).affine
        assert compare_grids((200, 512, 512), affine, (200, 512, 512), other).kind == "header_only"

    def test_the_same_drift_of_an_origin_is_not(self) -> None:
        affine = np.diag([3.0, 0.7, 0.7, 1.0])
        other = affine.copy()
        other[0, 3] += 0.1
        assert compare_grids((200, 512, 512), affine, (200, 512, 512), other).kind == "shift"


class TestEvidence:
    """What is said of headers that do not fit; never a value that could name a person, only geometry."""

    grid = MadeGrid(shape=(40, 64, 48), affine=signed_axes())

    def said(self, affine: Affine, shape: tuple[int, ...] = (40, 64, 48)) -> str:
        return compare_grids(self.grid.shape, self.grid.affine, shape, affine).evidence

    @pytest.mark.parametrize(
        ("affine", "words"),
        [
            (np.diag([-1.0, -1, 1, 1]) @ signed_axes(), "LPS is taken for RAS"),
            (np.diag([0.1, 0.1, 0.1, 1.0]) @ signed_axes(), "1/10 of the image's"),
            (np.eye(4)[[2, 1, 0, 3]], "the header was lost"),
            (with_steps(grid, np.array([0.5, 1, 1])).affine, "spacing z 2.5 instead of 5 mm"),
            (with_steps(grid, np.array([-1, 1, 1])).affine, "z of the array runs the other way"),
            (turned_by(grid, 3.0, np.array([1.0, 0, 0])).affine, "rotated by 3.00 degrees"),
            (with_steps(grid, np.array([0.14, 1, 5 / 0.7])).affine, "spacings stand in another order"),
        ],
    )
    def test_it_names_what_probably_happened(self, affine: Affine, words: str) -> None:
        assert words in self.said(affine)

    def test_a_crop_says_which_part_of_the_image_it_is(self) -> None:
        affine = signed_axes()
        affine[:3, 3] += affine[:3, :3] @ (10, 5, 7)
        assert "x 7 to 26, y 5 to 34, z 10 to 29 of the image" in self.said(affine, (20, 30, 20))

    def test_a_resampled_mask_fills_the_same_box(self) -> None:
        affine = with_steps(self.grid, np.array([2.0, 2, 2])).affine
        affine[:3, 3] += signed_axes()[:3, :3] @ (0.5, 0.5, 0.5)
        assert "resampled" in self.said(affine, (20, 32, 24))


class TestLabelOnImage:
    def label(self, array: np.ndarray, affine: Affine) -> LabelLayer:
        return LabelLayer(array=array, affine=affine, classes={1: "liver"}, examined=("liver",))

    def image(self, **changes: Any) -> Image:
        return Image(array=numbered((1, *SHAPE)), affine=signed_axes(), **changes)

    def match(self, array: np.ndarray, affine: Affine, **options: Any) -> PlacedLabel:
        return match_label_to_image(self.image(), self.label(array, affine), where="kits/case_7", **options)

    def test_the_same_grid_needs_no_repair(self) -> None:
        layer = self.label(numbered((1, *SHAPE)), signed_axes())
        placed = match_label_to_image(self.image(), layer, where="e/c")
        assert placed.layer.array is layer.array
        assert placed.repair is None

    @pytest.mark.parametrize("turned", [1e-5, -1e-5])
    def test_near_45_degrees_image_and_label_become_canonical_in_the_same_axes(self, turned: float) -> None:
        def about_z(angle: float) -> Affine:
            affine = np.eye(4)
            affine[0, 2] = affine[1, 1] = np.cos(angle)
            affine[0, 1], affine[1, 2] = -np.sin(angle), np.sin(angle)
            affine[:3, 0] = 0, 0, 1
            return affine

        image = Image(array=numbered((1, *SHAPE)), affine=about_z(np.pi / 4))
        placed = match_label_to_image(image, self.label(image.array.copy(), about_z(np.pi / 4 + turned)), where="e/c")
        assert placed.verdict is not None
        assert placed.verdict.kind == "same"
        np.testing.assert_array_equal(placed.layer.affine, image.affine)
        case = Volume(entry="e", case="c", patient="p", images={"ct": image}, labels={"organs": placed.layer})
        found = canonical_volume(case)
        np.testing.assert_array_equal(found.labels["organs"].array, found.images["ct"].array)

    def test_rounding_takes_the_affine_of_the_image_and_says_so(self) -> None:
        affine = signed_axes()
        affine[0, 3] += 0.005
        placed = self.match(numbered((1, *SHAPE)), affine)
        np.testing.assert_array_equal(placed.layer.affine, signed_axes())
        assert placed.repair is not None
        assert "voxel" in placed.repair

    def test_a_flipped_label_is_turned_back_and_it_is_said(self) -> None:
        turned, affine = reorient(
            numbered((1, *SHAPE)), signed_axes(), Orientation(axes=(1, 0, 2), flipped=(True, False, True))
        )
        placed = self.match(turned, affine)
        np.testing.assert_array_equal(placed.layer.array, numbered((1, *SHAPE)))
        np.testing.assert_array_equal(placed.layer.affine, signed_axes())
        assert placed.repair is not None
        assert "flipped" in placed.repair

    def test_another_shape_excludes_the_case_and_shows_both_grids(self) -> None:
        with pytest.raises(CaseError) as error:
            self.match(numbered((1, 2, 4, 5)), signed_axes())
        assert error.value.code == "geometry.mismatch"
        assert error.value.where == "kits/case_7"
        assert error.value.details["image"].startswith("5x4x3, spacing 0.7x0.7x5 mm, axes LPS")
        assert error.value.details["mask"].startswith("5x4x2")

    def test_a_shift_excludes_the_case(self) -> None:
        affine = signed_axes()
        affine[2, 3] += 2.5
        with pytest.raises(CaseError, match=r"geometry\.shift") as error:
            self.match(numbered((1, *SHAPE)), affine)
        assert "+0.50 voxels" in error.value.details["evidence"]

    @pytest.mark.parametrize("wrong", [np.diag([2.0, 1.0, 1.0, 1.0]), np.eye(4), moved_signed_axes()])
    def test_a_wrong_header_is_repaired_only_where_the_entry_declares_it(self, wrong: Affine) -> None:
        with pytest.raises(CaseError, match=r"geometry\."):
            self.match(numbered((1, *SHAPE)), wrong)
        placed = self.match(numbered((1, *SHAPE)), wrong, repair_header=True)
        np.testing.assert_array_equal(placed.layer.affine, signed_axes())
        assert placed.repair is not None
        assert "known defect" in placed.repair

    def test_where_the_header_is_declared_wrong_a_flip_in_it_turns_no_voxel(self) -> None:
        affine = reorient_affine(signed_axes(), SHAPE, Orientation(flipped=(True, False, False)))
        placed = self.match(numbered((1, *SHAPE)), affine, repair_header=True)
        np.testing.assert_array_equal(placed.layer.array, numbered((1, *SHAPE)))

    def test_a_crop_is_filled_up_only_where_the_entry_declares_it(self) -> None:
        affine = signed_axes()
        affine[:3, 3] += affine[:3, :3] @ (1, 2, 1)
        crop = numbered((1, *SHAPE))[:, 1:, 2:, 1:4]
        with pytest.raises(CaseError, match=r"geometry\.mismatch"):
            self.match(crop, affine)
        placed = self.match(crop, affine, repair_header=True)
        expected = np.zeros((1, *SHAPE), np.int32)
        expected[:, 1:, 2:, 1:4] = crop
        np.testing.assert_array_equal(placed.layer.array, expected)

    def test_a_step_along_an_axis_with_one_voxel_moves_no_voxel(self) -> None:
        affine = signed_axes()
        affine[:3, 0] *= 0.2
        image = Image(array=numbered((1, 1, 4, 5)), affine=signed_axes())
        placed = match_label_to_image(image, self.label(numbered((1, 1, 4, 5)), affine), where="e/c")
        np.testing.assert_array_equal(placed.layer.affine, signed_axes())
        assert placed.verdict is not None
        assert placed.verdict.kind == "header_only"

    def test_without_geometry_on_one_side_an_equal_shape_is_all_that_is_asked(self) -> None:
        placed = self.match(numbered((1, *SHAPE)), pixel_grid_affine(), trusted_geometry=False)
        np.testing.assert_array_equal(placed.layer.affine, signed_axes())
        assert placed.repair is None
        with pytest.raises(CaseError, match=r"geometry\.mismatch"):
            self.match(numbered((1, 2, 4, 5)), pixel_grid_affine(), trusted_geometry=False)
