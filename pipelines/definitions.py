"""Everything that `dagster dev -m medshard.pipelines.definitions` serves. It wires and does nothing else."""

from __future__ import annotations

import dagster as dg

from medshard.pipelines.orchestration.assets import entry_assets, group_of, invalid_asset, stage_key
from medshard.pipelines.orchestration.resources import StoreResource
from medshard.pipelines.orchestration.training_assets import read_recipes, recipe_assets
from medshard.registry.catalog import Catalog


@dg.definitions
def definitions() -> dg.Definitions:
    """The assets of every entry and recipe. What is not valid stands there as an asset that says why."""
    catalog = Catalog.load()
    recipes, unreadable = read_recipes()
    return dg.Definitions(
        assets=[
            *(asset for entry in catalog for asset in entry_assets(entry, catalog)),
            *(asset for recipe in recipes.values() for asset in recipe_assets(recipe, catalog)),
            *(
                invalid_asset(
                    stage_key(name, "raw"),
                    "\n".join(str(problem) for problem in problems),
                    group=group_of(name),
                )
                for name, problems in catalog.invalid.items()
            ),
            *(
                invalid_asset(stage_key(name, "pretrained"), str(error), group=group_of(name))
                for name, error in unreadable.items()
            ),
        ],
        resources={"store": StoreResource.from_environment()},
        # A step of the default executor is a new interpreter that builds all definitions again: seconds for each asset.
        # The parallelism is inside the stages, over cases.
        executor=dg.in_process_executor,
    )
