"""The kinds of plans: what each takes from the fingerprints, what it refuses, and that it survives being stored."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medshard.converters.fingerprint import fingerprint_volume
from medshard.converters.plan import ClipRule, FrameRule, IntensityRule, PairRule, Plan, TileRule
from medshard.converters.plan_declaration import EXPECTED
from medshard.converters.plan_kinds import RULES
from medshard.converters.plan_resolution import fitting_kinds, resolve_plan
from medshard.converters.plan_spacing import isotropic_spacing
from medshard.converters.sampling.normalised import array_channels
from medshard.converters.video import Video
from medshard.converters.volume import Image, LeadingAxis, Rescale, Volume
from medshard.errors import CatalogError, StoreError
from medshard.registry.schema.plans import KINDS_OF_FIELD, PlanDeclaration
from medshard.registry.store.digests import canonical_json


def image_of(spacing=(3.0, 1.0, 1.0), shape=(1, 8, 20, 22), *, modality="MR", trusted=True, seed=0):
    values = np.random.default_rng(seed).normal(size=shape) * 300
    return Image(
        array=np.rint(values).astype(np.int16),
        affine=np.diag([*spacing, 1.0]),
        rescale=Rescale(unit="HU" if modality == "CT" else "arbitrary"),
        modality=modality,
        trusted_geometry=trusted,
        leading=LeadingAxis() if len(shape) == 5 else None,
    )


def facts_of(*cases, **contents):
    volumes = [Volume(entry="e", case=f"{n}", patient="p", images=images, **contents) for n, images in enumerate(cases)]
    return {volume.case: fingerprint_volume(volume) for volume in volumes}


def resolve(declaration, *cases, **contents):
    return resolve_plan("p", "e", declaration, facts_of(*cases, **contents))


def video():
    times = np.arange(60) / 30
    return Video(shape=(3, 8, 8), time_s=times, key_frames=np.ones(60, bool), codec="pictures", rate_hz=30.0)


T1, PAIR = {"t1": image_of()}, {"ct": image_of(modality="CT"), "pet": image_of((4.0, 4.0, 4.0), modality="PT")}
CINE = {"cine": image_of((8.0, 1.5, 1.5), (6, 1, 3, 20, 20))}

EXAMPLES = {
    "volume": ({}, T1, {}),
    "nnunet": ({"kind": "nnunet"}, T1, {}),
    "isotropic": ({"kind": "isotropic"}, T1, {}),
    "native": ({"kind": "native"}, T1, {}),
    "slices2d": ({"kind": "slices2d"}, T1, {}),
    "frames": ({"kind": "frames"}, {}, {"videos": {"v": video()}}),
    "clips": ({"kind": "clips"}, CINE, {}),
    "pairs": ({"kind": "pairs", "channels": ["ct", "pet"], "relation": "views"}, PAIR, {}),
}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_plan_of_every_kind_survives_being_stored_with_its_digest_and_its_reasons(kind):
    declaration, images, contents = EXAMPLES[kind]
    plan = resolve(declaration, images, **contents)
    again = Plan.from_json(json.loads(canonical_json(plan.to_document())))
    assert (again, again.digest, dict(again.reasons)) == (plan, plan.digest, dict(plan.reasons))
    assert plan.kind == kind


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_number_that_follows_from_the_cases_says_where_it_comes_from(kind):
    declaration, images, contents = EXAMPLES[kind]
    plan = resolve(declaration, images, **contents)
    numbers = {"channels", "patch_size", "inner_chunk", *(f"intensity.{name}" for name in plan.intensity)}
    if plan.spacing_mm is not None:
        numbers.add("spacing_mm")
    assert numbers <= plan.reasons.keys()


def test_reasons_are_no_part_of_what_a_plan_is():
    plan = resolve({}, T1)
    assert "reasons" not in plan.to_json()
    assert "2 cases" in resolve({}, T1, T1).reasons["spacing_mm"]
    assert resolve({}, T1, T1).digest == plan.digest


def test_a_plan_that_says_nothing_new_is_stored_as_plans_were_before_there_were_kinds():
    fields = set(resolve({}, T1).to_json())
    assert fields == {
        *("format_version", "name", "entry", "recipe_digest", "channels", "spacing_mm", "kernel", "antialias"),
        *("patch_size", "inner_chunk", "shard_bytes", "intensity"),
    }
    tiles = Plan(
        name="p", entry="e", recipe_digest="", channels=("s",), spacing_mm=None, tiles=TileRule(), kind="tiles"
    )
    assert "kind" not in tiles.to_json()
    assert Plan.from_json(json.loads(canonical_json(tiles.to_json()))) == tiles


def test_a_plan_of_a_newer_medshard_is_refused_by_the_field_that_it_has():
    document = {**resolve({}, T1).to_json(), "wavelets": 3}
    with pytest.raises(StoreError, match="wavelets") as caught:
        Plan.from_json(document)
    assert caught.value.code == "plan.format_version"


def test_isotropic_takes_the_voxel_size_in_the_plane_along_whichever_axis_a_case_is_sliced():
    assert isotropic_spacing([(5.0, 0.8, 0.7), (0.9, 4.0, 0.9), (1.0, 1.0, 1.0)]) == (0.9, 0.9, 0.9)
    assert resolve({"kind": "isotropic"}, T1).spacing_mm == (1.0, 1.0, 1.0)
    stated = resolve({"kind": "isotropic", "spacing_mm": 1.5}, T1)
    assert (stated.spacing_mm, stated.reasons["spacing_mm"], stated.patch_size) == ((1.5,) * 3, "stated", (96, 96, 96))


def test_native_keeps_every_grid():
    assert resolve({"kind": "native"}, T1).spacing_mm is None


@pytest.mark.parametrize(
    ("spacing", "declared", "axis", "patch"),
    [
        ((3.0, 1.0, 1.0), {}, 0, (1, 256, 256)),
        ((1.0, 1.0, 3.0), {}, 2, (256, 256, 1)),
        ((1.0, 1.0, 1.0), {}, 0, (1, 256, 256)),
        ((3.0, 1.0, 1.0), {"slice_axis": "y"}, 1, (256, 1, 256)),
    ],
)
def test_slices_lie_across_the_longest_voxels_and_a_chunk_is_of_one_slice(spacing, declared, axis, patch):
    plan = resolve({"kind": "slices2d", **declared}, {"t1": image_of(spacing)})
    assert (plan.slice_axis, plan.patch_size) == (axis, patch)
    assert plan.inner_chunk[axis] == 1


def test_flat_pictures_are_slices_as_they_are():
    plan = resolve({"kind": "slices2d"}, {"photo": image_of((1, 1, 1), (3, 1, 30, 30), trusted=False)})
    assert (plan.spacing_mm, plan.slice_axis) == (None, 0)


def test_nnunet_filters_nothing_and_stores_what_it_normalised():
    plan = resolve({"kind": "nnunet"}, {"ct": image_of(modality="CT")})
    assert (plan.antialias, plan.kernel, plan.stored, plan.crop_to_nonzero) == (False, "cubic", "normalised", True)
    assert plan.intensity["ct"].scheme == "dataset"
    assert plan.intensity["ct"].clip is not None


def test_every_case_counts_the_same_for_nnunet_however_large_its_foreground_is():
    large, small = image_of(shape=(1, 20, 40, 40), modality="CT"), image_of(shape=(1, 4, 10, 10), modality="CT")
    small = small.with_grid(small.array + 500, small.affine)
    cases = ({"ct": large}, {"ct": small})
    body = [image["ct"].array[image["ct"].array > -500].astype(float) for image in cases]
    plan, voxels = resolve({"kind": "nnunet"}, *cases), resolve({}, *cases)
    assert plan.intensity["ct"].mean == pytest.approx(np.mean([values.mean() for values in body]), rel=1e-4)
    assert voxels.intensity["CT"].mean == pytest.approx(np.concatenate(body).mean(), rel=1e-4)


def test_several_channels_are_normalised_each_by_itself_and_the_colours_of_a_picture_together():
    assert resolve({"channels": ["ct", "pet"]}, PAIR).stored == "normalised"
    assert set(resolve({"channels": ["ct", "pet"]}, PAIR).intensity) == {"ct", "pet"}
    assert resolve({}, {"mr": image_of(shape=(2, 8, 20, 22))}).stored == "normalised"
    assert resolve({}, {"photo": image_of((1, 1, 1), (3, 1, 30, 30), trusted=False)}).stored == "physical"
    assert dict(resolve({}, T1).intensity) == {"MR": IntensityRule(scheme="case")}


def test_clips_of_a_moving_image_are_resampled_in_the_plane():
    plan = resolve({"kind": "clips", "clip_frames": 6}, CINE)
    assert (plan.clips, plan.slice_axis, plan.patch_size[0]) == (ClipRule(length=6), 0, 6)
    assert plan.spacing_mm == (8.0, 1.5, 1.5)


def test_clips_of_a_video():
    declared = {"kind": "clips", "clip_frames": 8, "clip_hz": 10, "most_clips": 3}
    plan = resolve(declared, {}, videos={"v": video()})
    assert (plan.clips, plan.spacing_mm) == (ClipRule(length=8, rate_hz=10.0, most=3), None)


def test_videos_without_a_declared_kind_become_frames():
    assert resolve({"frames_hz": 2}, {}, videos={"v": video()}).frames == FrameRule(rate_hz=2.0)


@pytest.mark.parametrize(
    ("relation", "channels", "others"), [("grids", ("ct", "pet"), ()), ("views", ("ct",), ("pet",))]
)
def test_the_relation_of_a_pair_decides_whether_images_share_a_grid(relation, channels, others):
    plan = resolve({"kind": "pairs", "channels": ["ct", "pet"], "relation": relation}, PAIR)
    assert plan.channels == channels
    assert plan.pairs == PairRule(relation=relation, others=others)


@pytest.mark.parametrize(
    ("declaration", "images", "contents", "fitting"),
    [
        ({"kind": "tiles"}, T1, {}, "isotropic"),
        ({"kind": "clips"}, T1, {}, "slices2d"),
        ({"kind": "nnunet"}, {}, {"videos": {"v": video()}}, "frames, clips"),
        ({"kind": "nnunet"}, CINE, {}, "clips"),
        ({"kind": "isotropic"}, {"photo": image_of((1, 1, 1), (3, 1, 9, 9), trusted=False)}, {}, "native"),
        ({"kind": "pairs", "channels": ["t1", "t1"], "relation": "views"}, T1, {}, "native"),
    ],
)
def test_a_kind_that_does_not_fit_is_refused_with_those_that_do(declaration, images, contents, fitting):
    with pytest.raises(CatalogError, match=fitting) as caught:
        resolve(declaration, images, **contents)
    assert caught.value.code == "plan.kind"


def test_a_declared_image_that_no_case_has_is_refused_by_name():
    with pytest.raises(CatalogError, match="adc") as caught:
        resolve({"kind": "pairs", "channels": ["ct", "adc"], "relation": "grids"}, PAIR)
    assert caught.value.code == "plan.no_such_image"


@pytest.mark.parametrize(
    ("declaration", "field"),
    [
        ({"kind": "nnunet", "antialias": True}, "antialias"),
        ({"kind": "nnunet", "spacing_mm": "native"}, "spacing_mm"),
        ({"kind": "isotropic", "spacing_mm": [1, 1, 1]}, "spacing_mm"),
        ({"kind": "native", "tile_size": 64}, "tile_size"),
        ({"kind": "pairs", "channels": ["ct", "pet"]}, "relation"),
        ({"kind": "pairs", "channels": ["ct"], "relation": "views"}, "channels"),
        ({"kind": "octree"}, "kind"),
        ({"relation": "views"}, "relation"),
        ({"clip_frames": 3}, "clip_frames"),
    ],
)
def test_a_field_that_is_not_of_the_kind_is_refused_by_its_name(declaration, field):
    with pytest.raises(CatalogError) as caught:
        resolve(declaration, PAIR)
    assert (caught.value.code, caught.value.where) == ("plan.wrong_value", f"e plans.p.{field}")


def test_every_kind_has_its_rules_and_every_field_says_what_it_expects():
    kinds = {kind for kinds in KINDS_OF_FIELD.values() for kind in kinds}
    assert kinds | {"native"} == set(RULES)
    assert set(EXPECTED) == set(PlanDeclaration.model_fields)
    assert fitting_kinds(("t1",), facts_of(T1))[0] == "volume"


def test_a_reference_of_several_channels_has_its_rule_by_name_and_views_theirs_by_modality():
    ct = image_of((2.0, 1.0, 1.0), (2, 6, 20, 20), modality="CT")
    plan = resolve(
        {"kind": "pairs", "channels": ["fixed", "pet"], "relation": "registration"}, {"fixed": ct, "pet": PAIR["pet"]}
    )
    assert (plan.channels, plan.stored) == (("fixed",), "normalised")
    assert plan.intensity["fixed"].scheme == "dataset"
    assert {"fixed", "PT"} <= plan.intensity.keys()
    assert {"intensity.fixed", "intensity.PT"} <= plan.reasons.keys()
    (first, _) = array_channels(plan.channels, [ct], plan)
    assert first.rule == plan.intensity["fixed"]
    single = resolve({"kind": "pairs", "channels": ["ct", "pet"], "relation": "registration"}, PAIR)
    assert (single.stored, set(single.intensity)) == ("physical", {"CT", "PT"})
