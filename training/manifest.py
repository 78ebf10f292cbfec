"""The training manifest: what a checkpoint will have been made from, written before training starts."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from medshard.registry.store import ObjectRef, Store
from medshard.registry.store.digests import canonical_json
from medshard.training.cohort import Cohort
from medshard.training.recipe import Recipe, Stage

FORMAT_VERSION = 1
SUFFIX = ".training.json"
PACKAGES = ("medshard", "monai", "numpy", "torch", "zarr")

SAMPLER_VERSION = 1
SAMPLER_RULE = (
    "Sample n is a pure function of (seed, n, cases, weights, foreground) in medshard.loaders.stream; step s of a "
    "stage, with s from 0, uses the samples from s * batch_size up to (s + 1) * batch_size."
)


@dataclass(frozen=True, kw_only=True)
class TrainingManifest:
    """Everything that decides a checkpoint; its digest stands in the checkpoint.

    recipe, recipe_digest: id and digest of the whole recipe. parameters: the part of it that this stage depends on.
    split: digest of the split table.
    samples: entry, case, patient, component and record (key, digest) of the shards stage, for each case trained on.
    validation: the same of each case that was only measured on along the way.
    left_out: entry, case and reason for each case of the same entries and parts that was not used.
    shards, plans: entry -> digests of its shard files, and of its plan.
    base: record (key, digest), weights and training manifest that training starts from; None for a fresh start.
    environment: Python and the packages that compute, with versions.
    git: commit of the checkout that ran, and whether files were changed on top; None outside a checkout.
    """

    stage: Stage
    recipe: str
    recipe_digest: str
    claim: str
    parameters: Mapping[str, Any]
    split: str
    samples: tuple[Mapping[str, Any], ...]
    validation: tuple[Mapping[str, Any], ...]
    left_out: tuple[Mapping[str, Any], ...]
    shards: Mapping[str, tuple[str, ...]]
    plans: Mapping[str, str]
    seeds: Mapping[str, int]
    sampler: Mapping[str, Any]
    base: Mapping[str, Any] | None
    environment: Mapping[str, str]
    git: Mapping[str, Any] | None
    format_version: int = field(default=FORMAT_VERSION)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def describe_training(
    recipe: Recipe,
    stage: Stage,
    *,
    cohort: Cohort,
    split: ObjectRef,
    validation: Cohort | None = None,
    base: Mapping[str, Any] | None = None,
) -> TrainingManifest:
    """The manifest of a stage that is about to be trained here and now."""
    return TrainingManifest(
        stage=stage,
        recipe=recipe.id,
        recipe_digest=recipe.digest,
        claim=recipe.claim,
        parameters=recipe.stage_parameters(stage),
        split=split.digest,
        samples=tuple(asdict(case) for case in cohort.cases),
        validation=tuple(asdict(case) for case in validation.cases) if validation else (),
        left_out=tuple(asdict(out) for out in cohort.left_out),
        shards=cohort.shards,
        plans=cohort.plans,
        seeds={"weights and masks": recipe.seed, "samples": recipe.seed},
        sampler={"version": SAMPLER_VERSION, "rule": SAMPLER_RULE},
        base=base,
        environment=environment(),
        git=git_state(Path(__file__).parent.parent),
    )


def publish_training_manifest(store: Store, manifest: TrainingManifest) -> ObjectRef:
    return store.publish_bytes(canonical_json(manifest.to_json()), SUFFIX)


def environment() -> dict[str, str]:
    """Versions of Python and of `PACKAGES`; a package that is not installed is named as such."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of a checkout and whether tracked files differ from it; None when `folder` is not the top of one."""
    if not (folder / ".git").exists():
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "modified": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}


def _git(folder: Path, *arguments: str) -> str | None:
    # Without optional locks `git status` leaves the index alone, which another process may be about to write.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
