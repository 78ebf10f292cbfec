"""Fingerprints: true numbers of one volume, and merges that equal the numbers of all volumes at once."""

from __future__ import annotations

import numpy as np
import pydicom
import pydicom.data
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from medshard.converters.fingerprint import (
    fingerprint_volume,
    merge_fingerprints,
    merge_foregrounds,
    nonzero_box,
    voxel_digest,
)
from medshard.converters.volume import Image, LabelLayer, Rescale, Volume
from medshard.errors import CaseError
from medshard.registry.store.digests import canonical_json

SPACED = np.diag([3.0, 0.5, 0.5, 1.0])


def image_of(array, *, affine=SPACED, modality="MR", unit="arbitrary", **fields):
    rescale = fields.pop("rescale", Rescale(unit=unit))
    return Image(array=array, affine=affine, rescale=rescale, modality=modality, **fields)


def layer_of(array, classes, *, affine=SPACED, kind="semantic", **fields):
    return LabelLayer(
        array=array, affine=affine, kind=kind, classes=classes, examined=tuple(classes.values()), **fields
    )


def volume_of(images, labels=None, case="a"):
    return Volume(entry="entry", case=case, patient=case, images=images, labels=labels or {})


def scan(seed=0, shape=(1, 6, 20, 24), scale=100.0):
    return np.rint(np.random.default_rng(seed).normal(size=shape) * scale).astype(np.int16)


def test_the_facts_of_a_real_ct_slice_are_those_of_its_header_and_its_pixels():
    dataset = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
    hu = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    row, column = map(float, dataset.PixelSpacing)
    image = image_of(
        dataset.pixel_array[None, None],
        affine=np.diag([float(dataset.SliceThickness), row, column, 1.0]),
        modality="CT",
        rescale=Rescale(intercept=(float(dataset.RescaleIntercept),), unit="HU"),
    )
    facts = fingerprint_volume(volume_of({"ct": image}))["images"]["ct"]
    assert facts["shape"] == [1, 128, 128]
    assert facts["spacing_mm"] == pytest.approx([5.0, 0.661468, 0.661468])
    assert (facts["modality"], facts["unit"], facts["dtype"]) == ("CT", "HU", "int16")
    intensity = facts["intensity"]
    assert intensity["minimum"] == hu.min()
    assert intensity["mean"] == pytest.approx(hu.mean(), rel=1e-5)
    assert [intensity[key] for key in ("p0_5", "p50", "p99_5")] == pytest.approx(np.percentile(hu, (0.5, 50, 99.5)))
    assert facts["foreground"]["source"] == "body"
    assert facts["foreground"]["n"] == np.count_nonzero(hu > -500)


def test_histograms_of_ct_share_their_bins_and_count_every_voxel():
    array = np.int16([-3000, -1024, -961, -960, 0, 3071, 9000]).reshape(1, 1, 1, 7)
    histogram = fingerprint_volume(volume_of({"ct": image_of(array, unit="HU")}))["images"]["ct"]["intensity"][
        "histogram"
    ]
    assert (histogram["low"], histogram["high"], len(histogram["counts"])) == (-1024, 3072, 64)
    assert histogram["counts"][:2] == [3, 1]
    assert histogram["counts"][16] == 1
    assert histogram["counts"][-1] == 2


def test_classes_are_counted_measured_and_split_into_components():
    labels = np.zeros((1, 6, 20, 24), np.uint8)
    labels[0, 0, 0, 0] = labels[0, 1, 1, 1] = 1  # connected over a corner
    labels[0, 5, 10:14, 10:14] = 1
    labels[0, 3, 3, 3] = 4
    facts = fingerprint_volume(
        volume_of({"t1": image_of(scan())}, {"tumour": layer_of(labels, {1: "core", 4: "oedema", 5: "necrosis"})})
    )["labels"]["tumour"]
    assert facts["classes"] == {
        "core": {"voxels": 18, "volume_ml": pytest.approx(18 * 0.75 / 1000), "components": 2},
        "oedema": {"voxels": 1, "volume_ml": pytest.approx(0.00075), "components": 1},
        "necrosis": {"voxels": 0, "volume_ml": 0.0, "components": 0},
    }
    assert facts["largest_to_smallest"] == 18.0
    assert facts["examined"] == ["core", "oedema", "necrosis"]


