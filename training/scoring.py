"""Whole cases through the segmentation network: scores and pictures."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import numpy as np
import torch
from tqdm import tqdm

from medshard.converters.volume import spacing_of
from medshard.registry.store import CaseRecord, Store
from medshard.training.cohort import Cohort
from medshard.training.determinism import deterministic
from medshard.training.metrics import score_classes
from medshard.training.overlays import write_overlay
from medshard.training.recipe import Recipe
from medshard.training.scores import ScoreRow
from medshard.training.segmentation import load_segmentation_network, predict_case, windows


def score_cases(
    store: Store, recipe: Recipe, cohort: Cohort, finetuned: CaseRecord, overlays: Path, *, progress: bool
) -> list[ScoreRow]:
    """One row for each case and class, in the order of the cohort, and one picture per case in `overlays`.

    Scores are taken on the plan's grid, where prediction and label are compared voxel by voxel; distances are in mm.
    Voxels that nobody judged are background in both.
    """
    network = load_segmentation_network(store, finetuned)
    dataset = windows(store, recipe, cohort, 1, foreground=0.0)
    rows: list[ScoreRow] = []
    title = f"{recipe.id} evaluation"
    with deterministic(recipe.seed, threads=recipe.threads):
        for case in tqdm(cohort.cases, title, unit="case", disable=not progress):
            item = dataset.whole(case.entry, case.case)
            affine, truth = item["affine"].numpy(), item["label"][0]
            prediction = predict_case(
                network, item["image"], patch_size=recipe.model.patch_size, overlap=recipe.evaluation.overlap
            )
            prediction, truth = torch.where(truth < 0, 0, prediction), truth.clamp(min=0)
            scores = score_classes(
                prediction,
                truth,
                classes=recipe.classes,
                examined=item["examined"].tolist(),
                spacing_mm=spacing_of(affine),
                surface_tolerance_mm=recipe.evaluation.surface_tolerance_mm,
            )
            rows += [
                ScoreRow(entry=case.entry, case=case.case, patient=case.patient, part=case.part, score=score)
                for score in scores
            ]
            write_overlay(
                overlays / overlay_name(case.entry, case.case),
                np.asarray(item["image"][0], np.float32),
                truth.numpy(),
                prediction.numpy(),
                affine=affine,
                caption=f"{case.entry}/{case.case} ({case.part})",
            )
    return rows


def overlay_name(entry: str, case: str) -> str:
    """File name of a case's picture; characters of the case that a file name cannot have are percent-encoded."""
    return f"{entry}--{quote(case, safe='')}.png"
