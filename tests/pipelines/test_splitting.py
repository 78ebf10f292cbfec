"""Splits of entries that were built: what the store says of patients, scans, parts as shipped and made cases."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner, Result
from trees.offering import offer
from trees.tree import Tree, made_trees

from medshard.commands.splitting import split as split_command
from medshard.errors import MedshardError
from medshard.pipelines.build import build
from medshard.pipelines.splitting import check_named_split, check_shipped_split, gather_cases, make_named_split
from medshard.pipelines.train import build_split, find_recipe
from medshard.registry import Catalog
from medshard.registry.acquisition.options import AcquisitionOptions
from medshard.registry.catalog import PUBLIC_CATALOG
from medshard.registry.splits import Split, SplitCase, SplitRules, read_split, save_split
from medshard.registry.store import (
    CaseRecord,
    Manifest,
    Store,
    publish_manifest,
    read_head,
    read_manifest,
    swap_head,
)
from medshard.registry.store.manifests import require_head
from medshard.registry.vocabulary import Purpose

# Entries whose split stands in folders, in lists, in a column, or with the group; patients in names and in tables.
SHIPPED = ("3d-rad", "acdc", "atlas-v2-0", "covid-ct", "chestx-ray14", "chexpert", "cmrxmotion", "limuc")

GROUP: dict[str, Any] = {
    "patient": "{patient}",
    "modality": "CT",
    "images": {"ct": {"path": "{part}/{patient}_{visit}_ct.nii.gz"}},
    "labels": {"organs": {"path": "{part}/{patient}_{visit}_mask.nii.gz", "classes": {1: "liver", 2: "spleen"}}},
}


def entry(name: str, *groups: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "title": name,
        "description": "Made for a test.",
        "version": "1",
        "groups": ["abdomen"],
        "modalities": ["CT"],
        "tasks": ["segmentation"],
        "dimensions": [3],
        "licence": {"id": "CC0-1.0"},
        "access": {"kind": "open"},
        "maturity": "described",
        "acquisition": [{"kind": "folder", "path": name}],
        "cases": [{"case": "{part}-{patient}-{visit}", **group} for group in groups],
        **more,
    }


def write(folder: Path, name: str, seed: int, *, spleen: bool = False) -> None:
    """A small scan of noise; the same seed is the same scan."""
    folder.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(seed).integers(-200, 200, (10, 10, 6)).astype(np.int16)
    mask = np.zeros(voxels.shape, np.uint8)
    mask[2:5, 2:5, 2:4] = 1
    mask[6:8, 6:8, 2:4] = 2 * spleen
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), folder / f"{name}_ct.nii.gz")
    nib.save(nib.Nifti1Image(mask, np.eye(4)), folder / f"{name}_mask.nii.gz")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Catalog]:
    """`first` was shipped with p3 in train and test; `second` has a scan of p1 under another name, and made cases."""
    home = tmp_path_factory.mktemp("splits")
    for number in range(8):
        write(home / "first" / ("Te" if number > 5 else "Tr"), f"p{number}_1", number, spleen=number < 4)
    write(home / "first" / "Te", "p3_2", 33)
    for number in range(6):
        write(home / "second" / "all", f"q{number}_1", 1 if number == 0 else 50 + number)
    write(home / "second" / "made", "q1_1", 70)
    write(home / "second" / "made", "q99_1", 71)
    shipped = {**GROUP, "split": {"field": "part", "values": {"Tr": "train", "Te": "test"}}}
    made = {**GROUP, "where": {"part": "made"}, "synthetic": True}
    entries = [
        entry("first", shipped),
        entry("second", {**GROUP, "where": {"part": "all"}}, made),
        entry(
            "third",
            {**GROUP, "patient_basis": "unknown"},
            overlaps=[{"entry": "first", "kind": "shares-cases", "evidence": "Some scans are of the first one."}],
        ),
    ]
    for number in range(4):
        write(home / "third" / "all", f"r{number}_1", 80 + number)
    file = home / "catalog.yaml"
    file.write_text(yaml.safe_dump({"format_version": 1, "entries": entries}, sort_keys=False), encoding="utf8")
    catalog = Catalog.load([file])
    assert catalog.problems == ()
    store = Store.open(home / "store")
    for name in ("first", "second", "third"):
        build(store, name, to="fingerprint", catalog=catalog)
    return store, catalog


@pytest.fixture
def run(built: tuple[Store, Catalog], monkeypatch: pytest.MonkeyPatch) -> Any:
    store, catalog = built
    monkeypatch.setattr(Catalog, "load", lambda: catalog)

    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(split_command, [*map(str, arguments), "--root", str(store.root)])

    return invoke


def by_name(cases: list[SplitCase]) -> dict[tuple[str, str], SplitCase]:
    return {case.name: case for case in cases}


def test_what_a_split_knows_of_a_case(built: tuple[Store, Catalog]) -> None:
    store, catalog = built
    found = by_name(gather_cases(store, catalog, ["first", "second", "third"]).cases)
    one = found["first", "Tr-p1-1"]
    assert (one.patient, one.labelled, one.shipped, one.synthetic, one.patients_known) == (
        "p1",
        True,
        "train",
        False,
        True,
    )
    assert one.strata == ("class:liver", "class:spleen", "modality:CT")
    assert found["first", "Te-p7-1"].strata == ("class:liver", "modality:CT")
    assert one.contents == found["second", "all-q0-1"].contents
    assert found["second", "made-q1-1"].synthetic
    assert not found["third", "all-r1-1"].patients_known


def test_what_is_stated_of_a_case_is_carried_from_stage_to_stage(built: tuple[Store, Catalog]) -> None:
    store, _ = built
    for stage in ("cases", "volumes"):
        head = read_head(store, "second", stage)
        assert head is not None
        facts = {record.case: record.facts for record in read_manifest(store, head.manifest).records}
        assert {case for case, known in facts.items() if known.get("synthetic")} == {"made-q1-1", "made-q99-1"}
    head = read_head(store, "first", "cases")
    assert head is not None
    table = pq.read_table(store.path(head.attachments["table"]), columns=["case", "split", "synthetic"]).to_pylist()
    assert {row["case"]: row["split"] for row in table}["Te-p3-2"] == "test"
    assert not any(row["synthetic"] for row in table)


def test_a_split_is_made_shown_and_checked(built: tuple[Store, Catalog], run: Any) -> None:
    store, _ = built
    made = run("make", "mine", "first", "second", "--fractions", "0.6,0.2,0.2", "--seed", 3)
    assert made.exit_code == 0, made.output
    split = read_split(store, "mine")
    assert split.part_of("first", "Tr-p1-1") == split.part_of("second", "all-q0-1")
    assert split.part_of("first", "Tr-p3-1") == split.part_of("first", "Te-p3-2")
    assert split.part_of("second", "made-q99-1") == "train"
    held = {row.component for row in split.rows if row.part != "train"}
    assert ("second/q1" in held) == (split.part_of("second", "made-q1-1") is None)
    assert {row.shipped for row in split.rows} == {"train", "test", None}
    shown = run("show", "mine")
    assert "class spleen" in shown.output
    assert split.digest in shown.output
    assert json.loads(run("show", "mine", "--json").output)["cases"] == split.counts()
    assert run("show").output == "mine\n"
    assert run("check", "mine").exit_code == 0
    # A taken name goes on from itself, unless it is to be dealt afresh.
    shares = ("--fractions", "0.6,0.2,0.2", "--seed")
    assert split.digest in run("make", "mine", "first", "second", *shares, 3).output
    assert run("make", "mine", "first", "second", *shares, 4).exit_code == 0
    assert read_split(store, "mine").rows == split.rows
    assert run("make", "mine", "first", "second", *shares, 4, "--afresh").exit_code == 0
    assert read_split(store, "mine").rows != split.rows
    assert read_split(store, split.digest) == split


def test_folds_are_made(built: tuple[Store, Catalog], run: Any) -> None:
    store, _ = built
    assert run("make", "crossed", "first", "--folds", 3, "--fractions", "0.75,0.25").exit_code == 0
    split = read_split(store, "crossed")
    assert [len(split.rows_of("val", fold)) > 0 for fold in range(3)] == [True] * 3
    assert "fold 2" in run("show", "crossed").output


def test_a_table_that_leaks_by_what_is_known_today_fails_the_check(
    built: tuple[Store, Catalog], run: Any, tmp_path: Path
) -> None:
    store, catalog = built
    cases = gather_cases(store, catalog, ["first", "second"]).cases
    lines = [
        {"entry": c.entry, "case": c.case, "patient": c.patient, "component": f"{c.entry}/{c.patient}",
         "part": "test" if c.entry == "second" else "train"}
        for c in cases
    ]  # fmt: skip
    file = tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    checked = run("check", file)
    assert checked.exit_code == 1
    assert "patient first/p1" in checked.output
    assert "scan: first/p1 = second/q0" in checked.output
    found = json.loads(run("check", file, "--json").output)
    assert [leak["kind"] for leak in found] == ["patient", "synthetic", "synthetic"]


def test_tied_entries_are_said_and_left_out_for_the_one_that_is_held_out(
    built: tuple[Store, Catalog], run: Any
) -> None:
    refused = run("make", "tied", "first", "third")
    assert isinstance(refused.exception, MedshardError)
    assert "third is never held out" not in refused.output
    assert "--hold-out" in str(refused.exception)
    made = run("make", "tied", "first", "third", "--hold-out", "first")
    assert made.exit_code == 0, made.output
    assert "left out: 4 of third (tied): first is held out" in made.output
    assert "note: third is never held out: nobody can tell which of its cases show one person" in made.output


@pytest.fixture
def bridged(tmp_path: Path) -> tuple[Store, Catalog]:
    """The scan of `second`'s only patient was taken on the second visit of p0 in `first`."""
    for number in range(6):
        write(tmp_path / "first" / "all", f"p{number}_1", number)
    write(tmp_path / "first" / "all", "p0_2", 77)
    write(tmp_path / "second" / "all", "q_1", 77)
    file = tmp_path / "catalog.yaml"
    entries = [entry("first", GROUP), entry("second", GROUP)]
    file.write_text(yaml.safe_dump({"format_version": 1, "entries": entries}, sort_keys=False), encoding="utf8")
    catalog, store = Catalog.load([file]), Store.open(tmp_path / "store")
    for name in ("first", "second"):
        build(store, name, to="fingerprint", catalog=catalog)
    return store, catalog


