"""A recipe from shards to scores: what is written, what is done once only, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import pytest
from PIL import Image

from medshard.errors import SplitError, StoreError
from medshard.registry.store import Head, ObjectRef, Store, read_head, read_manifest, read_record
from medshard.registry.store.digests import sha256_file
from medshard.registry.store.manifests import require_head
from medshard.training.checkpoint import load_checkpoint
from medshard.training.evaluate import cases_behind, evaluate
from medshard.training.finetune import finetune
from medshard.training.pretrain import pretrain
from medshard.training.recipe import Recipe
from medshard.training.stages import output_folder, stage_record

PublishSplit = Callable[..., ObjectRef]


class Trained(Protocol):
    """What the fixture of this name gives (conftest.py)."""

    store: Store
    split: ObjectRef
    heads: Mapping[str, Head]


def test_a_recipe_becomes_two_checkpoints_and_scores_that_all_lead_back_to_their_inputs(trained: Trained) -> None:
    store = trained.store
    for stage, head in trained.heads.items():
        assert read_head(store, "tiny", stage) == head
        (record,) = read_manifest(store, head.manifest).records
        assert read_record(store, record.key) == record
        assert head.attachments["split"] == trained.split
        assert record.facts["training_manifest"] == head.attachments["training_manifest"].digest
        for ref in (*head.attachments.values(), head.manifest):
            store.verify(ref)
    shards = require_head(store, "blobs", "shards", "default")
    known = {record.ref for record in read_manifest(store, shards.manifest).records}
    evaluation = stage_record(store, "tiny", "evaluation")
    assert evaluation.inputs[-1] == stage_record(store, "tiny", "finetuned").ref
    assert set(evaluation.inputs[:-1]) < known


def test_the_training_manifest_lists_who_was_seen_and_why_others_were_not(trained: Trained, recipe: Recipe) -> None:
    store, heads = trained.store, trained.heads
    pretraining = json.loads(store.read_bytes(heads["pretrained"].attachments["training_manifest"]))
    assert [(s["entry"], s["case"]) for s in pretraining["samples"]] == [("blobs", "a"), ("blobs", "b"), ("plain", "p")]
    assert pretraining["left_out"] == [{"entry": "blobs", "case": "e", "reason": "2 channels; these networks take one"}]
    record = read_record(store, pretraining["samples"][0]["record"]["key"])
    assert record is not None
    assert record.digest == pretraining["samples"][0]["record"]["digest"]
    finetuning = json.loads(store.read_bytes(heads["finetuned"].attachments["training_manifest"]))
    assert [sample["case"] for sample in finetuning["samples"]] == ["a", "b"]
    assert [sample["case"] for sample in finetuning["validation"]] == ["c"]
    assert finetuning["base"]["training_manifest"] == heads["pretrained"].attachments["training_manifest"].digest
    assert finetuning["base"]["record"] == stage_record(store, "tiny", "pretrained").ref.to_json()
    assert finetuning["split"] == trained.split.digest
    assert finetuning["recipe_digest"] == recipe.digest
    assert {"torch", "monai", "numpy", "python", "medshard"} <= set(finetuning["environment"])
    seen = cases_behind(store, heads["finetuned"].attachments["training_manifest"].digest)
    assert seen == {("blobs", "a"), ("blobs", "b"), ("plain", "p")}


def test_the_checkpoint_names_its_manifest_in_a_file_that_needs_no_torch(trained: Trained) -> None:
    head = trained.heads["pretrained"]
    folder = trained.store.path(head.attachments["checkpoint"])
    document = json.loads((folder / "checkpoint.json").read_text())
    assert document["training_manifest"] == head.attachments["training_manifest"].digest
    assert document["manifest"] == json.loads(trained.store.read_bytes(head.attachments["training_manifest"]))
    assert document["checkpoint_sha256"] == sha256_file(folder / "checkpoint.pt")
    assert document["step"] == 2
    assert load_checkpoint(folder).training_manifest == document["training_manifest"]
    assert len((folder / "curve.csv").read_text().splitlines()) == 3
    with Image.open(folder / "curve.png") as picture:
        assert picture.size == (700, 400)


def test_weights_that_were_changed_are_not_loaded(trained: Trained, tmp_path: Path) -> None:
    source = trained.store.path(trained.heads["pretrained"].attachments["checkpoint"])
    folder = Path(shutil.copytree(source, tmp_path / "copy"))
    weights = folder / "checkpoint.pt"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(StoreError) as raised:
        load_checkpoint(folder)
    assert raised.value.code == "checkpoint.corrupt"


def test_two_trainings_give_the_same_bytes(
    trained: Trained, tmp_path: Path, recipe: Recipe, run_recipe: Callable[[Path, Recipe], Trained]
) -> None:
    assert run_recipe(tmp_path / "again", recipe).heads == trained.heads


def test_processes_that_read_samples_do_not_change_the_checkpoint(
    trained: Trained, store: Store, recipe: Recipe, split: ObjectRef
) -> None:
    assert pretrain(store, recipe, split, workers=2, progress=False) == trained.heads["pretrained"]


def test_a_stage_that_is_done_is_not_trained_again_and_imports_no_torch(trained: Trained, recipe: Recipe) -> None:
    program = f"""
