"""The stage `pretrained`: a masked autoencoder on the train part of the recipe's pretraining entries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medshard.registry.store import Head, ObjectRef, Store
from medshard.registry.vocabulary import Purpose
from medshard.training.cohort import Cohort, read_split, select_cases
from medshard.training.manifest import describe_training, publish_training_manifest
from medshard.training.recipe import Recipe
from medshard.training.stages import StageTask, run_stage


def pretrain(store: Store, recipe: Recipe, split_ref: ObjectRef, *, workers: int = 0, progress: bool = True) -> Head:
    """Train a masked autoencoder, unless the same training is in the store already.

    Only cases of the train part are seen, labelled or not: a patient of the test part must not be known from
    pretraining either. workers: processes that read samples; the samples do not depend on it.
    Returns the HEAD, with the attachments `checkpoint`, `training_manifest` and `split`.
    Raises SplitError when a patient is on both sides of the split, or when nothing is left to train on.
    """
    cohort = select_cases(
        store,
        entries=recipe.pretraining.entries,
        plan=recipe.plan,
        split=read_split(store, split_ref),
        parts=("train",),
        purpose=Purpose.SELF_SUPERVISED,
    )
    task = StageTask(
        stage="pretrained",
        recipe=recipe.id,
        parameters=recipe.stage_parameters("pretraining"),
        split=split_ref,
        inputs=cohort.records,
    )

    def work(folder: Path) -> Mapping[str, Any]:
        return _train(store, recipe, cohort, split_ref, folder, workers=workers, progress=progress)

    return run_stage(store, task, work)


def _train(
    store: Store, recipe: Recipe, cohort: Cohort, split_ref: ObjectRef, folder: Path, *, workers: int, progress: bool
) -> Mapping[str, Any]:
    # torch and MONAI take seconds to import, and a stage that is done needs neither.
    from medshard.training.autoencoding import train_autoencoder  # noqa: PLC0415
    from medshard.training.checkpoint import save_checkpoint  # noqa: PLC0415

    manifest = describe_training(recipe, "pretraining", cohort=cohort, split=split_ref)
    manifest_ref = publish_training_manifest(store, manifest)
    network, curve = train_autoencoder(store, recipe, cohort, workers=workers, progress=progress)
    document = save_checkpoint(
        folder,
        network,
        kind="masked_autoencoder",
        model=recipe.model.model_dump(mode="json"),
        manifest=manifest,
        manifest_ref=manifest_ref,
        curve=curve,
    )
    return {
        "claim": recipe.claim,
        "cases": len(cohort.cases),
        "left_out": len(cohort.left_out),
        "training_manifest": manifest_ref.digest,
        **{name: document[name] for name in ("step", "losses", "parameters", "checkpoint_sha256")},
    }
