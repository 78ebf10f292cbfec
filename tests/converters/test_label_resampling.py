"""Labels on another grid: classes vote, instances go by the nearest voxel, probabilities become classes."""

from __future__ import annotations

from pathlib import Path

import nibabel
import nilearn
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from medshard.converters import label_votes
from medshard.converters.label_ratios import LabelRatio, instance_warnings, label_ratios
from medshard.converters.label_resampling import class_boxes, resample_labels, voxel_counts
from medshard.converters.nnunet_labels import resize_like_nnunet
from medshard.converters.resampling import target_grid
from medshard.converters.volume import LabelLayer, Rescale
from medshard.errors import CaseError


def layer_of(array, *, kind="semantic", classes=None, affine=None, **fields):
    array = array[None] if array.ndim == 3 else array
    classes = {1: "liver", 2: "spleen", 3: "kidney"} if classes is None else classes
    affine = np.eye(4) if affine is None else affine
    return LabelLayer(array=array, affine=affine, kind=kind, classes=classes, examined=(), **fields)


def blobs(seed: int, shape=(9, 14, 17), classes=3) -> np.ndarray:
    """Smooth regions of a few classes with background between them."""
    fields = np.random.default_rng(seed).normal(size=(classes + 1, *shape))
    smooth = ndimage.gaussian_filter(fields, (0, 2, 2, 2))
    return smooth.argmax(axis=0).astype(np.int16)


def sphere(radius_mm: float, spacing_mm: float, centre_mm=(12.3, 11.6, 12.1)) -> np.ndarray:
    at = (np.arange(int(24 / spacing_mm)) + 0.5) * spacing_mm
    z, y, x = np.meshgrid(at, at, at, indexing="ij")
    return sum((axis - c) ** 2 for axis, c in zip((z, y, x), centre_mm, strict=True)) <= radius_mm**2


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.tuples(st.integers(5, 21), st.integers(6, 30), st.integers(6, 35)))
def test_the_vote_equals_the_largest_of_linearly_read_classes(seed, shape_out):
    """Classes that are not small, that is: those keep their volume instead."""
    labels = blobs(seed)
    layer = layer_of(labels)
    shape, affine = target_grid(labels.shape, layer.affine, tuple(np.divide(labels.shape, shape_out)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_votes, "SMALL_VOXELS", 0)
        out = resample_labels(layer, shape, affine).array[0]
    factors = [m / n for n, m in zip(labels.shape, shape, strict=True)]
    shares = np.stack(
        [
            ndimage.zoom((labels == value).astype(float), factors, order=1, mode="nearest", grid_mode=True)
            for value in range(4)
        ]
    )
    best, second = np.sort(shares, axis=0)[[-1, -2]]
    clear = best - second > 1e-3
    assert clear.mean() > 0.6
    assert np.array_equal(out[clear], shares.argmax(axis=0)[clear])


def test_a_voxel_halfway_between_structure_and_background_belongs_to_the_structure():
    line = np.array([0, 0, 2, 2], np.uint8).reshape(1, 1, 4)
    to_three = np.diag([1, 1, 4 / 3, 1.0])
    to_three[2, 3] = 1 / 6
    assert resample_labels(layer_of(line), (1, 1, 3), to_three).array.ravel().tolist() == [0, 2, 2]


@pytest.mark.parametrize("spacing_out", [0.7, 1.0, 1.5, 2.0, 2.6])
@pytest.mark.parametrize("radius", [3.0, 4.0, 5.0])
def test_small_spheres_keep_their_volume_on_average(radius, spacing_out):
    ratios = []
    for shift in np.random.default_rng(0).uniform(-2, 2, (16, 3)):
        marked = sphere(radius, 1.0, 12 + shift).astype(np.uint8)
        layer = layer_of(marked, classes={1: "nodule"})
        out = resample_labels(layer, *target_grid(marked.shape, layer.affine, (spacing_out,) * 3))
        ratios.append(out.array.sum() * np.linalg.det(out.affine[:3, :3]) / marked.sum())
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.03)


def test_two_small_classes_side_by_side_keep_their_volumes_and_no_gap():
    labels = np.zeros((24, 24, 24), np.uint8)
    labels[sphere(6.0, 1.0, (12, 12, 12))] = 1
    labels[:, :, 12:][labels[:, :, 12:] == 1] = 2
    out = resample_labels(layer_of(labels), *target_grid(labels.shape, np.eye(4), (1.7,) * 3))
    mm3 = np.linalg.det(out.affine[:3, :3])
    for value in (1, 2):
        assert (out.array == value).sum() * mm3 == pytest.approx((labels == value).sum(), rel=0.02)
    assert np.array_equal(out.array[0] > 0, ndimage.binary_fill_holes(out.array[0] > 0))


