"""A recipe from its split to its scores, in plain Python: what `medshard train` and the Dagster assets run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from medshard.errors import CatalogError
from medshard.pipelines.splitting import gather_cases
from medshard.registry.catalog import Catalog
from medshard.registry.splits import SUFFIX, Split, SplitRules, make_split
from medshard.registry.store.leases import hold_lease
from medshard.registry.store.manifests import (
    Head,
    Manifest,
    publish_manifest,
    read_manifest,
    require_head,
    swap_head,
)
from medshard.registry.store.objects import Store
from medshard.registry.store.records import CaseRecord, record_key, write_record
from medshard.registry.vocabulary import Purpose
from medshard.training.evaluate import evaluate
from medshard.training.finetune import finetune
from medshard.training.pretrain import pretrain
from medshard.training.recipe import Recipe, load_recipes

SPLIT_STAGE = "split"
SPLIT_CODE_VERSION = "2"

# Stage of a recipe -> what makes it, in the order of the chain.
TRAINING_STAGES: Mapping[str, Callable[..., Head]] = MappingProxyType(
    {"pretrained": pretrain, "finetuned": finetune, "evaluation": evaluate}
)


def find_recipe(recipe_id: str) -> Recipe:
    """A recipe of medshard or of MEDSHARD_RECIPES. Raises CatalogError[recipe.unknown]."""
    recipes = load_recipes()
    if recipe_id not in recipes:
        raise CatalogError(
            "recipe.unknown",
            where=recipe_id,
            problem="there is no recipe of this id",
            details={"recipes": ", ".join(sorted(recipes))},
            action="MEDSHARD_RECIPES adds folders of recipes.",
        )
    return recipes[recipe_id]


def build_split(store: Store, recipe: Recipe, catalog: Catalog) -> Head:
    """Freeze the split of a recipe over the shards of all its entries.

    Components that hold a case fit for evaluation, in the entries that are scored, are dealt to val and test; the rest
    is for training, or left out where it would leak. The same shards give the same split. Returns the HEAD, with the
    attachment `split`. Raises CatalogError for an invalid entry, which declares no overlaps, StoreError when the shards
    of an entry are not built, and SplitError.
    """
    records = [
        record
        for entry in recipe.all_entries
        for record in read_manifest(store, require_head(store, entry, "shards", recipe.plan).manifest).good
    ]
    sharded = {(record.entry, record.case) for record in records}
    gathered = gather_cases(store, catalog, recipe.all_entries, is_labelled=lambda record: _is_scored(record, recipe))
    cases = [case for case in gathered.cases if case.name in sharded]
    # A case without a shard is in no part, and may still be what shows that two patients are one.
    unsharded = [case for case in gathered.cases if case.name not in sharded]
    rules = SplitRules(fractions=recipe.split.fractions.model_dump(), seed=recipe.split.seed)
    split = make_split(cases, entries=list(catalog), rules=rules, unsplit=[*unsharded, *gathered.unfit])
    return _publish_split(store, recipe, split, records)


def build_training_stage(store: Store, recipe: Recipe, stage: str, *, progress: bool = False) -> Head:
    """One of `pretrained`, `finetuned` and `evaluation`, on the recipe's current split."""
    split = require_head(store, recipe.id, SPLIT_STAGE).attachments["split"]
    return TRAINING_STAGES[stage](store, recipe, split, progress=progress)


def run_recipe(
    root: str | Path, recipe_id: str, *, catalog: Catalog | None = None, progress: bool = False
) -> Iterator[str]:
    """Build every stage of a recipe; yields a line about each."""
    store = Store.open(root, create=False)
    recipe = find_recipe(recipe_id)
    split = build_split(store, recipe, catalog or Catalog.load())
    counts = Split.from_bytes(store.read_bytes(split.attachments["split"])).counts()
    yield f"{recipe.id}/split: " + ", ".join(f"{number} {part}" for part, number in counts.items())
    for stage in TRAINING_STAGES:
        head = build_training_stage(store, recipe, stage, progress=progress)
        output = head.attachments["evaluation" if stage == "evaluation" else "checkpoint"]
        yield f"{recipe.id}/{stage}: {store.path(output)}"


def _is_scored(record: CaseRecord, recipe: Recipe) -> bool:
    return record.entry in recipe.evaluation.entries and record.fit_for(Purpose.EVALUATION.value)


def _publish_split(store: Store, recipe: Recipe, split: Split, records: list[CaseRecord]) -> Head:
    inputs = tuple(record.ref for record in records)
    parameters = recipe.split.model_dump(mode="json")
    key = record_key(
        stage=SPLIT_STAGE,
        code_version=SPLIT_CODE_VERSION,
        entry=recipe.id,
        case=recipe.id,
        # Overlaps that the catalog declares decide the table too: its digest stands in for them.
        parameters={"split": parameters, "table": split.digest},
        inputs=inputs,
    )
    with hold_lease(store, f"{recipe.id}/{SPLIT_STAGE}"):
        table = store.publish_bytes(split.to_bytes(), SUFFIX)
        record = CaseRecord(
            stage=SPLIT_STAGE,
            entry=recipe.id,
            case=recipe.id,
            key=key,
            code_version=SPLIT_CODE_VERSION,
            inputs=inputs,
            output=table,
            facts={"counts": split.counts()},
        )
        write_record(store, record)
        manifest = Manifest(stage=SPLIT_STAGE, entry=recipe.id, code_version=SPLIT_CODE_VERSION, records=(record,))
        head = Head(manifest=publish_manifest(store, manifest), attachments={"split": table})
        swap_head(store, recipe.id, SPLIT_STAGE, head)
        return head
