"""Sketches of many cases: the same in whatever order they are merged, and as true as they say."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import nnunet_fingerprint
import numpy as np
import pydicom
import pydicom.data
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.converters.fingerprint import (
    fingerprint_volume,
    merge_foregrounds,
    merge_sketches,
    sketch_from_json,
    sketch_of_cases,
    sketch_to_json,
    summary_of,
)
from medshard.converters.fingerprint.tally import EXACT, Tally, merge_tallies
from medshard.converters.fingerprint.value_table import cell_counts
from medshard.converters.volume import Image, LabelLayer, Rescale, Volume
from medshard.registry.store.digests import canonical_json

PEERS = os.environ.get("MEDSHARD_PEERS")
# What nnunetv2 2.8.1 said of `ct_and_mr()`: a draw of 2,000,000 voxels a case, and the scatter of its usual draws.
RECORDED: dict[str, Any] = {
    "large": {"mean": 1233.5585, "std": 228.8428, "p0_5": 908.0, "p50": 1176.0, "p99_5": 2033.0},
    "spread": {"mean": 1.4568, "std": 1.2190, "p0_5": 0.6153, "p50": 2.5276, "p99_5": 10.0082},
    "boxes": [[[0, 1], [0, 128], [0, 128]], [[0, 1], [5, 64], [0, 57]]],
}


def volume_of(seed: int, *, modality: str = "CT", labelled: bool = True) -> Volume:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(2, 9, 3))
    affine = np.diag([*rng.choice([0.5, 0.7, 1.0, 2.5, 3.0], 3), 1.0])
    array = np.rint(rng.normal(rng.normal(40, 200), 80, (1, *shape))).astype(np.int16)
    unit = "HU" if modality == "CT" else "arbitrary"
    image = Image(array=array, affine=affine, modality=modality, rescale=Rescale(unit=unit))
    classes = {1: "liver", 2: f"organ {seed % 3}"}
    labels = rng.integers(0, 3, (1, *shape)).astype(np.uint8)
    layer = LabelLayer(array=labels, affine=affine, classes=classes, examined=tuple(classes.values()))
    return Volume(
        entry="e",
        case=str(seed),
        patient="p",
        images={modality.lower(): image},
        labels={"organs": layer} if labelled else {},
    )


def sketch_of(seed: int, **fields: Any) -> dict[str, Any]:
    return sketch_of_cases(
        {str(seed): fingerprint_volume(volume_of(seed, **fields), quantiles=16)}, f"entry-{seed % 2}"
    )


def written(sketch: dict[str, Any]) -> bytes:
    return canonical_json(sketch_to_json(sketch))


CASES = st.lists(
    st.tuples(st.integers(0, 50), st.sampled_from(["CT", "MR"]), st.booleans()), min_size=3, max_size=7, unique=True
)


@settings(max_examples=25, deadline=None)
@given(CASES, st.data())
def test_it_does_not_matter_in_which_order_and_groups_cases_are_merged(cases, data):
    sketches = [sketch_of(seed, modality=modality, labelled=labelled) for seed, modality, labelled in cases]
    together = written(merge_sketches(sketches))
    cut = data.draw(st.integers(1, len(sketches) - 1))
    left, right = merge_sketches(sketches[:cut]), merge_sketches(sketches[cut:])
    assert written(merge_sketches([left, right])) == written(merge_sketches([right, left])) == together
    one_by_one = sketches[0]
    for sketch in data.draw(st.permutations(sketches[1:])):
        one_by_one = merge_sketches([one_by_one, sketch])
    assert written(one_by_one) == together


def test_a_sketch_survives_being_written_and_an_empty_one_changes_nothing():
    sketch = merge_sketches([sketch_of(1), sketch_of(2, modality="MR")])
    read = sketch_from_json(json.loads(written(sketch)))
    assert written(read) == written(sketch)
    assert written(merge_sketches([read, sketch_of_cases({}, "nothing")])) == written(sketch)
    assert summary_of(sketch_of_cases({}, "nothing"))["cases"] == 0


def test_a_selection_of_entries_is_summed_up_without_their_cases():
    entries = [sketch_of_cases({str(n): fingerprint_volume(volume_of(n)) for n in some}, name)
               for name, some in (("one", range(4)), ("two", range(4, 7)))]  # fmt: skip
    merged = summary_of(merge_sketches(entries))
    assert merged["entries"] == {"one": 4, "two": 3}
    assert (merged["cases"], merged["modalities"]) == (7, {"CT": 7})
    steps = np.array([volume_of(n).images["ct"].spacing_mm for n in range(7)])
    np.testing.assert_allclose(merged["grids"]["CT"]["spacing_mm"]["median"], np.median(steps, axis=0), rtol=1e-5)
    inside = np.concatenate([v.images["ct"].array[v.labels["organs"].array > 0] for v in map(volume_of, range(7))])
    foreground = merged["foreground"]["CT"]
    assert foreground["n"] == inside.size
    assert foreground["mean"] == pytest.approx(inside.mean(), rel=1e-4)
    assert foreground["std"] == pytest.approx(inside.std(), rel=1e-4)
    assert foreground["p50"] == np.percentile(inside, 50, method="inverted_cdf")
    liver = [v.images["ct"].array[v.labels["organs"].array == 1] for v in map(volume_of, range(7))]
    told = merged["classes"]["liver"]
    assert (told["cases"], told["voxels"]) == (sum(x.size > 0 for x in liver), sum(x.size for x in liver))
    assert told["intensity"]["CT"]["mean"] == pytest.approx(np.concatenate(liver).mean(), rel=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-(2.0**40), 2.0**40, width=32), min_size=1, max_size=200),
    st.integers(1, 40),
    st.integers(1, 7),
)
def test_a_tally_keeps_within_its_limit_and_within_its_error_wherever_it_was_cut(values, limit, pieces):
    whole = Tally.of(values, np.ones(len(values), int), limit)
    parts = [Tally.of(part, np.ones(len(part), int), limit) for part in np.array_split(values, pieces) if len(part)]
    assert merge_tallies(parts).to_json() == whole.to_json()
    assert len(whole.keys) <= limit or whole.bits == 0
    assert whole.total == len(values)
    exact = np.sort(np.float32(values).astype(np.float64))
    approximate = np.sort(np.repeat(whole.values[:, 0], whole.weights[:, 0]))
    smallest = 2.0**-126  # below it numbers have fewer bits
    assert (np.abs(exact - approximate) <= np.abs(exact) * 2.0**-whole.bits + smallest).all()


def test_a_tally_of_few_values_is_exact():
    values = np.random.default_rng(0).integers(-300, 400, 5000)
    tally = merge_tallies([Tally.of(part, np.ones(len(part), int), 1000) for part in np.array_split(values, 9)])
    assert tally.bits == EXACT
    assert tally.median() == np.median(values)
    for share in (0.005, 0.5, 0.995):
        assert tally.quantile(share) == np.percentile(values, 100 * share, method="inverted_cdf")


@pytest.mark.parametrize("size", [1, 600, 100_000, 3_000_000_000])
def test_cells_hold_every_voxel_and_are_narrow_at_both_ends(size):
    counts = cell_counts(size, 512)
    assert counts.sum() == size
    if size > 1e5:
        shares, reached = counts / size, np.cumsum(counts) / size
        assert shares.max() < 0.003
        assert shares[np.searchsorted(reached, 0.005)] < 0.0006
        assert shares[np.searchsorted(reached, 0.995)] < 0.0006


def test_percentiles_of_many_cases_are_within_the_stated_ranks():
    rng = np.random.default_rng(4)
    values = [(rng.gamma(2, 90, int(n)) - 200).astype(np.float32) for n in rng.integers(5_000, 60_000, 12)]
    merged = merge_foregrounds([foreground_of(part) for part in values])
    together = np.concatenate(values)
    for key, share, error in (("p0_5", 0.005, 0.0006), ("p50", 0.5, 0.003), ("p99_5", 0.995, 0.0006)):
        assert np.mean(together <= merged[key]) == pytest.approx(share, abs=error)


def test_every_case_counts_alike_where_that_is_asked_for():
    small, large = np.full(10, 0.0, np.float32), np.full(10_000, 100.0, np.float32)
    foregrounds = [foreground_of(small), foreground_of(large)]
    assert merge_foregrounds(foregrounds)["mean"] == pytest.approx(99.9001)
    assert merge_foregrounds(foregrounds)["p0_5"] == 100.0
    alike = merge_foregrounds(foregrounds, weigh="cases")
    assert (alike["mean"], alike["std"], alike["p0_5"], alike["p99_5"]) == (50.0, 50.0, 0.0, 100.0)


def test_nnunet_draws_the_same_numbers_from_real_scans(tmp_path):
    """Recorded from nnunetv2; with MEDSHARD_PEERS, the Python of the peers, its own code is asked again."""
    cases = ct_and_mr()
    told = RECORDED
    if PEERS:
        images, labels = zip(*cases, strict=True)
        arrays = {f"image_{n}": a for n, a in enumerate(images)} | {f"label_{n}": a for n, a in enumerate(labels)}
        np.savez(tmp_path / "cases.npz", **arrays)
        script = Path(nnunet_fingerprint.__file__)
        run = subprocess.run([PEERS, script, tmp_path / "cases.npz"], capture_output=True, text=True, check=True)
        told = json.loads(run.stdout.splitlines()[-1])
    images = [fingerprint_volume(labelled(*case))["images"]["scan"] for case in cases]
    assert [image["nonzero_box"] for image in images] == told["boxes"]
    ours = merge_foregrounds([image["foreground"] for image in images], weigh="cases")
    for name, number in told["large"].items():
        assert ours[name] == pytest.approx(number, abs=told["spread"][name]), name


def ct_and_mr() -> list[tuple[Any, Any]]:
    """Two real slices (1, y, x), one cut to zero at its rim, with masks of what is bright: of unlike sizes."""
    found = []
    for name, level in (("CT_small.dcm", 1000), ("MR_small.dcm", 900)):
        image = pydicom.dcmread(pydicom.data.get_testdata_file(name)).pixel_array.astype(np.float32)[None]
        if name == "MR_small.dcm":
            image[:, :5] = image[:, :, -7:] = 0
        found.append((image, (image > level).astype(np.uint8)))
    return found


def labelled(image: Any, label: Any) -> Volume:
    layer = LabelLayer(array=label[None], affine=np.eye(4), classes={1: "bright"}, examined=("bright",))
    scan = Image(array=image[None], affine=np.eye(4), modality="MR")
    return Volume(entry="e", case="c", patient="p", images={"scan": scan}, labels={"mask": layer})


def foreground_of(values: Any) -> Any:
    image = values.reshape(1, 1, -1)
    return fingerprint_volume(labelled(image, np.ones(image.shape, np.uint8)))["images"]["scan"]["foreground"]