def test_values_of_one_concept_count_together():
    labels = np.zeros((1, 4, 6, 6), np.uint8)
    labels[0, 1, 1, 1], labels[0, 1, 1, 2] = 2, 3
    layer = layer_of(labels, {2: "kidney", 3: "kidney"})
    facts = fingerprint_volume(volume_of({"t1": image_of(scan(shape=(1, 4, 6, 6)))}, {"organs": layer}))
    assert facts["labels"]["organs"]["classes"]["kidney"]["voxels"] == 2
    assert facts["labels"]["organs"]["classes"]["kidney"]["components"] == 1


def test_touching_instances_are_counted_apart():
    labels = np.zeros((1, 1, 6, 6), np.uint16)
    labels[0, 0, :, :3], labels[0, 0, :, 3:] = 7, 900
    layer = layer_of(labels, {1: "nucleus"}, kind="instance")
    facts = fingerprint_volume(volume_of({"image": image_of(scan(shape=(1, 1, 6, 6)))}, {"nuclei": layer}))
    assert facts["labels"]["nuclei"]["classes"]["nucleus"] == {"voxels": 36, "volume_ml": 0.027, "components": 2}


def test_soft_layers_count_by_the_class_of_largest_probability():
    maps = np.zeros((2, 1, 1, 4), np.uint8)
    maps[0, 0, 0], maps[1, 0, 0] = (255, 100, 80, 0), (0, 120, 70, 0)
    layer = layer_of(maps, {0: "grey", 1: "white"}, kind="soft", rescale=Rescale(slope=(1 / 255,)))
    facts = fingerprint_volume(volume_of({"t1": image_of(scan(shape=(1, 1, 1, 4)))}, {"tissue": layer}))
    classes = facts["labels"]["tissue"]["classes"]
    assert facts["labels"]["tissue"]["kind"] == "soft"
    assert (classes["grey"]["voxels"], classes["white"]["voxels"]) == (1, 1)


def test_labelled_voxels_on_the_grid_of_an_image_are_its_foreground():
    array, labels = scan(), np.zeros((1, 6, 20, 24), np.uint8)
    labels[0, 2:4, 5:9, 5:9] = 1
    other_grid = image_of(scan(1), affine=np.diag([4.0, 0.5, 0.5, 1.0]))
    facts = fingerprint_volume(
        volume_of({"t2": image_of(array), "adc": other_grid}, {"lesion": layer_of(labels, {1: "lesion"})})
    )
    marked = array[labels > 0]
    foreground = facts["images"]["t2"]["foreground"]
    assert (foreground["source"], foreground["n"]) == ("labels", marked.size)
    assert foreground["mean"] == pytest.approx(marked.mean(), rel=1e-5)
    assert foreground["std"] == pytest.approx(marked.std(), rel=1e-5)
    values, counts = np.unique(marked, return_counts=True)
    assert (foreground["quantiles"], foreground["counts"]) == (values.tolist(), counts.tolist())
    assert facts["images"]["adc"]["foreground"]["source"] == "nonzero"


def test_volumes_in_millilitres_are_not_claimed_without_trusted_geometry():
    labels = np.ones((1, 1, 8, 8), np.uint8)
    photo = image_of(scan(shape=(3, 1, 8, 8)), affine=np.eye(4), trusted_geometry=False)
    facts = fingerprint_volume(volume_of({"photo": photo}, {"skin": layer_of(labels, {1: "naevus"}, affine=np.eye(4))}))
    assert facts["labels"]["skin"]["classes"]["naevus"]["volume_ml"] is None
    assert facts["images"]["photo"]["channels"] == 3


def test_voxels_without_a_number_are_counted_and_left_out():
    array = np.float32([1, 2, np.nan, 3, np.inf]).reshape(1, 1, 1, 5)
    facts = fingerprint_volume(volume_of({"pet": image_of(array)}))
    assert facts["images"]["pet"]["intensity"]["not_finite"] == 2
    assert facts["images"]["pet"]["intensity"]["mean"] == 2.0
    canonical_json(facts)


BOXES = arrays.arrays(
    np.int16, arrays.array_shapes(min_dims=4, max_dims=5, min_side=1, max_side=5), elements=st.integers(0, 1)
)


@settings(max_examples=60, deadline=None)
@given(BOXES, st.sampled_from([0.0, -1024.0]), st.booleans())
def test_the_box_of_what_is_not_zero_holds_all_of_it_and_no_empty_plane_at_its_ends(array, intercept, per_slice):
    slices = array.shape[-3] if per_slice else 1
    rescale = Rescale(slope=(2.0,) * slices, intercept=(intercept,) * slices)
    stored = (array * 3 - intercept / 2).astype(np.int16)  # physical values 0 and 6
    box = nonzero_box(image_of(stored, rescale=rescale))
    there = np.argwhere(array.reshape(-1, *array.shape[-3:]).any(axis=0))
    assert box == ([[int(axis.min()), int(axis.max()) + 1] for axis in there.T] if len(there) else None)