def republish(store: Store, name: str, stage: str, records: Iterable[CaseRecord], plan: str | None = None) -> None:
    head = require_head(store, name, "cases")
    manifest = Manifest(stage=stage, entry=name, code_version="1", plan=plan, records=tuple(records))
    swap_head(store, name, stage, replace(head, manifest=publish_manifest(store, manifest)), plan)


def records_of(store: Store, name: str) -> tuple[CaseRecord, ...]:
    return read_manifest(store, require_head(store, name, "cases").manifest).records


@pytest.mark.parametrize("is_unfit", [False, True])
def test_a_case_without_a_shard_still_joins_two_patients_of_a_recipe(
    bridged: tuple[Store, Catalog], *, is_unfit: bool
) -> None:
    """p0 is scored or trained on; whichever it is, the one whose scan is p0's second visit is where p0 is."""
    store, catalog = bridged
    for name in ("first", "second"):
        sharded = [replace(r, stage="shards") for r in records_of(store, name) if r.case != "all-p0-2"]
        republish(store, name, "shards", sharded, plan="default")
    if is_unfit:
        leave_unfit(store)
    known = find_recipe("lesion-demo")
    section = {"entries": ("first", "second")}
    for seed in range(6):
        recipe = known.model_copy(
            update={
                "split": known.split.model_copy(update={"seed": seed}),
                "pretraining": known.pretraining.model_copy(update=section),
                "finetuning": known.finetuning.model_copy(update=section),
                "evaluation": known.evaluation.model_copy(update=section),
            }
        )
        table = build_split(store, recipe, catalog).attachments["split"]
        split = Split.from_bytes(store.read_bytes(table))
        assert split.part_of("first", "all-p0-1") == split.part_of("second", "all-q-1")
        assert split.part_of("first", "all-p0-2") is None
        assert len(split.rows) == 7


