"""Plans of the kind nnunet: the spacing, shape, crop and voxels that nnU-Net 2.8.1 itself makes of the same cases.

nnU-Net runs where MEDSHARD_PEERS names a Python that has it. What it said of the made cases is recorded beside this
file and compared everywhere; MEDSHARD_RECORD_NNUNET=FILE makes the live test write that record anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_nnunet_cases import PeerResult, ask_nnunet, made_data_sets
from scipy import ndimage

from medshard.converters.canonical import read_volume
from medshard.converters.fingerprint import fingerprint_volume
from medshard.converters.plan import Plan
from medshard.converters.plan_resolution import resolve_plan
from medshard.converters.plan_spacing import nnunet_shape, nnunet_spacing
from medshard.converters.samples import Sample, make_sample
from medshard.converters.volume import Volume
from medshard.pipelines.build import build
from medshard.registry import Catalog
from medshard.registry.store import Store, read_manifest
from medshard.registry.store.manifests import require_head

RECORDED = Path(__file__).parent / "nnunet_recorded.json"
PROBES = 200
# Of float32 sums in another order, in normalised units.
ROUNDING = 2e-5
SIX_DIGITS = 5e-6

DATA_SETS = made_data_sets()
needs_nnunet = pytest.mark.skipif("MEDSHARD_PEERS" not in os.environ, reason="MEDSHARD_PEERS names no Python")


def plan_of(volumes: list[Volume], **declared: Any) -> Plan:
    facts = {volume.case: fingerprint_volume(volume) for volume in volumes}
    channels = list(volumes[0].images)
    return resolve_plan("nnunet", "made", {"kind": "nnunet", "channels": channels, **declared}, facts)


def normalised(sample: Sample) -> np.ndarray:
    assert sample.image is not None
    return sample.image * np.float32(sample.slope) + np.float32(sample.intercept)


def assert_equal(plan: Plan, volumes: list[Volume], theirs: PeerResult) -> None:
    """Spacing to 6 digits, shape and crop exactly, voxels to the step that the sample states, labels exactly."""
    assert plan.spacing_mm == pytest.approx(theirs.spacing, rel=SIX_DIGITS)
    assert plan.transpose == theirs.transpose
    assert {plan.mask_zeros} == set(theirs.mask) or theirs.schemes == ("CTNormalization",)
    for volume in volumes:
        sample, case = make_sample(volume, plan), theirs.cases[volume.case]
        (label,) = sample.labels.values()
        assert sample.grids[plan.channels[0]].crop == case.crop
        assert normalised(sample).shape == case.data.shape
        assert np.abs(normalised(sample) - case.data).max() <= sample.quantisation_error + ROUNDING
        assert np.array_equal(label.array, case.seg)


@needs_nnunet
def test_nnunet_itself_makes_the_same_of_real_and_made_cases(tmp_path: Path) -> None:
    data_sets = {**DATA_SETS, **real_data_sets(tmp_path)}
    asked = {name: (volumes, plan_of(volumes)) for name, volumes in data_sets.items()}
    found = ask_nnunet(os.environ["MEDSHARD_PEERS"], tmp_path / "peer", asked)
    record = os.environ.get("MEDSHARD_RECORD_NNUNET")
    if record:
        Path(record).write_text(recorded({name: found[name] for name in DATA_SETS}))
    for name, (volumes, plan) in asked.items():
        assert_equal(plan, volumes, found[name])
    for name in ("ct", "real_ct"):
        (rule,) = asked[name][1].intensity.values()
        own = found[name].intensity["0"]
        # It draws voxels with replacement, as many of each case: its numbers have a sampling error of their own.
        assert rule.mean == pytest.approx(own["mean"], abs=0.01 * own["std"])
        assert rule.std == pytest.approx(own["std"], rel=0.01)
        assert rule.clip == pytest.approx((own["percentile_00_5"], own["percentile_99_5"]), abs=0.03 * own["std"])


def real_data_sets(folder: Path) -> dict[str, list[Volume]]:
    """Head MRs and chest CTs of PyRadiomics, every second voxel in the plane to save time."""
    store = Store.open(folder / "real")
    build(store, "pyradiomics-cases", catalog=Catalog.load(), to="volumes")
    manifest = read_manifest(store, require_head(store, "pyradiomics-cases", "volumes").manifest)
    volumes = {record.case: halved(read_volume(store.path(record.output))) for record in manifest.good if record.output}
    return {
        "real_ct": [volumes[case] for case in ("lung1", "lung2")],
        "real_mr": [volumes[case] for case in ("brain1", "brain2", "breast1")],
    }


def halved(volume: Volume) -> Volume:
    coarser = np.diag([1.0, 2.0, 2.0, 1.0])
    parts = (slice(None), slice(None), slice(None, None, 2), slice(None, None, 2))
    images = {
        name: image.with_grid(np.ascontiguousarray(image.array[parts]), image.affine @ coarser)
        for name, image in volume.images.items()
    }
    labels = {
        name: layer.with_grid(np.ascontiguousarray(layer.array[parts]), layer.affine @ coarser)
        for name, layer in volume.labels.items()
    }
    return Volume(entry=volume.entry, case=volume.case, patient=volume.patient, images=images, labels=labels)


def recorded(found: dict[str, PeerResult]) -> str:
    """What nnU-Net said of the made cases: facts, and voxels at places that a seed chooses."""
    document = {
        name: {
            "spacing": result.spacing,
            "transpose": result.transpose,
            "schemes": result.schemes,
            "mask": result.mask,
            "cases": {
                case: {
                    "shape": made.data.shape,
                    "crop": made.crop,
                    "data": [round(float(value), 6) for value in probes(made.data)],
                    "seg": [int(value) for value in probes(made.seg)],
                    "labelled": np.bincount(made.seg.ravel().astype(np.int64)).tolist(),
                }
                for case, made in result.cases.items()
            },
        }
        for name, result in found.items()
    }
    return json.dumps(document, indent=1) + "\n"


def probes(array: np.ndarray) -> np.ndarray:
    return array.ravel()[np.random.default_rng(0).integers(0, array.size, PROBES)]


@pytest.mark.parametrize("name", DATA_SETS)
def test_samples_have_the_voxels_that_nnunet_was_seen_to_make(name: str) -> None:
    theirs = json.loads(RECORDED.read_text())[name]
    volumes = DATA_SETS[name]
    plan = plan_of(volumes)
    assert plan.spacing_mm == pytest.approx(theirs["spacing"], rel=SIX_DIGITS)
    assert list(plan.transpose or ()) == theirs["transpose"]
    if "ZScoreNormalization" in theirs["schemes"]:
        assert [plan.mask_zeros] * len(plan.channels) == theirs["mask"]
    for volume in volumes:
        case, sample = theirs["cases"][volume.case], make_sample(volume, plan)
        (label,) = sample.labels.values()
        assert sample.image is not None
        assert list(sample.image.shape) == case["shape"]
        assert [list(side) for side in sample.grids[plan.channels[0]].crop or ()] == case["crop"]
        difference = np.abs(probes(normalised(sample)) - case["data"]).max()
        assert difference <= sample.quantisation_error + ROUNDING
        assert probes(label.array).tolist() == case["seg"]
        assert np.bincount(label.array.ravel()).tolist() == case["labelled"]


def test_the_steps_are_those_of_the_formula_worked_out_by_other_means() -> None:
    """Crop, z-score inside the body, cubic zoom, clip: numpy and scipy alone."""
    volume = DATA_SETS["masked"][0]
    plan = plan_of(DATA_SETS["masked"])
    sample = make_sample(volume, plan)
    values = np.concatenate([image.array for image in volume.images.values()]).astype(np.float64)
    body = ndimage.binary_fill_holes((values != 0).any(axis=0))
    box = ndimage.find_objects(body.astype(np.uint8))[0]
    values, body = values[(slice(None), *box)], body[box]
    made = normalised(sample)
    for channel, ours in zip(values, made, strict=True):
        scored = np.where(body, (channel - channel[body].mean()) / channel[body].std(), 0.0)
        factors = np.array(ours.shape) / scored.shape
        zoomed = ndimage.zoom(scored, factors, order=3, mode="nearest", grid_mode=True)
        expected = np.clip(zoomed, scored.min(), scored.max())
        assert np.abs(ours - expected).max() <= sample.quantisation_error + 1e-4


def test_what_was_normalised_can_be_brought_back_channel_by_channel() -> None:
    volume = DATA_SETS["masked"][0]
    plan = plan_of(DATA_SETS["masked"], spacing_mm=list(volume.images["channel0"].spacing_mm))
    sample = make_sample(volume, plan)
    crop = sample.grids["channel0"].crop
    assert crop is not None
    box = tuple(slice(*side) for side in crop)
    assert sample.unit == "normalised"
    for scale, ours, image in zip(sample.channels, normalised(sample), volume.images.values(), strict=True):
        body = ndimage.binary_fill_holes((volume.images["channel0"].array[0] != 0)[box])
        back = ours * scale.slope + scale.intercept
        assert scale.masked
        assert np.abs(back - image.array[0][box])[body].max() <= sample.quantisation_error * scale.slope + 1e-2
        assert np.all(ours[~body] == 0.0)


def test_a_ct_on_its_own_grid_keeps_every_hounsfield_unit() -> None:
    volume = DATA_SETS["ct"][0]
    plan = plan_of(DATA_SETS["ct"], spacing_mm=list(volume.images["channel0"].spacing_mm))
    sample = make_sample(volume, plan)
    (scale,) = sample.channels
    assert scale.clip is not None
    back = normalised(sample) * scale.slope + scale.intercept
    whole = np.clip(volume.images["channel0"].array, np.ceil(scale.clip[0]), np.floor(scale.clip[1]))
    inside = volume.images["channel0"].array == whole
    assert np.abs(back - whole)[inside].max() < 1e-3


def test_labels_do_not_tell_where_the_body_is() -> None:
    """nnU-Net counts labelled voxels outside of the body in, and so the label shows in the image; here they stay 0."""
    volume = DATA_SETS["masked"][0]
    layer = volume.labels["organs"]
    far = layer.array.copy()
    corner = np.argwhere(volume.images["channel0"].array[0] != 0)[0]
    far[0, corner[0], 8:12, 8:12] = 2
    moved = Volume(
        entry="made", case="a", patient="a", images=volume.images, labels={"organs": layer.with_grid(far, layer.affine)}
    )
    plan = plan_of(DATA_SETS["masked"])
    assert np.array_equal(make_sample(moved, plan).image, make_sample(volume, plan).image)


@pytest.mark.parametrize(
    ("spacings", "expected"),
    [
        ([(5.0, 1.0, 1.0), (5.0, 1.0, 1.0), (2.0, 1.0, 1.0)], (2.6, 1.0, 1.0)),
        ([(0.5, 1.0, 1.0), (9.0, 1.0, 1.0), (9.0, 1.0, 1.0)], (2.2, 1.0, 1.0)),
        ([(0.1, 1.0, 1.0), (0.1, 1.0, 1.0), (9.0, 1.0, 1.0), (9.0, 1.0, 1.0), (9.0, 1.0, 1.0)], (1.00001, 1.0, 1.0)),
        ([(2.0, 1.0, 1.0), (3.0, 1.0, 1.0)], (2.5, 1.0, 1.0)),
    ],
    ids=["percentile", "percentile of few", "never thinner than the plane", "median"],
)
def test_thick_slices_take_the_percentile_as_nnunet_has_it(spacings: list[Any], expected: tuple[float, ...]) -> None:
    assert nnunet_spacing(spacings, [(20, 200, 200)] * len(spacings)) == pytest.approx(expected, rel=1e-6)


def test_halves_of_a_voxel_go_to_the_even_number() -> None:
    assert nnunet_shape((25, 25, 3), (2.5, 2.5, 1.0), (1.0, 5.0, 2.0)) == (62, 12, 2)


def test_cases_without_labels_do_not_move_the_plan_of_those_that_have_them() -> None:
    labelled = DATA_SETS["ct"]
    extra = Volume(entry="made", case="z", patient="z", images=DATA_SETS["thick"][0].images)
    assert plan_of([*labelled, extra]).spacing_mm == plan_of(labelled).spacing_mm
    assert (
        make_sample(Volume(entry="made", case="z", patient="z", images=labelled[0].images), plan_of(labelled)).labels
        == {}
    )
