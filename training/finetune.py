"""The stage `finetuned`: segmentation on the train part of the recipe's entries, from the pretrained encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medshard.registry.splits import Split
from medshard.registry.store import CaseRecord, Head, ObjectRef, Store
from medshard.registry.vocabulary import Purpose
from medshard.training.cohort import Cohort, read_split, select_cases
from medshard.training.manifest import describe_training, publish_training_manifest
from medshard.training.recipe import Recipe
from medshard.training.stages import StageTask, run_stage, stage_record


def finetune(store: Store, recipe: Recipe, split_ref: ObjectRef, *, workers: int = 0, progress: bool = True) -> Head:
    """Train the segmentation network, unless the same training is in the store already.

    It starts from the encoder of the recipe's current `pretrained` stage. workers: processes that read samples; the
    samples do not depend on it.
    Returns the HEAD, with the attachments `checkpoint`, `training_manifest` and `split`.
    Raises StoreError when the recipe was not pretrained, and SplitError as `pretrain` does.
    """
    split = read_split(store, split_ref)
    cohort = select_cases(
        store,
        entries=recipe.finetuning.entries,
        plan=recipe.plan,
        split=split,
        parts=("train",),
        purpose=Purpose.SUPERVISED,
        classes=recipe.classes,
    )
    base = stage_record(store, recipe.id, "pretrained")
    validation = _validation_cohort(store, recipe, split)
    task = StageTask(
        stage="finetuned",
        recipe=recipe.id,
        parameters=recipe.stage_parameters("finetuning"),
        split=split_ref,
        inputs=(*cohort.records, *(validation.records if validation else ()), base.ref),
    )

    def work(folder: Path) -> Mapping[str, Any]:
        return _train(
            store,
            recipe,
            cohort,
            validation,
            base,
            split_ref=split_ref,
            folder=folder,
            workers=workers,
            progress=progress,
        )

    return run_stage(store, task, work)


def _validation_cohort(store: Store, recipe: Recipe, split: Split) -> Cohort | None:
    """The cases that Dice is measured on along the way; None when the recipe wants none or the split has none."""
    entries = set(recipe.finetuning.entries)
    if not recipe.finetuning.validation_windows:
        return None
    if not any(row.part == "val" and row.entry in entries for row in split.rows):
        return None
    return select_cases(
        store,
        entries=recipe.finetuning.entries,
        plan=recipe.plan,
        split=split,
        parts=("val",),
        purpose=Purpose.SUPERVISED,
        classes=recipe.classes,
    )


def _train(
    store: Store,
    recipe: Recipe,
    cohort: Cohort,
    validation: Cohort | None,
    base: CaseRecord,
    *,
    split_ref: ObjectRef,
    folder: Path,
    workers: int,
    progress: bool,
) -> Mapping[str, Any]:
    # torch and MONAI take seconds to import, and a stage that is done needs neither.
    from medshard.training.checkpoint import save_checkpoint  # noqa: PLC0415
    from medshard.training.segmentation import train_segmentation  # noqa: PLC0415

    manifest = describe_training(
        recipe,
        "finetuning",
        cohort=cohort,
        split=split_ref,
        validation=validation,
        base={
            "record": base.ref.to_json(),
            "checkpoint_sha256": base.facts["checkpoint_sha256"],
            "training_manifest": base.facts["training_manifest"],
        },
    )
    manifest_ref = publish_training_manifest(store, manifest)
    network, transferred, curve = train_segmentation(
        store, recipe, cohort, validation, base, workers=workers, progress=progress
    )
    document = save_checkpoint(
        folder,
        network,
        kind="segmentation_network",
        model={**recipe.model.model_dump(mode="json"), "classes": list(recipe.classes)},
        manifest=manifest,
        manifest_ref=manifest_ref,
        curve=curve,
    )
    return {
        "claim": recipe.claim,
        "cases": len(cohort.cases),
        "left_out": len(cohort.left_out),
        "training_manifest": manifest_ref.digest,
        "parameters_transferred": transferred,
        "validation_dice": curve[-1].validation_dice,
        **{name: document[name] for name in ("step", "losses", "parameters", "checkpoint_sha256")},
    }
