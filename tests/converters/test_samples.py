"""Samples: one case on the plan's grid, in the smallest numbers that keep it, the same bytes every time."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pydicom
import pydicom.data
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medshard.converters.plan import Plan
from medshard.converters.resampling import resample_array
from medshard.converters.samples import FOREGROUND_PER_CLASS, SampleLabel, foreground_rows, make_sample
from medshard.converters.volume import Image, LabelLayer, Mesh, Rescale, Volume
from medshard.errors import CaseError

AFFINE = np.array([[0, 0.1, 0.7, -50], [0.05, 0.7, -0.1, 20], [3.0, 0, 0.02, 100], [0, 0, 0, 1.0]])
PLAN = Plan(name="default", entry="entry", recipe_digest="", channels=("t1",), spacing_mm=(2.0, 1.0, 1.0))
NATIVE = replace(PLAN, spacing_mm=None)


def smooth(seed=0, shape=(1, 12, 40, 44), scale=3000.0):
    noise = np.random.default_rng(seed).normal(size=shape)
    return np.rint(ndimage.gaussian_filter(noise, (0, 1, 2, 2)) * scale).astype(np.int16)


def image_of(array=None, *, affine=AFFINE, modality="MR", rescale=None, trusted=True):
    return Image(
        array=smooth() if array is None else array,
        affine=affine,
        rescale=rescale or Rescale(),
        modality=modality,
        trusted_geometry=trusted,
    )


def layer_of(array, classes, *, kind="semantic", affine=AFFINE, rescale=None):
    return LabelLayer(
        array=array,
        affine=affine,
        kind=kind,
        classes=classes,
        examined=tuple(classes.values()),
        rescale=rescale or Rescale(),
    )


def volume_of(images, labels=None, meshes=None):
    return Volume(entry="entry", case="case-1", patient="p1", images=images, labels=labels or {}, meshes=meshes or {})


def organs():
    labels = np.zeros((1, 12, 40, 44), np.uint8)
    labels[0, 2:9, 5:25, 5:25] = 1
    labels[0, 4:8, 28:36, 20:30] = 3
    return layer_of(labels, {1: "liver", 3: "spleen"})


def physical(sample):
    return sample.image * sample.slope + sample.intercept


def test_a_sample_lies_on_the_grid_of_the_plan_with_the_outer_edges_of_its_image():
    sample = make_sample(volume_of({"t1": image_of()}, {"organs": organs()}), PLAN)
    assert sample.image.shape == (1, 18, 28, 31)
    assert sample.labels["organs"].array.shape == (1, 18, 28, 31)
    np.testing.assert_allclose(sample.affine @ [-0.5, -0.5, -0.5, 1], AFFINE @ [-0.5, -0.5, -0.5, 1], atol=1e-9)
    np.testing.assert_allclose(sample.affine @ [17.5, 27.5, 30.5, 1], AFFINE @ [11.5, 39.5, 43.5, 1], atol=1e-9)
    assert sample.spacing_before_mm == pytest.approx((3.0004, 0.7071, 0.7074), abs=1e-4)


def test_the_image_is_the_resampled_one_up_to_the_stated_error():
    sample = make_sample(volume_of({"t1": image_of()}), PLAN)
    expected = resample_array(smooth(), sample.image.shape[1:])
    assert sample.image.dtype == np.int16
    assert sample.quantisation_error == sample.slope / 2 > 0
    assert np.abs(physical(sample) - expected).max() <= sample.quantisation_error


def test_a_real_ct_slice_keeps_every_hounsfield_unit_on_its_own_grid():
    dataset = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
    rescale = Rescale(slope=(1.0,), intercept=(float(dataset.RescaleIntercept),), unit="HU")
    image = image_of(dataset.pixel_array[None, None], modality="CT", rescale=rescale)
    sample = make_sample(volume_of({"ct": image}), replace(NATIVE, channels=("ct",)))
    assert np.array_equal(sample.image[0, 0], dataset.pixel_array + int(dataset.RescaleIntercept))
    assert (sample.modality, sample.unit, sample.quantisation_error) == ("CT", "HU", 0.0)
    assert np.array_equal(sample.affine, AFFINE)


def test_a_photograph_keeps_its_bytes_and_its_grid():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 1, 20, 30), dtype=np.uint8)
    photo = image_of(pixels, affine=np.eye(4), modality="dermoscopy", trusted=False)
    sample = make_sample(volume_of({"t1": photo}), PLAN)
    assert sample.image.dtype == np.uint8
    assert np.array_equal(sample.image, pixels)
    assert np.array_equal(sample.affine, np.eye(4))
    assert sample.spacing_before_mm is None


def test_an_axis_of_one_slice_is_never_resampled():
    sample = make_sample(volume_of({"t1": image_of(smooth(shape=(1, 1, 40, 44)))}), PLAN)
    assert sample.image.shape == (1, 1, 28, 31)


def test_channels_are_stacked_in_the_order_of_the_plan_on_the_grid_of_the_first():
    coarse_affine = AFFINE @ np.diag([1.0, 2.0, 2.0, 1.0])
    coarse_affine[:, 3] = AFFINE @ [0, 0.5, 0.5, 1]
    fine = smooth(1)
    coarse = fine.reshape(1, 12, 20, 2, 22, 2).mean(axis=(3, 5)).astype(np.int16)
    images = {"adc": image_of(coarse, affine=coarse_affine), "t1": image_of(), "t2": image_of(fine)}
    sample = make_sample(volume_of(images), replace(PLAN, channels=("t1", "t2", "adc")))
    alone = make_sample(volume_of(images), replace(PLAN, channels=("t2",)))
    assert sample.image.shape == (3, 18, 28, 31)
    assert np.array_equal(sample.image[1] * sample.slope, alone.image[0] * alone.slope)
    assert np.corrcoef(sample.image[1].ravel(), sample.image[2].ravel())[0, 1] > 0.95


@pytest.mark.parametrize(
    ("images", "plan", "code"),
    [
        ({"t2": image_of()}, PLAN, "plan.missing_channel"),
        ({}, PLAN, "plan.missing_channel"),
        ({"t1": image_of()}, replace(PLAN, channels=()), "plan.missing_channel"),
        ({"t1": image_of(np.zeros((5, 1, 3, 4, 4), np.int16))}, PLAN, "plan.time_axis"),
        ({"t1": image_of(np.full((1, 3, 4, 4), np.nan, np.float32))}, NATIVE, "image.nothing_finite"),
        (
            {"t1": image_of(trusted=False), "t2": image_of(smooth(shape=(1, 1, 9, 9)), trusted=False)},
            replace(PLAN, channels=("t1", "t2")),
            "plan.channel_grid",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_case_that_does_not_fit_the_plan_is_refused_by_name(images, plan, code):
    with pytest.raises(CaseError) as caught:
        make_sample(volume_of(images), plan)
    assert caught.value.code == code
    assert caught.value.where.startswith("entry/case-1")


def test_a_mesh_without_an_image_makes_a_sample_without_an_image():
    mesh = Mesh(vertices=np.eye(3), faces=np.array([[0, 1, 2]]))
    sample = make_sample(volume_of({}, meshes={"skull": mesh}), replace(PLAN, channels=()))
    assert sample.image is None
    assert sample.statistics is None
    assert np.array_equal(sample.affine, np.eye(4))
    assert sample.meshes == {"skull": mesh}


def test_meshes_beside_an_image_stay_in_millimetres():
    mesh = Mesh(vertices=np.eye(3), faces=np.array([[0, 1, 2]]))
    assert make_sample(volume_of({"t1": image_of()}, meshes={"skull": mesh}), PLAN).meshes["skull"] is mesh


def test_statistics_are_those_of_the_physical_voxels_that_are_not_zero():
    array = smooth()
    array[:, :4] = 0
    sample = make_sample(volume_of({"t1": image_of(array, rescale=Rescale(slope=(0.5,)))}), NATIVE)
    values = array[array != 0] * 0.5
    assert sample.statistics.mean == pytest.approx(values.mean())
    assert sample.statistics.std == pytest.approx(values.std())
    assert (sample.statistics.minimum, sample.statistics.maximum) == (values.min(), values.max())


def test_statistics_of_an_image_of_zeros_are_zero():
    sample = make_sample(volume_of({"t1": image_of(np.zeros((1, 3, 4, 5), np.int16))}), NATIVE)
    assert (sample.statistics.mean, sample.statistics.std) == (0.0, 0.0)


def test_statistics_of_a_float_image_are_taken_from_its_floats():
    array = (np.linspace(-1, 1, 12 * 40 * 44) ** 3).astype(np.float32).reshape(1, 12, 40, 44)
    sample = make_sample(volume_of({"t1": image_of(array)}), NATIVE)
    assert sample.image.dtype == np.float32
    assert "kept as float32" in sample.warnings[0]
    assert sample.statistics.std == pytest.approx(array.std(dtype=np.float64), rel=1e-5)


def test_the_volumes_of_classes_are_compared_before_and_after():
    sample = make_sample(volume_of({"t1": image_of()}, {"organs": organs()}), PLAN)
    label = sample.labels["organs"]
    after = {value: np.count_nonzero(label.array == value) for value in (1, 3)}
    voxel_ratio = np.linalg.det(sample.affine[:3, :3]) / np.linalg.det(AFFINE[:3, :3])
    assert label.volume_ratio["liver"] == pytest.approx(after[1] * voxel_ratio / (7 * 20 * 20), rel=1e-5)
    assert label.volume_ratio["liver"] == pytest.approx(1.0, abs=0.1)
    assert label.classes == {1: "liver", 3: "spleen"}
    assert label.examined == ("liver", "spleen")
    assert sample.warnings == ()


def test_a_class_that_vanishes_is_a_warning():
    labels = np.zeros((1, 12, 40, 44), np.uint8)
    labels[0, 5, 20, 20] = 1
    layer = layer_of(labels, {1: "calcification", 2: "haematoma"})
    sample = make_sample(volume_of({"t1": image_of()}, {"findings": layer}), replace(PLAN, spacing_mm=(6.0, 2.9, 2.9)))
    assert sample.labels["findings"].volume_ratio == {"calcification": 0.0}
    assert sample.warnings == ("calcification of layer findings has no voxel on the plan's grid",)
    assert sample.foreground["findings"].shape == (0, 4)


def test_a_value_without_a_concept_is_kept_and_a_warning():
    labels = organs().array.copy()
    labels[0, 0, 0, :5] = 255
    layer = layer_of(labels, {1: "liver", 3: "spleen"})
    sample = make_sample(volume_of({"t1": image_of()}, {"organs": layer}), NATIVE)
    assert sample.warnings == ("layer organs has voxels of value 255, which has no concept",)
    assert np.count_nonzero(sample.labels["organs"].array == 255) == 5
    assert set(sample.foreground["organs"][:, 0]) == {1, 3}


def test_a_soft_layer_becomes_classes_numbered_in_channel_order():
    maps = np.zeros((2, 12, 40, 44), np.uint8)
    maps[0, :6], maps[1, 6:] = 255, 200
    layer = layer_of(maps, {0: "grey matter", 1: "white matter"}, kind="soft", rescale=Rescale(slope=(1 / 255,)))
    label = make_sample(volume_of({"t1": image_of()}, {"tissue": layer}), PLAN).labels["tissue"]
    assert label.kind == "semantic"
    assert label.classes == {1: "grey matter", 2: "white matter"}
    assert np.all(label.array[0, :8] == 1)
    assert np.all(label.array[0, 10:] == 2)


def test_foreground_rows_name_voxels_of_their_class_evenly_and_in_order():
    sample = make_sample(volume_of({"t1": image_of()}, {"organs": organs()}), PLAN)
    rows, array = sample.foreground["organs"], sample.labels["organs"].array[0]
    assert rows.dtype == np.int32
    assert np.array_equal(array[tuple(rows[:, 1:].T)], rows[:, 0])
    assert np.array_equal(rows, rows[np.lexsort(rows.T[::-1])])
    assert len(np.unique(rows, axis=0)) == len(rows)
    for value in (1, 3):
        places = np.argwhere(array == value)
        chosen = rows[rows[:, 0] == value][:, 1:]
        assert len(chosen) == min(len(places), FOREGROUND_PER_CLASS)
        assert chosen.mean(axis=0) == pytest.approx(places.mean(axis=0), abs=0.2)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 30))
def test_small_classes_are_listed_whole(seed, wide):
    labels = np.random.default_rng(seed).integers(0, 4, (1, 3, 5, wide), dtype=np.uint8)
    rows = foreground_rows(SampleLabel(array=labels, kind="semantic", classes={1: "a", 2: "b"}, examined=()))
    expected = [[value, *place] for value in (1, 2) for place in np.argwhere(labels[0] == value)]
    assert rows.tolist() == np.array(expected).reshape(-1, 4).tolist()


def test_instances_of_one_concept_share_its_rows():
    labels = np.random.default_rng(0).integers(0, 5000, (1, 4, 30, 30), dtype=np.uint16)
    rows = foreground_rows(SampleLabel(array=labels, kind="instance", classes={1: "nucleus"}, examined=()))
    assert len(rows) == FOREGROUND_PER_CLASS
    assert set(rows[:, 0]) == {1}
    assert np.all(labels[0][tuple(rows[:, 1:].T)] > 0)


BYTES_OF_A_SAMPLE = """
import hashlib
import numpy as np
from medshard.converters.plan import Plan
from medshard.converters.samples import make_sample
from medshard.converters.volume import Image, LabelLayer, Volume
array = np.random.default_rng(0).integers(-900, 2000, (1, 30, 160, 160), dtype=np.int16)
label = LabelLayer(array=(array > 1500).astype(np.uint8), affine=np.eye(4), classes={1: "bone"}, examined=("bone",))
image = Image(array=array, affine=np.eye(4))
volume = Volume(entry="e", case="c", patient="p", images={"t1": image}, labels={"bone": label})
plan = Plan(name="p", entry="e", recipe_digest="", channels=("t1",), spacing_mm=(0.7, 1.3, 0.9))
sample = make_sample(volume, plan)
digest = hashlib.sha256(sample.image.tobytes() + sample.labels["bone"].array.tobytes())
digest.update(sample.foreground["bone"].tobytes() + sample.affine.tobytes() + repr(sample.statistics).encode())
print(digest.hexdigest())
"""


def test_the_bytes_of_a_sample_do_not_depend_on_the_number_of_threads():
    environments = [{**os.environ, "OPENBLAS_NUM_THREADS": n, "OMP_NUM_THREADS": n} for n in ("1", "2")]
    command = [sys.executable, "-c", BYTES_OF_A_SAMPLE]
    runs = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for environment in environments]
    first, second = (run.communicate()[0] for run in runs)
    assert [run.returncode for run in runs] == [0, 0]
    assert first == second


def with_gap(dtype=np.float32):
    values = smooth().astype(dtype)
    values[0, 3, 10:14, 20:24] = np.nan
    values[0, 8, 5, 5] = np.inf
    return values


def test_voxels_without_a_number_are_filled_marked_and_counted():
    sample = make_sample(volume_of({"t1": image_of(with_gap())}), NATIVE)
    mask = sample.masks["not_finite"]
    assert np.array_equal(mask[0] != 0, ~np.isfinite(with_gap()[0]))
    assert mask.dtype == np.uint8
    assert any("17 of 21120 voxels" in warning for warning in sample.warnings)
    kept = mask[0] == 0
    assert np.abs(physical(sample)[0] - smooth()[0])[kept].max() <= sample.quantisation_error + 1e-3
    assert np.isfinite(physical(sample)).all()


def test_what_was_filled_is_marked_wherever_it_has_a_share_after_resampling():
    sample = make_sample(volume_of({"t1": image_of(with_gap())}), PLAN)
    mask = sample.masks["not_finite"][0] != 0
    assert mask.shape == sample.image.shape[1:]
    places = np.argwhere(~np.isfinite(with_gap()[0]))
    world = np.column_stack([places, np.ones(len(places))]) @ AFFINE.T
    there = np.rint(np.linalg.solve(sample.affine, world.T).T[:, :3]).astype(int)
    assert mask[tuple(there.T)].all()
    assert mask.mean() < 0.05


def test_a_gap_of_a_channel_on_another_grid_is_marked_too():
    coarse = AFFINE @ np.diag([1.0, 2.0, 2.0, 1.0])
    coarse[:, 3] = AFFINE @ [0, 0.5, 0.5, 1]
    values = smooth(shape=(1, 12, 20, 22)).astype(np.float32)
    values[0, 4, 8, 9] = np.nan
    images = {"t1": image_of(), "t2": image_of(values, affine=coarse)}
    mask = make_sample(volume_of(images), replace(NATIVE, channels=("t1", "t2"))).masks["not_finite"][0]
    assert mask[4, 16:18, 18:20].all()
    assert mask[0].sum() == 0


def test_images_of_numbers_alone_have_no_mask():
    assert make_sample(volume_of({"t1": image_of(smooth().astype(np.float32))}), PLAN).masks == {}


def test_slices_are_resampled_in_their_plane_only():
    sample = make_sample(volume_of({"t1": image_of()}), replace(PLAN, kind="slices2d", slice_axis=0))
    assert sample.image.shape == (1, 12, 28, 31)


def test_resampling_says_what_it_did_to_the_number_of_pieces():
    labels = organs().array.copy()
    labels[0, 9:12, 35:38, 2:5] = 1
    sample = make_sample(volume_of({"t1": image_of()}, {"organs": layer_of(labels, {1: "liver", 3: "spleen"})}), PLAN)
    assert sample.labels["organs"].component_ratio == {"liver": 1.0, "spleen": 1.0}
    coarse = replace(PLAN, spacing_mm=(12.0, 9.0, 9.0))
    sample = make_sample(volume_of({"t1": image_of()}, {"organs": layer_of(labels, {1: "liver", 3: "spleen"})}), coarse)
    assert sample.labels["organs"].component_ratio["liver"] == 0.5


@pytest.mark.parametrize(("spacing", "marked"), [((3.0, 1.0, 1.0), [8]), ((1.5, 1.0, 1.0), [15, 16, 17, 18])])
def test_a_gap_is_marked_in_its_place_where_the_crop_cuts_off_the_far_end(spacing, marked):
    values = np.zeros((1, 20, 8, 8), np.float32)
    values[0, :10] = np.random.default_rng(0).normal(300, 50, (10, 8, 8))
    values[0, 8] = np.nan
    image = image_of(values, affine=np.eye(4)[:, [2, 1, 0, 3]] @ np.diag([3.0, 1.0, 1.0, 1.0]))
    plan = replace(PLAN, kind="nnunet", channels=("t1",), spacing_mm=spacing, stored="normalised", crop_to_nonzero=True)
    sample = make_sample(volume_of({"t1": image}), plan)
    assert sample.grids["t1"].crop == ((0, 10), (0, 8), (0, 8))
    assert np.flatnonzero(sample.masks["not_finite"][0].any(axis=(1, 2))).tolist() == marked