def test_on_its_own_grid_a_layer_changes_its_type_only():
    labels = blobs(1).astype(np.int32)
    out = resample_labels(layer_of(labels), labels.shape, np.eye(4))
    assert out.array.dtype == np.uint8
    assert np.array_equal(out.array[0], labels)


def test_a_large_label_value_survives():
    labels = np.zeros((3, 4, 5), np.int32)
    labels[1:, 1:3, 1:4] = 70_000
    out = resample_labels(layer_of(labels, classes={70_000: "area"}), (6, 8, 10), _finer(2))
    assert out.array.dtype == np.uint32
    assert set(np.unique(out.array)) == {0, 70_000}


def test_instances_go_by_the_nearest_voxel_and_keep_their_numbers():
    labels = np.random.default_rng(0).integers(0, 900, (5, 6, 7))
    out = resample_labels(layer_of(labels, kind="instance", classes={1: "nucleus"}), (15, 18, 21), _finer(3))
    assert out.kind == "instance"
    assert np.array_equal(out.array[0], labels.repeat(3, 0).repeat(3, 1).repeat(3, 2))


def cells(radius: float, spacing: float) -> np.ndarray:
    """Balls that touch each other, one number for each, in a bed of 40 voxels a side."""
    centres = np.random.default_rng(3).uniform(0, 40, (60, 3))
    at = np.stack(np.meshgrid(*[np.arange(40)] * 3, indexing="ij"), axis=-1)
    distance = np.linalg.norm((at[..., None, :] - centres) * [spacing, 1, 1], axis=-1)
    return np.where(distance.min(axis=-1) <= radius, distance.argmin(axis=-1) + 1, 0)


@pytest.mark.parametrize(("radius", "spacing_out"), [(1.0, 1.5), (1.0, 2.0), (2.0, 2.0), (6.0, 2.0), (6.0, 3.0)])
def test_no_instance_vanishes_and_none_gets_voxels_of_another(radius, spacing_out):
    labels = cells(radius, 1.0)
    layer = layer_of(labels, kind="instance", classes={1: "nucleus"})
    out = resample_labels(layer, *target_grid(labels.shape, layer.affine, (spacing_out,) * 3))
    assert set(np.unique(out.array)) - {0} == set(np.unique(labels)) - {0}
    scale = np.diag(out.affine)[:3]
    for value in np.unique(labels)[1:]:
        places = np.argwhere(out.array[0] == value) * scale + out.affine[:3, 3]
        own = np.argwhere(labels == value)
        assert np.linalg.norm(places[:, None] - own, axis=-1).min(axis=1).max() <= np.linalg.norm(scale)


def test_instances_too_small_for_the_grid_are_told():
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[1, 1, 1], labels[4:8, 4:8, 4:8] = 1, 2
    layer = layer_of(labels, kind="instance", classes={1: "nucleus"})
    out = resample_labels(layer, *target_grid(labels.shape, layer.affine, (3.0, 3.0, 3.0)))
    assert out.array[0, 0, 0, 0] == 1
    assert instance_warnings("cells", layer, out) == [
        "layer cells: 1 of 2 instances are under half a voxel and stay as one"
    ]


def test_ratios_tell_volume_and_components_of_each_concept():
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[:, :6, :6] = 1
    labels[2, 9, 9] = labels[8:, 8:, 8:] = 2
    layer = layer_of(labels, classes={1: "liver", 2: "tumour", 3: "spleen"})
    out = resample_labels(layer, *target_grid(labels.shape, layer.affine, (2.0, 2.0, 2.0)))
    assert label_ratios(layer, out) == {
        "liver": LabelRatio(1.0, 1.0),
        "tumour": LabelRatio(pytest.approx(64 / 65), 0.5),
    }


def test_ratios_of_instances_count_instances():
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[2:6, 2:6, 2:6], labels[2:6, 2:6, 6:10] = 1, 2
    layer = layer_of(labels, kind="instance", classes={1: "nucleus"})
    assert label_ratios(layer, layer) == {"nucleus": LabelRatio(1.0, 1.0)}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.tuples(st.integers(5, 21), st.integers(6, 30), st.integers(6, 35)))
def test_like_nnu_net_the_largest_indicator_wins(seed, shape_out):
    """The rule written out with scipy: linear indicators, argmax, ties to the nearest voxel or the smallest value."""
    labels = blobs(seed) - 1
    factors = [m / n for n, m in zip(labels.shape, shape_out, strict=True)]
    values = np.unique(labels)
    scores = np.stack(
        [ndimage.zoom((labels == v).astype(float), factors, order=1, mode="nearest", grid_mode=True) for v in values]
    )
    near = ndimage.zoom(labels.astype(float), factors, order=0, mode="nearest", grid_mode=True)
    near_score = np.take_along_axis(scores, np.searchsorted(values, near)[None], 0)[0]
    expected = np.where(near_score == scores.max(axis=0), near, values[scores.argmax(axis=0)])
    out = resize_like_nnunet(labels, shape_out)
    assert out.dtype == labels.dtype
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_like_nnu_net_slice_by_slice(axis):
    labels = blobs(4)
    shape_out = (13, 20, 11)
    out = resize_like_nnunet(labels, shape_out, slices=axis)
    flat = [n for number, n in enumerate(shape_out) if number != axis]
    for number in range(shape_out[axis]):
        source = int((number + 0.5) * labels.shape[axis] / shape_out[axis])
        plane = np.take(labels, [source], axis)
        shape = tuple(np.insert(flat, axis, 1))
        assert np.array_equal(np.take(out, [number], axis), resize_like_nnunet(plane, shape))


