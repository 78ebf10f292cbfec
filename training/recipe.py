"""What is trained on what: the models of a recipe file, and the folders that recipes are read from.

Nothing here imports torch: recipes are read whenever the assets are defined.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from medshard.errors import CatalogError
from medshard.registry.store.digests import sha256_json
from medshard.registry.yaml_lines import read_yaml

FORMAT_VERSION = 1
RECIPES_VARIABLE = "MEDSHARD_RECIPES"

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=64)]
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
LearningRate = Annotated[float, Field(gt=0, le=1)]
Shape = tuple[Count, Count, Count]
Stage = Literal["pretraining", "finetuning", "evaluation"]


def _without_repeats(names: tuple[str, ...]) -> tuple[str, ...]:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        message = f"named more than once: {', '.join(repeated)}"
        raise ValueError(message)
    return names


Entries = Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(_without_repeats)]
Concepts = Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(_without_repeats)]
Parts = Annotated[tuple[Literal["test", "val"], ...], Field(min_length=1), AfterValidator(_without_repeats)]


class Section(BaseModel):
    """Unknown fields are refused, so that a misspelt setting never counts as its default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Fractions(Section):
    """Shares of the components of the leakage graph; they add up to 1."""

    train: Fraction
    val: Fraction
    test: Fraction

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        total = self.train + self.val + self.test
        if not math.isclose(total, 1.0, abs_tol=1e-9):
            message = f"train, val and test must add up to 1; they add up to {total:g}"
            raise ValueError(message)
        return self


class SplitSection(Section):
    """How all cases of the recipe's entries are split, before any stage is trained."""

    fractions: Fractions
    seed: int = 0


