"""The runs of the demo: an entry or a recipe as one Dagster run in this process, and what Dagster has on record."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from medshard.pipelines.orchestration.assets import entry_assets
from medshard.pipelines.orchestration.resources import StoreResource
from medshard.pipelines.orchestration.training_assets import recipe_assets
from medshard.registry.catalog import Catalog
from medshard.registry.schema import Entry
from medshard.registry.store.manifests import read_head
from medshard.registry.store.objects import Store
from medshard.training.recipe import Recipe

DATA_VERSION_TAG = "dagster/data_version"
# Dagster reports every step at the level DEBUG; excluded cases and failed checks are warnings.
QUIET = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}
# Dagster would send what a step prints to a file, and a progress bar with it.
ON_THE_TERMINAL = {
    "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
}


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """failures: one text per asset that failed; empty after a success."""

    run_id: str
    failures: tuple[str, ...]

    @property
    def success(self) -> bool:
        return not self.failures


def open_instance(home: Path) -> dg.DagsterInstance:
    """The Dagster instance of a folder, with medshard's settings where it has none."""
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        shutil.copyfile(Path(__file__).with_name("dagster.yaml"), home / "dagster.yaml")
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=ON_THE_TERMINAL))


def is_recorded(instance: dg.DagsterInstance, store: Store, assets: Iterable[dg.AssetsDefinition]) -> bool:
    """Whether the latest materialisation of each asset is what the store's HEAD says."""
    return all(_recorded_version(instance, asset.key) == _head_version(store, asset.key) for asset in assets)


def assets_of_entry(entry: Entry, catalog: Catalog) -> list[dg.AssetsDefinition]:
    return entry_assets(entry, catalog)


def assets_of_recipe(recipe: Recipe, catalog: Catalog) -> list[dg.AssetsDefinition]:
    return recipe_assets(recipe, catalog)


def materialise(
    assets: Sequence[dg.AssetsDefinition], *, instance: dg.DagsterInstance, root: Path, workers: int, name: str
) -> RunOutcome:
    """One run over the assets of an entry or recipe; it ends at the first failure, which is in the outcome."""
    result = dg.materialize(
        assets,
        instance=instance,
        resources={"store": StoreResource(root=str(root), workers=workers, progress=True)},
        run_config=QUIET,
        tags={"medshard/demo": name},
        raise_on_error=False,
    )
    failures = [
        f"{event.step_key}: {_innermost(event.step_failure_data.error)}"
        for event in result.all_events
        if event.is_step_failure
    ]
    if not result.success and not failures:
        failures = ["the run failed outside of its assets; the Dagster UI shows where"]
    return RunOutcome(run_id=result.run_id, failures=tuple(failures))


def _recorded_version(instance: dg.DagsterInstance, key: dg.AssetKey) -> str | None:
    event = instance.get_latest_materialization_event(key)
    materialisation = event.asset_materialization if event is not None else None
    return (materialisation.tags or {}).get(DATA_VERSION_TAG) if materialisation is not None else None


def _head_version(store: Store, key: dg.AssetKey) -> str | None:
    name, stage, *plan = key.path
    head = read_head(store, name, stage, plan[0] if plan else None)
    if head is None:
        return None
    # The split asset is versioned by the table itself.
    return head.attachments["split"].digest if stage == "split" else head.data_version


def _innermost(error: Any) -> str:
    """The message of the exception that started it, without those that Dagster put around it."""
    while error is not None and error.cause is not None:
        error = error.cause
    return str(error.message).strip() if error is not None else "no message"
