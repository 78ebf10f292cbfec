"""Plans: what follows from a declaration and the fingerprints, and what stays when they change."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.converters.fingerprint import fingerprint_volume
from medshard.converters.plan import IntensityRule, Plan
from medshard.converters.plan_resolution import median_spacing, resolve_plan
from medshard.converters.volume import Image, LabelLayer, Rescale, Volume
from medshard.errors import CatalogError
from medshard.registry.store.digests import canonical_json


def facts_of(images, *, case="a", labels=None):
    return fingerprint_volume(Volume(entry="entry", case=case, patient=case, images=images, labels=labels or {}))


def image_of(spacing=(2.0, 1.0, 1.0), shape=(8, 10, 12), *, modality="MR", seed=0, trusted=True):
    unit = "HU" if modality == "CT" else "arbitrary"
    values = np.random.default_rng(seed).normal(size=(1, *shape)) * 300
    return Image(
        array=np.rint(values).astype(np.int16),
        affine=np.diag([*spacing, 1.0]),
        rescale=Rescale(unit=unit),
        modality=modality,
        trusted_geometry=trusted,
    )


def resolve(declaration, *images_of_cases):
    facts = {f"case-{number}": facts_of(images) for number, images in enumerate(images_of_cases)}
    return resolve_plan("default", "entry", declaration, facts)


def test_without_a_declaration_a_plan_has_the_documented_defaults():
    plan = resolve({}, {"t1": image_of()}, {"t1": image_of((3.0, 1.5, 1.0))})
    assert (plan.name, plan.entry, plan.channels) == ("default", "entry", ("t1",))
    assert plan.spacing_mm == (2.5, 1.25, 1.0)
    assert (plan.kernel, plan.antialias) == ("cubic", True)
    assert (plan.patch_size, plan.inner_chunk, plan.shard_bytes) == ((32, 96, 96), (16, 32, 32), 512 << 20)


def test_a_declaration_overrides_every_default():
    declaration = {
        "channels": ["t2", "adc"], "spacing_mm": [3, 0.5, 0.5], "kernel": "linear", "antialias": False,
        "patch_size": [16, 64, 64], "inner_chunk": [8, 32, 32], "shard_mib": 64,
    }  # fmt: skip
    plan = resolve(declaration, {"t2": image_of(), "adc": image_of(seed=1)})
    assert plan.channels == ("t2", "adc")
    assert plan.spacing_mm == (3.0, 0.5, 0.5)
    assert (plan.kernel, plan.antialias) == ("linear", False)
    assert (plan.patch_size, plan.inner_chunk, plan.shard_bytes) == ((16, 64, 64), (8, 32, 32), 64 << 20)


def test_the_first_image_that_all_cases_share_is_the_channel():
    a, b = image_of(), image_of(seed=1)
    assert resolve({}, {"t2": a, "t1": b}, {"t1": a, "t2": b}, {"flair": a, "t1": b}).channels == ("t1",)
    assert resolve({}, {"t2": a, "t1": b}, {"t2": b, "t1": a}).channels == ("t2",)


def test_without_a_shared_image_the_most_common_is_the_channel():
    assert resolve({}, {"flair": image_of()}, {"t1": image_of()}, {"t1": image_of()}, {}).channels == ("t1",)


def test_meshes_alone_make_a_plan_without_channels():
    plan = resolve({}, {}, {})
    assert (plan.channels, plan.spacing_mm, dict(plan.intensity)) == ((), None, {})


@pytest.mark.parametrize(
    "images",
    [
        {"photo": image_of(trusted=False)},
        {"slice": image_of(shape=(1, 32, 32))},
    ],
    ids=["untrusted geometry", "one slice"],
)
def test_images_that_say_nothing_of_voxel_size_keep_their_own_grid(images):
    assert resolve({}, images).spacing_mm is None


def test_a_declared_native_spacing_is_native():
    assert resolve({"spacing_mm": "native"}, {"t1": image_of()}).spacing_mm is None


def test_only_images_with_a_position_in_space_count_for_the_median():
    plan = resolve(
        {}, {"t1": image_of()}, {"t1": image_of((9, 9, 9), trusted=False)}, {"t1": image_of((7, 7, 7), (1, 9, 9))}
    )
    assert plan.spacing_mm == (2.0, 1.0, 1.0)


def test_two_dimensional_images_get_flat_patches():
    plan = resolve({}, {"fundus": image_of(shape=(1, 40, 40), trusted=False)})
    assert (plan.patch_size, plan.inner_chunk) == ((1, 256, 256), (1, 64, 64))


def test_thick_slices_take_the_tenth_percentile_and_never_less_than_the_other_axes():
    shapes = [(20, 256, 256)] * 5
    assert median_spacing([(s, 0.7, 0.7) for s in (2, 5, 5, 6, 6)], shapes) == (3.2, 0.7, 0.7)
    assert median_spacing([(s, 0.7, 0.7) for s in (0.1, 0.1, 5, 6, 6)], shapes) == (0.7, 0.7, 0.7)


def test_thick_slices_in_plenty_and_slices_below_three_times_keep_the_median():
    spacings = [(s, 1.0, 1.0) for s in (1, 5, 5)]
    assert median_spacing(spacings, [(200, 256, 256)] * 3) == (5.0, 1.0, 1.0)
    assert median_spacing([(s, 1.0, 1.0) for s in (1, 2.9, 3)], [(20, 256, 256)] * 3) == (2.9, 1.0, 1.0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.floats(0.2, 8.0)] * 3), min_size=1, max_size=7), st.randoms())
def test_the_median_does_not_depend_on_the_order_of_cases(spacings, random):
    shuffled = list(spacings)
    random.shuffle(shuffled)
    shapes = [(20, 200, 200)] * len(spacings)
    assert median_spacing(spacings, shapes) == median_spacing(shuffled, shapes)


def ct_with_lesion():
    image = image_of(modality="CT", shape=(8, 40, 40), seed=3)
    labels = np.zeros((1, 8, 40, 40), np.uint8)
    labels[0, 2:6, 2:38, 2:38] = 1
    lesion = LabelLayer(array=labels, affine=image.affine, classes={1: "lesion"}, examined=("lesion",))
    return image, lesion, image.array[labels > 0].astype(np.float64)


def test_ct_is_normalised_by_the_labelled_foreground_of_the_data_set():
    image, lesion, marked = ct_with_lesion()
    unlabelled = {"ct": image_of(modality="CT", seed=8)}
    facts = {"a": facts_of({"ct": image}, labels={"lesion": lesion}), "b": facts_of(unlabelled)}
    rule = resolve_plan("default", "entry", {}, facts).intensity["CT"]
    assert rule.scheme == "dataset"
    assert rule.mean == pytest.approx(marked.mean(), rel=1e-5)
    assert rule.std == pytest.approx(marked.std(), rel=1e-5)
    assert rule.clip == pytest.approx(np.percentile(marked, (0.5, 99.5)), rel=0.02)


def test_ct_without_labels_is_normalised_by_what_is_denser_than_lung():
    image = image_of(modality="CT", shape=(8, 40, 40))
    rule = resolve({}, {"ct": image}).intensity["CT"]
    body = image.array[image.array > -500].astype(np.float64)
    assert rule.mean == pytest.approx(body.mean(), rel=1e-4)
    assert rule.clip == pytest.approx(np.percentile(body, (0.5, 99.5)), rel=0.01)


def test_other_modalities_are_normalised_case_by_case():
    plan = resolve({"channels": ["t1"]}, {"t1": image_of(), "ct": image_of(modality="CT")})
    assert dict(plan.intensity) == {"MR": IntensityRule(scheme="case")}


def test_ct_in_another_unit_is_normalised_case_by_case():
    grey = replace(image_of(modality="CT"), rescale=Rescale(unit="arbitrary"))
    assert resolve({}, {"ct": grey}).intensity["CT"].scheme == "case"


def test_the_recipe_digest_is_that_of_the_declaration_and_outlives_new_cases():
    declaration = {"spacing_mm": [1.0, 1.0, 1.0]}
    one = resolve(declaration, {"t1": image_of()})
    two = resolve(declaration, {"t1": image_of()}, {"t1": image_of((5, 5, 5), seed=4)})
    other = resolve({"spacing_mm": [1.0, 1.0, 2.0]}, {"t1": image_of()})
    assert one.recipe_digest == two.recipe_digest != other.recipe_digest
    assert one.digest == two.digest != other.digest
    assert resolve({"spacing_mm": (1.0, 1.0, 1.0), "kernel": None}, {"t1": image_of()}).digest == one.digest


def test_a_plan_survives_json_and_keeps_its_digest():
    image, lesion, _ = ct_with_lesion()
    plan = resolve_plan("default", "entry", {}, {"a": facts_of({"ct": image}, labels={"lesion": lesion})})
    again = Plan.from_json(json.loads(canonical_json(plan.to_json())))
    assert again == plan
    assert again.digest == plan.digest


@pytest.mark.parametrize(
    ("declaration", "where"),
    [
        ({"kernel": "lanczos"}, "entry plans.default.kernel"),
        ({"spacing_mm": "mean"}, "entry plans.default.spacing_mm"),
        ({"spacing_mm": [1.0, 0.0, 1.0]}, "entry plans.default.spacing_mm"),
        ({"spacing_mm": 1.0}, "entry plans.default.spacing_mm"),
        ({"antialias": "yes"}, "entry plans.default.antialias"),
        ({"spacing_mm": [1.0, 1.0]}, "entry plans.default.spacing_mm"),
        ({"patch_size": [32, 96.5, 96]}, "entry plans.default.patch_size"),
        ({"channels": []}, "entry plans.default.channels"),
        ({"shard_mib": 0}, "entry plans.default.shard_mib"),
    ],
)
def test_a_wrong_value_is_refused_with_its_field(declaration, where):
    with pytest.raises(CatalogError) as caught:
        resolve(declaration, {"t1": image_of()})
    assert caught.value.code == "plan.wrong_value"
    assert caught.value.where == where


def test_an_unknown_field_is_refused_by_name():
    with pytest.raises(CatalogError, match="spacing"):
        resolve({"spacing": [1, 1, 1]}, {"t1": image_of()})