class ModelSection(Section):
    """The encoder, shared by all stages, and what decodes it. Sizes are voxels along (z, y, x).

    patch_size: window that the networks see. token_size: voxels of a token, powers of two.
    features: channels of the finest decoder level of the segmentation network; they double with each coarser one.
    decoder_*: of the masked autoencoder; thrown away after pretraining.
    """

    patch_size: Shape = (32, 96, 96)
    token_size: Shape = (8, 16, 16)
    hidden_size: Count = 192
    mlp_size: Count = 384
    layers: Count = 4
    heads: Count = 6
    decoder_hidden_size: Count = 96
    decoder_layers: Count = 2
    decoder_heads: Count = 4
    features: Count = 8

    @property
    def token_grid(self) -> tuple[int, int, int]:
        """Number of tokens along (z, y, x) of a window."""
        z, y, x = (window // token for window, token in zip(self.patch_size, self.token_size, strict=True))
        return z, y, x

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        problems = []
        if any(size & (size - 1) for size in self.token_size) or max(self.token_size) < 2:
            problems.append("token_size must be powers of two, one of them at least 2")
        if any(window % token for window, token in zip(self.patch_size, self.token_size, strict=True)):
            problems.append("patch_size must be a multiple of token_size along each axis")
        for prefix in ("", "decoder_"):
            hidden, heads = getattr(self, f"{prefix}hidden_size"), getattr(self, f"{prefix}heads")
            if hidden % 6 or hidden % heads:
                problems.append(
                    f"{prefix}hidden_size must be a multiple of 6 (sine and cosine along three axes) and of "
                    f"{prefix}heads"
                )
        if self.layers < max(self.token_size).bit_length() - 1:
            problems.append("layers must be at least log2 of the longest side of token_size (one per decoder level)")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class PretrainingSection(Section):
    """Masked autoencoding on the train part of `entries`, labelled or not."""

    entries: Entries
    steps: Count
    batch_size: Count
    mask_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.75
    learning_rate: LearningRate = 1e-3
    weight_decay: Fraction = 0.05
    warmup_steps: Annotated[int, Field(ge=0)] = 0


class FinetuningSection(Section):
    """Segmentation on the train part of `entries`, from the pretrained encoder.

    foreground: probability that a window is placed on a labelled voxel.
    validate_every: steps between two measurements of Dice on `validation_windows` fixed windows of the val part.
    """

    entries: Entries
    steps: Count
    batch_size: Count
    learning_rate: LearningRate = 1e-3
    weight_decay: Fraction = 0.01
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    foreground: Fraction = 0.5
    validate_every: Count = 50
    validation_windows: Annotated[int, Field(ge=0)] = 4


class EvaluationSection(Section):
    """Scores of whole cases, by sliding windows.

    surface_tolerance_mm: distance within which a surface counts as found (normalised surface Dice).
    overlap: share of a window that its neighbour sees again.
    """

    entries: Entries
    parts: Parts = ("test",)
    surface_tolerance_mm: Annotated[float, Field(gt=0)]
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.25


class Recipe(Section):
    """One recipe file: a split and three stages on it.

    claim: what a reader may conclude from the scores; it is repeated in every output.
    classes: concepts, in the order of the channels behind the background.
    threads: threads of torch. Sums in another order give other bytes, so the number belongs to the recipe.
    """

    format_version: Literal[1]
    id: Name
    title: Text
    description: Text
    claim: Text
    seed: Annotated[int, Field(ge=0, lt=1 << 31)]
    threads: Count = 2
    plan: Text = "default"
    classes: Concepts
    split: SplitSection
    model: ModelSection = ModelSection()
    pretraining: PretrainingSection
    finetuning: FinetuningSection
    evaluation: EvaluationSection

    @property
    def all_entries(self) -> tuple[str, ...]:
        """Every entry that a stage names, in the order of first mention: the split covers them all."""
        sections = (self.pretraining, self.finetuning, self.evaluation)
        return tuple(dict.fromkeys(entry for section in sections for entry in section.entries))

    @property
    def digest(self) -> str:
        return sha256_json(self.model_dump(mode="json"))

    def stage_parameters(self, stage: Stage) -> dict[str, Any]:
        """All that this recipe says about the outcome of one stage, as plain JSON."""
        document = self.model_dump(mode="json")
        shared = ("id", "claim", "seed", "threads", "plan", "model")
        parameters = {name: document[name] for name in shared} | {"section": document[stage]}
        if stage != "pretraining":
            parameters["classes"] = document["classes"]
        return parameters

    def stage_digest(self, stage: Stage) -> str:
        return sha256_json(self.stage_parameters(stage))


def recipe_folders() -> list[Path]:
    """The recipes of the package, then the folders of MEDSHARD_RECIPES (separated like PATH)."""
    named = os.environ.get(RECIPES_VARIABLE, "")
    return [Path(__file__).parent / "recipes", *(Path(folder) for folder in named.split(os.pathsep) if folder)]


def recipe_files(folders: Iterable[Path] | None = None) -> list[Path]:
    """The recipe files of some folders (default: `recipe_folders()`), sorted by name in each.

    Raises CatalogError for a folder that is not there.
    """
    files: list[Path] = []
    for folder in recipe_folders() if folders is None else folders:
        if not folder.is_dir():
            raise CatalogError(
                "recipe.no_folder",
                where=str(folder),
                problem="there is no such folder of recipes",
                action=f"Correct {RECIPES_VARIABLE}.",
            )
        files += sorted(folder.glob("*.yaml"))
    return files


def load_recipe(path: Path) -> Recipe:
    """Read one recipe. Raises CatalogError naming the file, the line of each wrong field and what is allowed there."""
    try:
        document = read_yaml(path)
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(
            "recipe.unreadable", where=str(path), problem="the recipe cannot be read", details={"reader": error}
        ) from error
    faults = {f"line {fault.line} {fault.field}".rstrip(): fault.message for fault in document.problems}
    try:
        recipe = Recipe.model_validate(document.data)
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            field, message = _explain(fault)
            faults[f"line {document.line_of(fault['loc'])} {field}".rstrip()] = message
    if faults:
        raise CatalogError(
            "recipe.invalid",
            where=str(path),
            problem="the recipe is not what its schema asks for",
            details=faults,
            action="Mend those lines; docs/training.md lists every field.",
        )
    return recipe


def load_recipes(folders: Iterable[Path] | None = None) -> dict[str, Recipe]:
    """All recipes of some folders (default: `recipe_folders()`) by id.

    Raises CatalogError for the first file that is invalid, and for an id that two files have.
    """
    recipes: dict[str, Recipe] = {}
    origin: dict[str, Path] = {}
    for path in recipe_files(folders):
        recipe = load_recipe(path)
        if recipe.id in recipes:
            raise CatalogError(
                "recipe.duplicate",
                where=f"{path} id",
                problem=f"the id {recipe.id} is taken",
                details={"taken by": origin[recipe.id]},
                action="Choose another id.",
            )
        recipes[recipe.id], origin[recipe.id] = recipe, path
    return recipes


def _explain(fault: ErrorDetails) -> tuple[str, str]:
    """The dotted name of a wrong field, and a sentence on it."""
    location = fault["loc"]
    field = ".".join(str(part) for part in location)
    if fault["type"] == "extra_forbidden":
        return field, f"no such field; allowed here: {', '.join(_fields_at(location[:-1]))}"
    if fault["type"] == "missing":
        return field, "is required and missing"
    message = fault["msg"].removeprefix("Value error, ")
    return field, message if isinstance(fault["input"], dict | list) else f"{message} (found {fault['input']!r})"


def _fields_at(location: Sequence[str | int]) -> list[str]:
    section: type[BaseModel] = Recipe
    for part in location:
        annotation = section.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        section = annotation
    return list(section.model_fields)