import sys
from medshard.registry.store import ObjectRef, Store
from medshard.training.evaluate import evaluate
from medshard.training.finetune import finetune
from medshard.training.pretrain import pretrain
from medshard.training.recipe import Recipe
store, recipe = Store.open({str(trained.store.root)!r}), Recipe.model_validate_json({recipe.model_dump_json()!r})
split = ObjectRef.from_json({trained.split.to_json()!r})
heads = [stage(store, recipe, split, progress=False).manifest.digest for stage in (pretrain, finetune, evaluate)]
print(*heads)
sys.exit('torch' in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [head.manifest.digest for head in trained.heads.values()]


def test_a_changed_seed_is_another_training(trained: Trained, store: Store, recipe: Recipe, split: ObjectRef) -> None:
    other = pretrain(store, recipe.model_copy(update={"seed": 4}), split, progress=False)
    assert other.attachments["checkpoint"] != trained.heads["pretrained"].attachments["checkpoint"]


def test_the_evaluation_has_a_row_and_a_picture_for_each_held_out_case(trained: Trained) -> None:
    folder = trained.store.path(trained.heads["evaluation"].attachments["evaluation"])
    scores = json.loads((folder / "scores.json").read_text())
    assert [(row["case"], row["part"], row["class"]) for row in scores["cases"]] == [
        ("c", "val", "lesion"),
        ("d", "test", "lesion"),
    ]
    assert all(row["voxels"] == 4 * 7 * 7 for row in scores["cases"])
    assert {(mean["part"], mean["cases"]) for mean in scores["means"]} == {("test", 1), ("val", 1)}
    assert scores["claim"] == "Nothing."
    finetuned = stage_record(trained.store, "tiny", "finetuned")
    assert scores["checkpoint_record"] == finetuned.ref.to_json()
    evaluation = stage_record(trained.store, "tiny", "evaluation")
    assert [sample["record"] for sample in scores["samples"]] == [ref.to_json() for ref in evaluation.inputs[:-1]]
    assert sha256_file(output_folder(trained.store, finetuned) / "checkpoint.pt") == scores["checkpoint_sha256"]
    assert (folder / "scores.csv").read_text().count("\n") == 3
    assert "| test | blobs | d | lesion |" in (folder / "scores.md").read_text()
    assert [path.name for path in sorted((folder / "overlays").iterdir())] == ["blobs--c.png", "blobs--d.png"]


@pytest.mark.parametrize("stage", [pretrain, finetune, evaluate])
def test_a_component_on_both_sides_of_the_split_is_refused(
    store: Store, recipe: Recipe, publish_split: PublishSplit, stage: Callable[..., Head]
) -> None:
    torn = publish_split(
        store,
        {("blobs", "a"): "train", ("blobs", "d"): "test"},
        components={("blobs", "a"): "same person", ("blobs", "d"): "same person"},
    )
    with pytest.raises(SplitError) as raised:
        stage(store, recipe, torn, progress=False)
    assert raised.value.code == "split.leak"
    assert "same person" in str(raised.value)


def test_a_patient_that_pretraining_has_seen_cannot_be_scored_under_another_split(
    trained: Trained, recipe: Recipe, publish_split: PublishSplit
) -> None:
    swapped = publish_split(trained.store, {("blobs", "a"): "test", ("blobs", "c"): "val", ("blobs", "d"): "train"})
    with pytest.raises(SplitError) as raised:
        evaluate(trained.store, recipe, swapped, progress=False)
    assert raised.value.code == "split.leak"
    assert "blobs/a" in str(raised.value)


def test_a_recipe_without_a_train_case_says_so(store: Store, recipe: Recipe, publish_split: PublishSplit) -> None:
    empty = publish_split(store, {("blobs", "a"): "test"})
    with pytest.raises(SplitError) as raised:
        pretrain(store, recipe, empty, progress=False)
    assert raised.value.code == "split.no_cases"
    assert "not in the split" in str(raised.value)


def test_fine_tuning_before_pretraining_says_what_is_missing(store: Store, recipe: Recipe, split: ObjectRef) -> None:
    with pytest.raises(StoreError, match="tiny/pretrained"):
        finetune(store, recipe, split, progress=False)
