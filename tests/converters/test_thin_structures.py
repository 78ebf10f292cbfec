"""Vessels, airways and other structures a few voxels wide: what a coarser grid leaves of them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from medshard.converters.label_resampling import resample_labels
from medshard.converters.resampling import target_grid
from medshard.converters.thin_structures import thin_concepts
from medshard.converters.volume import LabelLayer

SIZE = 40
DIRECTIONS = np.random.default_rng(5).normal(size=(8, 3))


def vessel(radius: float, direction: NDArray, shift: NDArray) -> NDArray[np.bool_]:
    """A straight tube through the middle of a cube; of radius 0.5 or less, one voxel across."""
    unit = direction / np.linalg.norm(direction)
    middle = SIZE / 2 + shift
    if radius <= 0.5:
        steps = np.floor(middle + np.arange(-SIZE, SIZE, 0.1)[:, None] * unit + 0.5).astype(int)
        inside = steps[np.all((steps >= 0) & (steps < SIZE), axis=1)]
        marked = np.zeros((SIZE,) * 3, bool)
        marked[tuple(inside.T)] = True
        return marked
    offset = np.stack(np.meshgrid(*[np.arange(SIZE)] * 3, indexing="ij"), axis=-1) - middle
    along = offset @ unit
    return (offset**2).sum(axis=-1) - along**2 <= radius**2


def resampled(marked: NDArray, spacing: float, concept: str = "artery", **options) -> tuple[NDArray, float]:
    """The marked voxels of the new grid, and their volume over that before."""
    layer = LabelLayer(array=marked[None].astype(np.uint8), affine=np.eye(4), classes={1: concept}, examined=())
    out = resample_labels(layer, *target_grid(layer.shape, layer.affine, (spacing,) * 3), **options)
    volume = out.array.sum() * np.linalg.det(out.affine[:3, :3])
    return out.array[0], float(volume / marked.sum())


def pieces(marked: NDArray) -> int:
    return int(ndimage.label(marked, np.ones((3, 3, 3)))[1])


@pytest.mark.parametrize("spacing", [0.7, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("radius", [0.5, 1.0, 2.0])
def test_a_vessel_stays_in_one_piece_at_every_angle(radius, spacing):
    for direction in DIRECTIONS:
        marked = vessel(radius, direction, direction % 0.5)
        assert pieces(marked) == 1
        assert pieces(resampled(marked, spacing)[0]) == 1


@pytest.mark.parametrize(("radius", "spacing"), [(1.5, 1.5), (2.0, 2.0), (3.0, 3.0), (1.0, 0.7), (0.5, 0.6)])
def test_a_vessel_no_narrower_than_the_new_voxels_keeps_its_volume(radius, spacing):
    for direction in DIRECTIONS:
        assert resampled(vessel(radius, direction, direction % 0.5), spacing)[1] == pytest.approx(1.0, abs=0.02)


def test_a_vessel_of_one_voxel_halved_is_as_thin_as_a_connected_line_can_be():
    """A line through n voxels has at least n / 2 on a grid half as fine, which is four times its volume."""
    for direction in np.eye(3):
        out, _ = resampled(vessel(0.5, direction, np.zeros(3)), 2.0)
        assert SIZE / 2 - 2 <= out.sum() <= SIZE / 2  # an end may lie in the voxel beside the last
    for direction in DIRECTIONS:
        out, _ = resampled(vessel(0.5, direction, direction % 0.5), 2.0)
        length = max(np.ptp(axis) + 1 for axis in np.nonzero(out))
        assert out.sum() <= 1.2 * length


def test_thin_branches_of_a_thick_trunk_are_kept_whole():
    tree = vessel(4.0, np.array([1.0, 0.0, 0.0]), np.zeros(3))
    branch = vessel(0.5, np.array([0.4, 1.0, 0.3]), np.zeros(3))
    out, volume = resampled(tree | branch, 2.0)
    far = np.argwhere(branch & ~tree) // 2
    distance = ndimage.distance_transform_edt(out == 0)
    assert distance[tuple(far.T)].max() < 2
    assert pieces(out) == 1
    assert volume == pytest.approx(1.0, abs=0.08)


def test_by_a_vote_it_would_fall_to_pieces():
    found = [pieces(resampled(vessel(0.5, one, one % 0.5), 2.0, thin=())[0]) for one in DIRECTIONS]
    assert np.mean(found) > 3


def test_two_vessels_side_by_side_are_not_joined():
    marked = np.zeros((SIZE,) * 3, bool)
    marked[:, 10, 10] = marked[:, 10, 16] = True
    assert pieces(resampled(marked, 2.0)[0]) == 2


def test_a_speck_of_a_thin_structure_keeps_a_voxel():
    marked = np.zeros((SIZE,) * 3, bool)
    marked[20, 20, 20] = True
    assert resampled(marked, 3.0)[0].sum() == 1


def test_the_rule_is_for_thin_concepts_alone():
    assert {"artery", "airway", "portal vein"} & thin_concepts()
    assert not {"liver", "kidney"} & thin_concepts()
    marked = vessel(0.5, DIRECTIONS[0], np.zeros(3))
    assert np.array_equal(resampled(marked, 2.0, "liver")[0], resampled(marked, 2.0, thin=())[0])


def test_a_vessel_in_an_organ_takes_its_voxels_from_the_organ():
    labels = np.ones((SIZE,) * 3, np.uint8)
    labels[vessel(1.0, DIRECTIONS[1], np.zeros(3))] = 2
    layer = LabelLayer(array=labels[None], affine=np.eye(4), classes={1: "liver", 2: "artery"}, examined=())
    out = resample_labels(layer, *target_grid(layer.shape, layer.affine, (2.0,) * 3)).array[0]
    alone, _ = resampled(labels == 2, 2.0)
    assert np.array_equal(out == 2, alone == 1)
    assert np.all(out > 0)


def test_what_lies_outside_the_new_grid_does_not_count_for_the_volume():
    marked = np.zeros((SIZE,) * 3, bool)
    marked[:, 20:23, 20:23] = True
    layer = LabelLayer(array=marked[None].astype(np.uint8), affine=np.eye(4), classes={1: "artery"}, examined=())
    half = np.diag([2.0, 2.0, 2.0, 1.0])
    half[:3, 3] = 0.5
    out = resample_labels(layer, (SIZE // 4, SIZE // 2, SIZE // 2), half).array
    assert out.sum() * 8 == pytest.approx(marked.sum() / 2, rel=0.05)


def test_on_turned_axes_a_vessel_keeps_its_volume_too():
    marked = vessel(1.2, DIRECTIONS[2], np.zeros(3))
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("zyx", (15, 10, -12), degrees=True).as_matrix() * 1.6
    turned[:3, 3] = 20 - turned[:3, :3] @ np.full(3, 19.5)
    layer = LabelLayer(array=marked[None].astype(np.uint8), affine=np.eye(4), classes={1: "vein"}, examined=())
    out = resample_labels(layer, (40, 40, 40), turned).array[0]
    assert pieces(out) == 1
    assert out.sum() * 1.6**3 == pytest.approx(marked.sum(), rel=0.05)
