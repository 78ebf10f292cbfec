"""The stage `evaluation`: scores of the fine-tuned network on whole cases that it has never seen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medshard.registry.store import CaseRecord, Head, ObjectRef, Store
from medshard.registry.vocabulary import Purpose
from medshard.training.cohort import Cohort, check_unseen, read_split, select_cases
from medshard.training.recipe import Recipe
from medshard.training.stages import StageTask, run_stage, stage_record, training_manifest_ref


def evaluate(store: Store, recipe: Recipe, split_ref: ObjectRef, *, progress: bool = True) -> Head:
    """Score the recipe's current `finetuned` stage, unless the same evaluation is in the store already.

    Returns the HEAD, with the attachments `evaluation`, `training_manifest` and `split`.
    Raises StoreError when the recipe was not fine-tuned, and SplitError[split.leak] when the network, or the encoder
    that it started from, was trained on a patient that is to be scored.
    """
    split = read_split(store, split_ref)
    cohort = select_cases(
        store,
        entries=recipe.evaluation.entries,
        plan=recipe.plan,
        split=split,
        parts=recipe.evaluation.parts,
        purpose=Purpose.EVALUATION,
        classes=recipe.classes,
    )
    finetuned = stage_record(store, recipe.id, "finetuned")
    check_unseen(cohort, cases_behind(store, finetuned.facts["training_manifest"]), split)
    task = StageTask(
        stage="evaluation",
        recipe=recipe.id,
        parameters=recipe.stage_parameters("evaluation"),
        split=split_ref,
        inputs=(*cohort.records, finetuned.ref),
    )

    def work(folder: Path) -> Mapping[str, Any]:
        return _score(store, recipe, cohort, finetuned, split_ref=split_ref, folder=folder, progress=progress)

    return run_stage(store, task, work)


def cases_behind(store: Store, training_manifest: str) -> set[tuple[str, str]]:
    """(entry, case) of all that a checkpoint was trained on, and the checkpoints that it started from."""
    seen: set[tuple[str, str]] = set()
    digest: str | None = training_manifest
    while digest is not None:
        document = json.loads(store.read_bytes(training_manifest_ref(store, digest)))
        seen |= {(sample["entry"], sample["case"]) for sample in document["samples"]}
        digest = document["base"]["training_manifest"] if document["base"] else None
    return seen


def _score(
    store: Store,
    recipe: Recipe,
    cohort: Cohort,
    finetuned: CaseRecord,
    *,
    split_ref: ObjectRef,
    folder: Path,
    progress: bool,
) -> Mapping[str, Any]:
    # torch and MONAI take seconds to import, and a stage that is done needs neither.
    from medshard.training.scores import mean_over_classes, write_scores  # noqa: PLC0415
    from medshard.training.scoring import score_cases  # noqa: PLC0415

    overlays = folder / "overlays"
    overlays.mkdir()
    rows = score_cases(store, recipe, cohort, finetuned, overlays, progress=progress)
    header = {
        "recipe": recipe.id,
        "recipe_digest": recipe.digest,
        "claim": recipe.claim,
        "checkpoint_record": finetuned.ref.to_json(),
        "checkpoint_sha256": finetuned.facts["checkpoint_sha256"],
        "training_manifest": finetuned.facts["training_manifest"],
        "split": split_ref.digest,
        "samples": [asdict(case) for case in cohort.cases],
        "surface_tolerance_mm": recipe.evaluation.surface_tolerance_mm,
        "left_out": [asdict(out) for out in cohort.left_out],
    }
    means = write_scores(folder, rows, header)
    return {
        "claim": recipe.claim,
        "cases": len(cohort.cases),
        "left_out": len(cohort.left_out),
        "training_manifest": finetuned.facts["training_manifest"],
        "checkpoint_sha256": finetuned.facts["checkpoint_sha256"],
        "metrics": {part: mean_over_classes(means, part) for part in recipe.evaluation.parts},
        "means": means,
    }