def test_like_nnu_net_is_only_for_grids_with_the_same_edges():
    with pytest.raises(CaseError) as caught:
        resample_labels(layer_of(np.ones((4, 4, 4), np.uint8)), (8, 8, 8), np.eye(4), like_nnunet=True)
    assert caught.value.code == "label.other_edges"


def test_probability_maps_become_the_class_of_largest_probability_or_background():
    folder = Path(nilearn.__file__).parent / "datasets" / "data"
    names = [f"mni_icbm152_{tissue}_tal_nlin_sym_09a_converted.nii.gz" for tissue in ("gm", "wm")]
    maps = np.stack([np.asarray(nibabel.load(folder / name).dataobj[60:90, 80:120, 70:90]).T for name in names])
    layer = layer_of(
        maps, kind="soft", classes={0: "grey matter", 1: "white matter"}, rescale=Rescale(slope=(1 / 255,))
    )
    out = resample_labels(layer, layer.shape, layer.affine)
    grey, white = maps / 255
    expected = np.stack([1 - grey - white, grey, white]).argmax(axis=0)
    margin = np.diff(np.sort(np.stack([1 - grey - white, grey, white]), axis=0)[1:], axis=0)[0]
    assert out.kind == "semantic"
    assert out.classes == {1: "grey matter", 2: "white matter"}
    assert len(np.unique(expected)) == 3
    assert np.array_equal(out.array[0][margin > 1e-4], expected[margin > 1e-4])


def test_outside_its_field_of_view_a_layer_is_background():
    labels = np.full((4, 4, 4), 2, np.uint8)
    shifted = np.eye(4)
    shifted[:3, 3] = (0, 0, 2)
    for kind in ("semantic", "instance"):
        out = resample_labels(layer_of(labels, kind=kind), (4, 4, 4), shifted).array[0]
        assert np.all(out[:, :, :2] == 2)
        assert np.all(out[:, :, 2:] == 0)


@pytest.mark.parametrize("kind", ["semantic", "instance"])
def test_on_a_turned_grid_a_sphere_stays_a_sphere_of_its_size(kind):
    marked = sphere(7.0, 1.0, (12, 12, 12)).astype(np.uint8)
    centre = np.array([11.5, 11.5, 11.5])
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("zyx", (25, 10, -15), degrees=True).as_matrix()
    turned[:3, 3] = centre - turned[:3, :3] @ centre
    out = resample_labels(layer_of(marked, kind=kind, classes={1: "cyst"}), marked.shape, turned).array[0]
    assert int(out.sum()) == pytest.approx(int(marked.sum()), rel=0.03)
    assert np.count_nonzero(out != marked) < 0.12 * marked.sum()


@pytest.mark.parametrize(
    ("layer", "code"),
    [
        (layer_of(np.full((2, 2, 2), 0.5)), "label.not_integer"),
        (layer_of(np.full((2, 2, 2), -1)), "label.negative"),
        (layer_of(np.full((1, 2, 2, 2), 255.0), kind="soft", classes={0: "lesion"}), "label.not_probability"),
        (layer_of(np.zeros((1, 2, 2, 2)), kind="soft", classes={1: "lesion"}), "label.no_such_channel"),
        (layer_of(np.full((1, 2, 2, 2), np.nan), kind="soft", classes={0: "lesion"}), "image.not_finite"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_layer_that_is_not_what_it_says_is_refused(layer, code):
    with pytest.raises(CaseError) as caught:
        resample_labels(layer, (2, 2, 2), np.eye(4), where="entry/case")
    assert caught.value.code == code
    assert caught.value.where == "entry/case"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_counts_and_boxes_name_the_values_that_occur(dtype):
    labels = np.zeros((4, 5, 6), dtype)
    labels[1:3, 2:4, 3] = 7
    labels[0, 0, 0] = 200
    assert voxel_counts(labels) == {7: 4, 200: 1}
    assert class_boxes(labels) == {
        7: (slice(1, 3), slice(2, 4), slice(3, 4)),
        200: (slice(0, 1), slice(0, 1), slice(0, 1)),
    }


def _finer(times: int) -> np.ndarray:
    affine = np.diag([1 / times, 1 / times, 1 / times, 1.0])
    affine[:3, 3] = (1 / times - 1) / 2
    return affine