def test_what_is_no_number_is_not_zero():
    array = np.zeros((1, 3, 3, 3), np.float32)
    array[0, 1, 2, 0] = np.nan
    assert nonzero_box(image_of(array)) == [[1, 2], [2, 3], [0, 1]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
@pytest.mark.parametrize("layers", [1, 2])
def test_values_inside_and_outside_of_classes_are_those_of_numpy_whatever_the_type(dtype, layers):
    rng = np.random.default_rng(3)
    array = rng.integers(0, 200, (2, 4, 9, 11)).astype(dtype)
    maps = {f"layer {n}": rng.integers(0, 4, (1, 4, 9, 11)).astype(np.uint8) for n in range(layers)}
    volume = volume_of(
        {"t1": image_of(array, rescale=Rescale(slope=(-0.5,), intercept=(3.0,)))},
        {name: layer_of(labels, {1: "core", 2: "oedema"}) for name, labels in maps.items()},
    )
    image = fingerprint_volume(volume)["images"]["t1"]
    physical = array * -0.5 + 3.0
    for name, labels in maps.items():
        for value, concept in ((1, "core"), (2, "oedema")):
            chosen = physical[:, labels[0] == value]
            expected = [chosen.mean(), chosen.std(), *np.percentile(chosen, (0.5, 50, 99.5))]
            assert image["classes"][name][concept] == pytest.approx(expected, rel=1e-5)
    marked = np.any([labels[0] > 0 for labels in maps.values()], axis=0)
    histogram = image["intensity"]["histogram"]
    edges = np.linspace(physical.min(), physical.max(), 65)
    assert histogram["counts"] == np.histogram(physical, edges)[0].tolist()
    assert histogram["inside"] == np.histogram(physical[:, marked], edges)[0].tolist()
    assert image["foreground"]["n"] == 2 * marked.sum()


def test_sizes_in_millimetres_and_the_share_that_is_marked():
    labels = np.zeros((1, 6, 20, 24), np.uint8)
    labels[0, :3, :10] = 1
    layer = layer_of(labels, {1: "liver"})
    facts = fingerprint_volume(volume_of({"t1": image_of(scan())}, {"organs": layer}))
    assert facts["images"]["t1"]["size_mm"] == [18.0, 10.0, 12.0]
    assert facts["labels"]["organs"]["marked"] == 0.25
    photo = image_of(scan(), affine=np.eye(4), trusted_geometry=False)
    assert fingerprint_volume(volume_of({"photo": photo}))["images"]["photo"]["size_mm"] is None


def test_a_time_series_is_measured_over_all_frames():
    facts = fingerprint_volume(volume_of({"bold": image_of(np.arange(48, dtype=np.int16).reshape(4, 1, 3, 2, 2))}))
    assert (facts["images"]["bold"]["frames"], facts["images"]["bold"]["shape"]) == (4, [3, 2, 2])
    assert facts["images"]["bold"]["intensity"]["maximum"] == 47


def test_facts_are_canonical_json_and_keep_the_order_of_images():
    facts = fingerprint_volume(volume_of({"t2": image_of(scan()), "adc": image_of(scan(1))}))
    assert facts["image_order"] == ["t2", "adc"]
    assert canonical_json(facts) == canonical_json(
        fingerprint_volume(volume_of({"t2": image_of(scan()), "adc": image_of(scan(1))}))
    )


def test_labels_that_are_no_labels_name_entry_case_and_layer():
    bad = layer_of(np.full((1, 6, 20, 24), 0.5), {1: "lesion"})
    with pytest.raises(CaseError, match=r"label.not_integer.*entry/a lesion"):
        fingerprint_volume(volume_of({"t1": image_of(scan())}, {"lesion": bad}))


@pytest.mark.parametrize("dtype", [">i2", "<i4", "u2", "i8"])
def test_equal_voxels_have_one_digest_whatever_their_type(dtype):
    array = np.arange(60, dtype=np.int16).reshape(1, 3, 4, 5)
    assert voxel_digest(array.astype(dtype)) == voxel_digest(array)
    assert voxel_digest(np.asfortranarray(array)) == voxel_digest(array)


def test_other_shapes_and_other_voxels_have_other_digests():
    array = np.arange(60, dtype=np.int16).reshape(1, 3, 4, 5)
    changed = array.copy()
    changed[0, 2, 3, 4] += 1
    digests = {voxel_digest(a) for a in (array, array.reshape(1, 3, 5, 4), changed, array.astype(np.float32) + 0.5)}
    assert len(digests) == 4


def test_copies_of_a_scan_are_found_across_cases_and_images_of_one_value_are_not():
    blank = np.zeros((1, 2, 3, 4), np.int16)
    volumes = {
        "a": {"t1": image_of(scan(1)), "mask": image_of(blank)},
        "b": {"t1": image_of(scan(2)), "mask": image_of(blank)},
        "c": {"flair": image_of(scan(1).astype(np.int32), affine=np.eye(4))},
    }
    merged = merge_fingerprints({case: fingerprint_volume(volume_of(images)) for case, images in volumes.items()})
    assert merged["duplicates"] == [["a/t1", "c/flair"]]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 40), st.floats(-500, 500)), min_size=1, max_size=5))
