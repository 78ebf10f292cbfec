"""Images that belong together: channels on one grid, or views on grids of their own, with their labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from medshard.converters.annotation_table import AnnotationTable, rows_table
from medshard.converters.plan import IntensityRule, PairRule, Plan
from medshard.converters.samples import make_sample
from medshard.converters.sampling.pairs import image_of_layer
from medshard.converters.shard_contents import content_attributes, write_contents
from medshard.converters.volume import Image, LabelLayer, Rescale, Volume

RAS = np.eye(4)[:, [2, 1, 0, 3]]
PLAN = Plan(
    name="p", entry="e", recipe_digest="", channels=("fixed",), spacing_mm=(2.0, 1.0, 1.0), kind="pairs",
    pairs=PairRule(relation="registration", others=("moving",)),
)  # fmt: skip


def image_of(seed, shape=(1, 10, 24, 26), spacing=(3.0, 1.5, 1.5), *, modality="MR", scale=500.0):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), (0, 1, 2, 2))
    unit = "HU" if modality == "CT" else "arbitrary"
    return Image(
        array=np.rint(noise / noise.std() * scale).astype(np.int16),
        affine=RAS @ np.diag([*spacing, 1.0]),
        rescale=Rescale(unit=unit),
        modality=modality,
    )


def layer_on(image, value=1):
    labels = np.zeros((1, *image.shape), np.uint8)
    labels[0, 2:8, 5:20, 5:20] = value
    return LabelLayer(array=labels, affine=image.affine, classes={value: "liver"}, examined=("liver",))


FIXED, MOVING = image_of(1), image_of(2, (1, 8, 30, 20), (4.0, 1.2, 1.2))


def volume_of(images=None, labels=None, **contents):
    images = images or {"fixed": FIXED, "moving": MOVING}
    return Volume(entry="e", case="c", patient="p", images=images, labels=labels or {}, **contents)


def test_an_image_that_does_not_match_keeps_its_own_grid_at_the_plan_s_voxel_size():
    sample = make_sample(volume_of(), PLAN)
    assert sample.image.shape == (1, 15, 36, 39)
    view = sample.views["moving"]
    assert view.image.shape == (1, 16, 36, 24)
    corner = np.array([-0.5, -0.5, -0.5, 1.0])
    assert np.allclose(view.affine @ corner, MOVING.affine @ corner)
    alone = make_sample(volume_of(), replace(PLAN, channels=("moving",), pairs=None, kind="volume"))
    assert np.array_equal(view.image, alone.image)
    assert (view.slope, view.quantisation_error) == (alone.slope, alone.quantisation_error)


def test_a_label_layer_goes_with_the_image_whose_grid_it_is_on():
    sample = make_sample(volume_of(labels={"a": layer_on(FIXED), "b": layer_on(MOVING)}), PLAN)
    assert list(sample.labels) == ["a"]
    assert list(sample.views["moving"].labels) == ["b"]
    assert sample.views["moving"].labels["b"].array.shape == (1, *sample.views["moving"].image.shape[1:])


def test_of_two_images_on_one_grid_the_name_of_a_layer_decides_and_else_it_is_said():
    images = {"fixed": FIXED, "moving": replace(FIXED, array=FIXED.array[:, ::-1])}
    assert image_of_layer("moving_organs", layer_on(FIXED), images) == ("moving", True)
    assert image_of_layer("organs", layer_on(FIXED), images) == ("fixed", False)
    sample = make_sample(volume_of(images, {"organs": layer_on(FIXED)}), PLAN)
    assert any("organs" in warning and "fixed" in warning for warning in sample.warnings)


def test_a_layer_on_the_grid_of_no_image_goes_to_the_reference():
    other = image_of(3, (1, 4, 12, 12), (6.0, 3.0, 3.0))
    images = {"fixed": FIXED, "moving": MOVING}
    assert image_of_layer("organs", layer_on(other), images) == ("fixed", False)


def test_images_of_one_body_become_channels_each_normalised_by_itself():
    ct, pet = image_of(4, modality="CT", scale=400.0), image_of(5, (1, 8, 10, 10), (4.0, 4.0, 4.0), scale=9.0)
    rule = IntensityRule(scheme="dataset", clip=(-500.0, 600.0), mean=40.0, std=200.0)
    plan = replace(
        PLAN, channels=("ct", "pet"), pairs=PairRule(relation="grids"), stored="normalised",
        intensity={"ct": rule, "pet": IntensityRule(scheme="case")},
    )  # fmt: skip
    sample = make_sample(volume_of({"ct": ct, "pet": pet}), plan)
    alone = {
        name: make_sample(volume_of({"ct": ct, "pet": pet}), replace(PLAN, channels=("ct", "pet"), pairs=None))
        for name in ("ct",)
    }
    values = sample.image * sample.slope + sample.intercept
    physical = alone["ct"].image * alone["ct"].slope
    expected = (np.clip(physical[0], -500.0, 600.0) - 40.0) / 200.0
    bound = sample.quantisation_error + alone["ct"].quantisation_error / 200.0 + 1e-4
    assert np.abs(values[0] - expected).max() <= bound
    # Outside of the field of view the PET is at its lowest value, which counts as any other.
    assert abs(values[1][values[1] != 0].mean()) < 0.2
    assert 0.8 < values[1].std() < 1.2
    assert [scale.image for scale in sample.channels] == ["ct", "pet"]
    assert np.allclose(values[1] * sample.channels[1].slope + sample.channels[1].intercept, physical[1], atol=0.3)


def test_views_are_arrays_of_the_shard_and_say_what_their_numbers_mean(tmp_path):
    sample = make_sample(volume_of(labels={"moving_organs": layer_on(MOVING)}), PLAN)
    written = {}
    write_contents(sample, lambda name, array, kind, chunk: written.update({name: (array, kind, chunk)}), tmp_path)
    image, kind, chunk = written["views/moving"]
    assert (image is sample.views["moving"].image, kind, chunk) == (True, "image", (1, 16, 32, 24))
    assert written["view_labels/moving/moving_organs"][1] == "label"
    facts = content_attributes(sample)["views"]["moving"]
    assert facts["labels"]["moving_organs"]["classes"] == {"1": "liver"}
    assert np.allclose(facts["affine"], sample.views["moving"].affine)


def test_places_of_annotations_come_with_the_grid_that_they_count_on():
    table = rows_table("landmarks", [{"z": 1.0, "y": 2.0, "x": 3.0, "concept": "liver"}])
    rows = AnnotationTable(kind="landmarks", table=table, examined=(), image="moving")
    facts = content_attributes(make_sample(volume_of(annotations={"marks": rows}), PLAN))
    assert facts["grids"]["moving"]["shape"] == list(MOVING.shape)
    assert np.allclose(facts["grids"]["moving"]["affine"], MOVING.affine)


def test_a_case_without_its_second_image_is_refused():
    with pytest.raises(Exception, match="moving"):
        make_sample(volume_of({"fixed": FIXED}), PLAN)
