"""Plans of the entry and of the user: frozen once, refused where they do not fit, and what they make of cases."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest
from made_builds import catalog_of

from medshard.converters.fingerprint import fingerprint_volume
from medshard.converters.plan import Plan, read_plan
from medshard.converters.plan_resolution import resolve_plan
from medshard.converters.samples import make_sample
from medshard.converters.volume import Image, LabelLayer, Volume
from medshard.errors import CatalogError
from medshard.loaders.normalisation import normalisation_of
from medshard.loaders.shard_reader import SampleIndex
from medshard.pipelines.build import build
from medshard.pipelines.stages.shards import BASE_BYTES, bytes_needed
from medshard.pipelines.stages.stage import StageResult
from medshard.pipelines.user_plans import PLANS_VARIABLE, read_plan_file, user_plans
from medshard.registry import Catalog
from medshard.registry.store import Store
from medshard.registry.store.manifests import require_head
from medshard.registry.store.records import CaseRecord

# Slabs have a size of their own, whatever the image: a part of what every case is given.
SLABS_BYTES = BASE_BYTES // 4

GROUP = {
    "modality": "MR",
    "case": "{n}",
    "patient": "{n}",
    "images": {"mr": {"path": "{n}_mr.nii"}},
    "labels": {"organs": {"path": "{n}_seg.nii", "classes": {1: "liver"}, "optional": True}},
}


def write_case(folder: Path, number: int, *, spacing: float = 1.0, labelled: bool = True) -> None:
    values = np.random.default_rng(number).integers(1, 900, (14, 16, 8)).astype(np.int16)
    affine = np.diag([spacing, spacing, 3.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(values, affine), folder / f"{number}_mr.nii")
    if labelled:
        marked = np.zeros(values.shape, np.uint8)
        marked[3:9, 4:12, 2:6] = 1
        nibabel.save(nibabel.Nifti1Image(marked, affine), folder / f"{number}_seg.nii")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for number in (1, 2):
        write_case(folder, number, spacing=float(number))
    write_case(folder, 3, spacing=2.0, labelled=False)
    return folder


@pytest.fixture
def plan_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "plans.yaml"
    file.write_text("like_nnunet: {kind: nnunet}\nwhole: {kind: native}\ncine: {kind: clips}\n", encoding="utf8")
    monkeypatch.setenv(PLANS_VARIABLE, str(file))
    return file


def shards_of(store: Store, catalog: Catalog, plan: str) -> StageResult:
    return build(store, "made-entry", catalog=catalog, plan=plan)[-1]


def frozen(store: Store, name: str) -> Plan:
    return read_plan(store, require_head(store, "made-entry", "fingerprint").attachments[f"plan-{name}"])


def test_plans_of_a_file_stand_beside_those_of_the_entry(source: Path, plan_file: Path, store: Store) -> None:
    catalog = catalog_of(source, GROUP)
    assert frozen_kinds(store, catalog) == {"default": "volume", "like_nnunet": "nnunet", "whole": "native"}
    assert shards_of(store, catalog, "whole").manifest.plan == frozen(store, "whole").digest


def frozen_kinds(store: Store, catalog: Catalog) -> dict[str, str]:
    build(store, "made-entry", catalog=catalog, to="fingerprint")
    attachments = require_head(store, "made-entry", "fingerprint").attachments
    return {
        name.removeprefix("plan-"): read_plan(store, ref).kind
        for name, ref in attachments.items()
        if name.startswith("plan-")
    }


def test_a_plan_that_does_not_fit_stops_no_other_and_is_refused_when_it_is_asked_for(
    source: Path, plan_file: Path, store: Store
) -> None:
    catalog = catalog_of(source, GROUP)
    shards_of(store, catalog, "default")
    with pytest.raises(CatalogError, match="nnunet, isotropic, native, slices2d") as caught:
        shards_of(store, catalog, "cine")
    assert caught.value.code == "plan.kind"


def test_a_frozen_plan_stays_when_cases_are_added_and_while_nobody_declares_it(
    source: Path, plan_file: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = catalog_of(source, GROUP)
    build(store, "made-entry", catalog=catalog, to="fingerprint")
    before = frozen(store, "like_nnunet")
    monkeypatch.delenv(PLANS_VARIABLE)
    write_case(source, 4, spacing=7.0)
    build(store, "made-entry", catalog=catalog, to="fingerprint")
    monkeypatch.setenv(PLANS_VARIABLE, str(plan_file))
    build(store, "made-entry", catalog=catalog, to="fingerprint")
    assert frozen(store, "like_nnunet") == before
    assert "2 cases" in before.reasons["spacing_mm"]
    plan_file.write_text("like_nnunet: {kind: nnunet, shard_mib: 64}\n", encoding="utf8")
    build(store, "made-entry", catalog=catalog, to="fingerprint")
    assert frozen(store, "like_nnunet").spacing_mm != before.spacing_mm


def test_a_plan_that_nobody_declares_is_refused_by_name(source: Path, store: Store) -> None:
    with pytest.raises(CatalogError, match="default") as caught:
        shards_of(store, catalog_of(source, GROUP), "like_nnunet")
    assert caught.value.code == "plan.unknown"


def test_what_nnunet_would_normalise_comes_out_of_the_shards_normalised(
    source: Path, plan_file: Path, store: Store
) -> None:
    result = shards_of(store, catalog_of(source, GROUP), "like_nnunet")
    index = SampleIndex.open(store, "made-entry", "like_nnunet")
    for record in result.manifest.good:
        row = index.find(record.case)
        values = normalisation_of(row, index.plan).apply(index.read_array(row, "image").astype(np.float32))
        assert abs(values.mean()) < 0.05
        assert row.unit == "normalised"
        physical = normalisation_of(row, index.plan, normalise=False)
        back = physical.apply(index.read_array(row, "image").astype(np.float32))
        assert back.min() > -60.0
        assert 380.0 < back.mean() < 520.0
        # Outside of the volume nnU-Net has zeros.
        assert normalisation_of(row, index.plan).padding == 0.0


@pytest.mark.parametrize("plan", ["default", "like_nnunet", "whole"])
def test_a_case_without_labels_is_a_sample_without_labels(
    source: Path, plan_file: Path, store: Store, plan: str
) -> None:
    shards_of(store, catalog_of(source, GROUP), plan)
    index = SampleIndex.open(store, "made-entry", plan)
    labelled, bare = index.find("1"), index.find("3")
    assert set(labelled.labels) == {"organs"}
    assert (dict(bare.labels), "image" in bare.arrays) == ({}, True)


def test_made_up_cases_say_so_in_the_shards(source: Path, store: Store) -> None:
    result = shards_of(store, catalog_of(source, {**GROUP, "synthetic": True, "split": "train"}), "default")
    assert {record.facts["synthetic"] for record in result.manifest.good} == {True}
    row = SampleIndex.open(store, "made-entry", "default").find("1")
    assert (row.synthetic, row.group, row.split) == (True, "abdomen", "train")


@pytest.mark.parametrize(
    ("text", "words", "code"),
    [
        ("a: {kind: octree}\n", "plans.yaml:1 a.kind", "plan.wrong_value"),
        ("\nb: {colour: 3}\n", "plans.yaml:2", "plan.unknown_key"),
        ("c: 3\n", "plans.yaml:1", "plan.file"),
        ("'d e': {kind: native}\n", "letters, digits", "plan.file"),
        ("- a\n", "names of plans", "plan.file"),
        ("a: {kind: native\n", "not YAML", "plan.file"),
        ("a: {}\na: {}\n", "plans.yaml:2", "plan.file"),
    ],
)
def test_a_faulty_file_of_plans_is_refused_with_its_line(tmp_path: Path, text: str, words: str, code: str) -> None:
    file = tmp_path / "plans.yaml"
    file.write_text(text, encoding="utf8")
    with pytest.raises(CatalogError) as caught:
        read_plan_file(file)
    assert words in str(caught.value)
    assert caught.value.code == code


def test_a_missing_file_and_a_name_that_two_files_have_are_refused(tmp_path: Path) -> None:
    for name in ("one.yaml", "two.yaml"):
        (tmp_path / name).write_text("whole: {kind: native}\n", encoding="utf8")
    with pytest.raises(CatalogError, match="cannot be read"):
        user_plans(str(tmp_path / "none.yaml"))
    with pytest.raises(CatalogError, match="whole") as caught:
        user_plans(f"{tmp_path / 'one.yaml'}:{tmp_path / 'two.yaml'}")
    assert caught.value.code == "plan.name_taken"


def test_a_plan_of_a_file_takes_no_name_of_the_entry_s(source: Path, plan_file: Path, store: Store) -> None:
    plan_file.write_text("default: {kind: native}\n", encoding="utf8")
    with pytest.raises(CatalogError) as caught:
        build(store, "made-entry", catalog=catalog_of(source, GROUP), to="fingerprint")
    assert caught.value.code == "plan.name_taken"


def moving_or_still(shape: tuple[int, ...]) -> Image:
    array = np.random.default_rng(0).integers(1, 900, shape).astype(np.int16)
    return Image(array=array, affine=np.eye(4)[:, [2, 1, 0, 3]] @ np.diag([3.0, 1.0, 1.0, 1.0]), modality="MR")


@pytest.mark.parametrize(
    ("declaration", "shape", "labelled"),
    [
        ({"spacing_mm": [1.5, 0.8, 0.8]}, (1, 40, 128, 128), False),
        ({"spacing_mm": [1.5, 0.8, 0.8]}, (1, 40, 128, 128), True),
        ({"kind": "nnunet", "spacing_mm": [1.5, 0.8, 0.8]}, (1, 40, 128, 128), True),
        ({"kind": "clips", "spacing_mm": [3.0, 0.8, 0.8]}, (12, 1, 6, 128, 128), False),
        ({"kind": "slices2d", "spacing_mm": [3.0, 0.5, 0.5]}, (3, 1, 512, 512), False),
        ({"kind": "native"}, (3, 1, 512, 512), False),
    ],
)
def test_the_memory_that_a_sample_is_given_is_enough_and_not_ten_times_too_much(
    declaration: dict[str, object], shape: tuple[int, ...], labelled: bool
) -> None:
    image = moving_or_still(shape)
    labels = np.zeros((1, *image.shape), np.uint8)
    labels[0, image.shape[0] // 4 :, 20:90, 20:90] = 1
    layer = LabelLayer(array=labels, affine=image.affine, classes={1: "liver"}, examined=("liver",))
    volume = Volume(
        entry="e", case="c", patient="p", images={"mr": image}, labels={"organs": layer} if labelled else {}
    )
    plan = resolve_plan("p", "e", declaration, {"c": fingerprint_volume(volume)})
    facts = {
        "images": {"mr": {"shape": list(shape), "dtype": "int16", "spacing_mm": list(image.spacing_mm)}},
        "labels": {"organs": {}} if labelled else {},
    }
    record = CaseRecord(stage="volumes", entry="e", case="c", key="", code_version="", facts=facts)
    make_sample(volume, plan)  # tables that are made once
    tracemalloc.start()
    make_sample(volume, plan)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    allowed = bytes_needed(record, plan) - image.array.nbytes - BASE_BYTES
    assert peak <= allowed + SLABS_BYTES
    assert allowed <= 10 * peak