def test_merged_foregrounds_equal_the_statistics_of_all_voxels_together(cases):
    foregrounds, everything = [], []
    for seed, rows, shift in cases:
        values = (np.random.default_rng(seed).normal(size=(1, 2, rows, 30)) * 80 + shift).astype(np.float32)
        labels = np.ones((1, 2, rows, 30), np.uint8)
        facts = fingerprint_volume(volume_of({"t1": image_of(values)}, {"organ": layer_of(labels, {1: "organ"})}))
        foregrounds.append(facts["images"]["t1"]["foreground"])
        everything.append(values.ravel())
    together, merged = np.concatenate(everything), merge_foregrounds(foregrounds)
    spread = float(np.ptp(together))
    assert merged["n"] == together.size
    assert merged["mean"] == pytest.approx(together.mean(dtype=np.float64), abs=1e-4 * spread)
    assert merged["std"] == pytest.approx(together.std(dtype=np.float64), rel=1e-3)
    for key, percentile in (("p0_5", 0.5), ("p50", 50), ("p99_5", 99.5)):
        assert np.mean(together <= merged[key]) * 100 == pytest.approx(percentile, abs=1.0 + 100 / together.size)


def test_labelled_foreground_is_not_mixed_with_unlabelled():
    labelled = {"source": "labels", "n": 10, "mean": 50.0, "std": 5.0, "quantiles": [45.0, 55.0], "counts": [5, 5]}
    body = {
        "source": "body",
        "n": 10_000,
        "mean": -100.0,
        "std": 90.0,
        "quantiles": [-300.0, 40.0],
        "counts": [5000, 5000],
    }
    assert merge_foregrounds([body, labelled, None])["mean"] == 50.0
    assert merge_foregrounds([body, None])["source"] == "body"
    assert merge_foregrounds([None]) is None


def test_a_merge_sums_up_grids_modalities_and_classes():
    facts = {}
    for case, depth, voxels in (("a", 4, 2), ("b", 6, 0), ("c", 11, 5)):
        labels = np.zeros((1, depth, 8, 9), np.uint8)
        labels[0, 0, 0, :voxels] = 1
        image = image_of(scan(depth, (1, depth, 8, 9)), affine=np.diag([depth, 0.5, 0.5, 1.0]))
        layer = layer_of(labels, {1: "lesion"}, affine=image.affine)
        facts[case] = fingerprint_volume(volume_of({"t1": image}, {"lesion": layer}, case=case))
    facts["d"] = fingerprint_volume(volume_of({"photo": image_of(scan(9), modality="photo", trusted_geometry=False)}))
    merged = merge_fingerprints(facts)
    assert merged["cases"] == 4
    assert merged["modalities"] == {"MR": 3, "photo": 1}
    assert merged["images"]["t1"]["shape"] == {"median": [6, 8, 9], "minimum": [4, 8, 9], "maximum": [11, 8, 9]}
    assert merged["images"]["t1"]["spacing_mm"]["median"] == [6, 0.5, 0.5]
    assert merged["images"]["photo"]["spacing_mm"] is None
    assert merged["labels"]["lesion"]["cases"] == 3
    lesion = merged["labels"]["lesion"]["classes"]["lesion"]
    assert (lesion["examined"], lesion["cases"], lesion["voxels"], lesion["components"]) == (3, 2, 7, 2)
    assert lesion["volume_ml"] == pytest.approx((2 * 4 + 5 * 11) * 0.25 / 1000)
    assert lesion["share_of_cases"] == pytest.approx(2 / 3, abs=1e-5)
    canonical_json(merged)


def test_nothing_merges_to_an_empty_summary():
    assert merge_fingerprints({})["cases"] == 0
