"""A recipe materialised through Dagster: from the shards of an entry to scores, on real content and in seconds."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from medshard.pipelines.orchestration.assets import entry_assets
from medshard.pipelines.orchestration.resources import StoreResource
from medshard.pipelines.orchestration.training_assets import recipe_assets
from medshard.registry.catalog import Catalog
from medshard.registry.store import Store
from medshard.registry.store.manifests import require_head
from medshard.training.recipe import Recipe

RECIPE = Recipe.model_validate(
    {
        "format_version": 1,
        "id": "tiny",
        "title": "Tissue in crops",
        "description": "Grey matter in crops of a template.",
        "claim": "Nothing may be concluded from two steps.",
        "seed": 3,
        "threads": 1,
        "classes": ["grey matter"],
        "split": {"fractions": {"train": 0.5, "val": 0.25, "test": 0.25}},
        "model": {
            "patch_size": [16, 16, 16],
            "token_size": [8, 8, 8],
            "hidden_size": 24,
            "mlp_size": 24,
            "layers": 3,
            "heads": 2,
            "decoder_hidden_size": 12,
            "decoder_layers": 1,
            "decoder_heads": 2,
            "features": 2,
        },
        "pretraining": {"entries": ["crops"], "steps": 2, "batch_size": 2},
        "finetuning": {"entries": ["crops"], "steps": 2, "batch_size": 2, "validation_windows": 0},
        "evaluation": {"entries": ["crops"], "parts": ["test"], "surface_tolerance_mm": 1.0},
    }
)
STAGES = ("split", "pretrained", "finetuned", "evaluation")


def materialise(store: Store, catalog: Catalog) -> dict[str, dg.AssetMaterialization]:
    """The entry and then the recipe, in one run; the materialisations of the recipe by stage."""
    result = dg.materialize(
        [*entry_assets(catalog.entry("crops"), catalog), *recipe_assets(RECIPE, catalog)],
        resources={"store": StoreResource(root=str(store.root))},
    )
    found = [event.materialization for event in result.get_asset_materialization_events()]
    return {one.asset_key.path[1]: one for one in found if one.asset_key.path[0] == "tiny"}


@pytest.fixture
def built(store: Store, scans: Any) -> dict[str, dg.AssetMaterialization]:
    return materialise(store, scans.catalog)


def test_a_recipe_goes_from_shards_to_scores_and_shows_what_came_out(
    store: Store, scans: Any, built: dict[str, dg.AssetMaterialization]
) -> None:
    heads = {stage: require_head(store, "tiny", stage) for stage in STAGES}
    versions = {stage: (one.tags or {})["dagster/data_version"] for stage, one in built.items()}
    manifests = {stage: head.data_version for stage, head in heads.items() if stage != "split"}
    assert versions == {"split": heads["split"].attachments["split"].digest, **manifests}
    assert list(versions) == list(STAGES)

    shown = {stage: dict(one.metadata) for stage, one in built.items()}
    assert [shown["split"][f"cases_{part}"].value for part in ("train", "val", "test")] == [2, 1, 1]
    for stage in ("pretrained", "finetuned"):
        assert shown[stage]["steps"].value == 2
        assert isinstance(shown[stage]["loss_last"].value, float)
        assert "](data:image/png;base64," in str(shown[stage]["curve"].value)
        assert Path(shown[stage]["checkpoint"].path).is_file()
    assert RECIPE.claim in str(shown["evaluation"]["scores"].value)
    assert "grey matter" in str(shown["evaluation"]["scores"].value)
    assert any(name.startswith("overlay") for name in shown["evaluation"])

    again = materialise(store, scans.catalog)
    assert {stage: (one.tags or {})["dagster/data_version"] for stage, one in again.items()} == versions