def leave_unfit(store: Store) -> None:
    verdicts = {purpose.value: ["image.blank"] for purpose in Purpose}
    records = [replace(r, verdicts=verdicts) if r.case == "all-p0-2" else r for r in records_of(store, "first")]
    republish(store, "first", "cases", records)


def test_a_case_that_is_fit_for_nothing_still_joins_two_patients(
    bridged: tuple[Store, Catalog],
) -> None:
    store, catalog = bridged
    leave_unfit(store)
    gathered = gather_cases(store, catalog, ["first", "second"])
    assert [case.case for case in gathered.unfit] == ["all-p0-2"]
    split = Split(())
    for seed in range(6):
        rules = SplitRules(fractions={"train": 0.5, "test": 0.5}, seed=seed)
        _, split = make_named_split(store, catalog, f"of-{seed}", ["first", "second"], rules)
        assert split.part_of("first", "all-p0-1") == split.part_of("second", "all-q-1")
        assert len(split.rows) == 7
    torn = [replace(row, part="test" if row.entry == "second" else "train") for row in split.rows]
    torn = [replace(row, component=f"{row.entry}/{row.patient}") for row in torn]
    save_split(store, "torn", Split(tuple(torn)), {})
    assert [leak.patients for leak in check_named_split(store, catalog, "torn")] == [("first/p0", "second/q")]


