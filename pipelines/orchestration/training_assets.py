"""What Dagster sees of a training recipe: the split, two trainings and an evaluation that depend on shards."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import dagster as dg
from PIL import Image

from medshard.errors import CatalogError
from medshard.pipelines.orchestration.asset_metadata import MOST_PICTURE_BYTES, Metadata, markdown_table, picture
from medshard.pipelines.orchestration.assets import group_of, stage_key
from medshard.pipelines.orchestration.resources import StoreResource
from medshard.registry.catalog import Catalog
from medshard.registry.splits import PARTS, Split
from medshard.registry.store.manifests import Head, head_path
from medshard.registry.store.objects import ObjectRef, Store
from medshard.training.recipe import Recipe, load_recipe, recipe_files
from medshard.training.stages import CODE_VERSION, output_folder, stage_record

TrainingStage = Literal["pretrained", "finetuned", "evaluation"]

VERBS: dict[TrainingStage, str] = {
    "pretrained": "Pretrain the encoder on the train part, labelled or not.",
    "finetuned": "Fine-tune a segmentation network that starts from the pretrained encoder.",
    "evaluation": "Score whole cases of patients that neither training has seen.",
}
SPLIT_VERB = "Split the patients of all entries, on the connected components of the leakage graph."
OVERLAYS_SHOWN = 4
OVERLAY_PIXELS = 640


def read_recipes() -> tuple[dict[str, Recipe], dict[str, CatalogError]]:
    """The valid recipes by id, and the errors of the others by the name of their file.

    An id that two files have counts for the first. Raises CatalogError for a folder of recipes that is not there.
    """
    recipes: dict[str, Recipe] = {}
    errors: dict[str, CatalogError] = {}
    for path in recipe_files():
        try:
            recipe = load_recipe(path)
            if recipe.id in recipes:
                raise CatalogError("recipe.duplicate", where=f"{path} id", problem=f"the id {recipe.id} is taken")
        except CatalogError as error:
            errors[path.name] = error
            continue
        recipes[recipe.id] = recipe
    return recipes, errors


def recipe_assets(recipe: Recipe, catalog: Catalog) -> list[dg.AssetsDefinition]:
    """split -> pretrained -> finetuned -> evaluation, each also after the shards that it reads."""

    def after(stage: str, entries: Sequence[str]) -> list[dg.AssetKey]:
        return [stage_key(recipe.id, stage), *_shards(recipe, entries)]

    return [
        _split_asset(recipe, catalog),
        _training_asset(recipe, "pretrained", deps=after("split", recipe.pretraining.entries)),
        _training_asset(recipe, "finetuned", deps=after("pretrained", recipe.finetuning.entries)),
        _training_asset(recipe, "evaluation", deps=after("finetuned", recipe.evaluation.entries)),
    ]


def _split_asset(recipe: Recipe, catalog: Catalog) -> dg.AssetsDefinition:
    @dg.asset(
        key=stage_key(recipe.id, "split"),
        deps=_shards(recipe, recipe.all_entries),
        group_name=group_of(recipe.id),
        code_version=CODE_VERSION,
        description=_description(recipe, SPLIT_VERB),
        metadata=_definition_metadata(recipe),
        kinds={"python", "json"},
    )
    def split(store: StoreResource) -> dg.MaterializeResult:  # type: ignore[type-arg] # Dagster does not know the parametrised form
        from medshard.pipelines.train import build_split  # noqa: PLC0415 - what it imports takes seconds

        opened = store.open()
        # The table's digest, and not the manifest's: it is what names a split in training manifests and checkpoints.
        table = build_split(opened, recipe, catalog).attachments["split"]
        return dg.MaterializeResult(data_version=dg.DataVersion(table.digest), metadata=_split_facts(opened, table))

    return split


def _training_asset(recipe: Recipe, stage: TrainingStage, *, deps: Sequence[dg.AssetKey]) -> dg.AssetsDefinition:
    @dg.asset(
        key=stage_key(recipe.id, stage),
        deps=deps,
        group_name=group_of(recipe.id),
        code_version=CODE_VERSION,
        description=_description(recipe, VERBS[stage]),
        metadata=_definition_metadata(recipe),
        kinds={"python"} if stage == "evaluation" else {"python", "torch"},
    )
    def train(store: StoreResource) -> dg.MaterializeResult:  # type: ignore[type-arg] # Dagster does not know the parametrised form
        from medshard.pipelines.train import build_training_stage  # noqa: PLC0415 - what it imports takes seconds

        opened = store.open()
        head = build_training_stage(opened, recipe, stage, progress=store.progress)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(head.data_version), metadata=_training_facts(opened, recipe, stage, head)
        )

    return train


def _shards(recipe: Recipe, entries: Sequence[str]) -> list[dg.AssetKey]:
    return [stage_key(entry, "shards", recipe.plan) for entry in entries]


def _description(recipe: Recipe, verb: str) -> str:
    return f"{verb}\n\n### {recipe.title}\n\n{recipe.description}\n\n> {recipe.claim}"


def _definition_metadata(recipe: Recipe) -> Metadata:
    return {
        "claim": recipe.claim,
        "classes": ", ".join(recipe.classes),
        "plan": recipe.plan,
        "recipe_digest": recipe.digest,
        "seed": recipe.seed,
    }


def _split_facts(store: Store, ref: ObjectRef) -> Metadata:
    split = Split.from_bytes(store.read_bytes(ref))
    rows = [
        (row.part, row.entry, row.patient, row.case)
        for row in sorted(split.rows, key=lambda row: PARTS.index(row.part))
    ]
    return {
        **{f"cases_{part}": count for part, count in split.counts().items()},
        "patients": dg.MetadataValue.md(markdown_table(("part", "entry", "patient", "case"), rows, most=100)),
        "split": dg.MetadataValue.path(store.path(ref)),
    }


def _training_facts(store: Store, recipe: Recipe, stage: TrainingStage, head: Head) -> Metadata:
    """What both kinds of stage show, then losses and curve of a training, or scores and overlays of an evaluation."""
    record = stage_record(store, recipe.id, stage)
    folder = output_folder(store, record)
    shown = _scores(folder, record.facts) if stage == "evaluation" else _losses(folder, record.facts)
    return {
        "cases": record.facts["cases"],
        "cases_left_out": record.facts["left_out"],
        "bytes": record.output.size if record.output is not None else 0,
        **shown,
        "claim": recipe.claim,
        "checkpoint_sha256": record.facts["checkpoint_sha256"],
        "split": dg.MetadataValue.path(store.path(head.attachments["split"])),
        "training_manifest": dg.MetadataValue.path(store.path(head.attachments["training_manifest"])),
        "manifest": dg.MetadataValue.path(store.path(head.manifest)),
        "head": dg.MetadataValue.path(head_path(store, recipe.id, stage)),
    }


def _losses(folder: Path, facts: Any) -> Metadata:
    dice = facts.get("validation_dice")
    return {
        "loss_first": float(facts["losses"]["first"]),
        "loss_last": float(facts["losses"]["last"]),
        "steps": facts["step"],
        "parameters": facts["parameters"],
        **({"validation_dice": float(dice)} if dice is not None else {}),
        **_pictures("curve", [folder / "curve.png"]),
        "checkpoint": dg.MetadataValue.path(folder / "checkpoint.pt"),
    }


def _scores(folder: Path, facts: Any) -> Metadata:
    numbers = {
        f"{part}_{metric}": float(value)
        for part, metrics in facts["metrics"].items()
        for metric, value in metrics.items()
        if value is not None
    }
    return {
        **numbers,
        "scores": dg.MetadataValue.md((folder / "scores.md").read_text(encoding="utf-8")),
        **_pictures("overlay", sorted((folder / "overlays").glob("*.png"))[:OVERLAYS_SHOWN]),
        "scores_file": dg.MetadataValue.path(folder / "scores.json"),
    }


def _pictures(name: str, files: Sequence[Path]) -> Metadata:
    """Each picture under a name of its own, made small enough for the event log."""
    names = [name] if len(files) == 1 else [f"{name}_{file.stem}" for file in files]
    return {key: picture(_small(file), caption=file.stem) for key, file in zip(names, files, strict=True)}


def _small(file: Path) -> bytes:
    png = file.read_bytes()
    if len(png) <= MOST_PICTURE_BYTES:
        return png
    with Image.open(file) as image:
        image.thumbnail((OVERLAY_PIXELS, OVERLAY_PIXELS))
        sink = io.BytesIO()
        image.convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(sink, format="PNG", optimize=True)
    return sink.getvalue()