def test_the_split_as_shipped_shows_its_leaks_and_is_used_without_them(built: tuple[Store, Catalog], run: Any) -> None:
    store, _ = built
    shipped = run("shipped", "first")
    assert shipped.exit_code == 0
    assert "1 leaks (1 patient)" in shipped.output
    assert "test: first/Te-p3-2" in shipped.output
    assert run("make", "as-shipped", "first", "--shipped").exit_code == 0
    split: Split = read_split(store, "as-shipped")
    assert {row.case for row in split.rows if row.part == "test"} == {"Te-p6-1", "Te-p7-1", "Te-p3-2"}
    assert [case.case for case in split.left_out] == ["Tr-p3-1"]
    assert run("make", "x", "first", "--shipped", "--folds", 2).exit_code == 2


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_split_is_read_as_its_makers_packed_it(name: str, tmp_path: Path) -> None:
    catalog = Catalog.load([PUBLIC_CATALOG])
    (tmp_path / "tree" / "root").mkdir(parents=True)
    root = Tree(tmp_path / "tree" / "root")
    expected = made_trees()[name].write(root)
    store = Store.open(tmp_path / "store")
    offered = offer(root, catalog.entry(name), catalog, store)
    options = AcquisitionOptions(accept=frozenset({name}), optional=True, environment={"MEDSHARD_USER": "test"})
    build(store, name, to="fingerprint", catalog=offered, acquisition=options)
    cases, leaks = check_shipped_split(store, offered, [name])
    assert {case.case: case.shipped for case in cases} == {case.case: expected.split.get(case.case) for case in cases}
    assert len({case.shipped for case in cases}) > 1
    parts: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        if case.shipped in ("train", "validation", "test"):
            parts[expected.cases[case.case]].add(case.shipped)
    torn = sorted(f"{name}/{patient}" for patient, found in parts.items() if len(found) > 1)
    named = [patient for leak in leaks for patient in leak.patients if not leak.links]
    assert sorted(named) == torn


def test_the_made_frames_of_a_public_entry_are_said_to_be_made() -> None:
    made = {
        (known.id, group.case) for known in Catalog.load([PUBLIC_CATALOG]) for group in known.cases if group.synthetic
    }
    assert made == {("endomapper", "simulated_Seq_{sequence}"), ("endoslam", "UnityCam_{organ}")}


def test_a_cross_validation_does_not_go_on_from_fixed_parts(bridged: tuple[Store, Catalog]) -> None:
    store, catalog = bridged
    entries, halves = ["first", "second"], {"train": 0.5, "test": 0.5}
    make_named_split(store, catalog, "mine", entries, SplitRules(fractions=halves))
    crossed = SplitRules(fractions=halves, folds=2)
    with pytest.raises(MedshardError) as raised:
        make_named_split(store, catalog, "mine", entries, crossed)
    assert raised.value.code == "split.folds"
