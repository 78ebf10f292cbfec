"""Recipes: what a file may say, and what a reader is told when it says something else."""

import subprocess
import sys
from pathlib import Path

import pytest

from medshard.errors import CatalogError
from medshard.training.recipe import Recipe, load_recipe, load_recipes, recipe_files

PACKAGED = Path(__file__).parents[2] / "training" / "recipes" / "lesion-demo.yaml"


def _edited(folder: Path, old: str, new: str) -> Path:
    text = PACKAGED.read_text()
    assert old in text
    path = folder / "edited.yaml"
    path.write_text(text.replace(old, new, 1))
    return path


def test_the_packaged_recipe_states_that_its_scores_support_no_claim() -> None:
    recipe = load_recipes()["lesion-demo"]
    assert "support no claim" in recipe.claim
    assert recipe.all_entries[0] == "pyradiomics-cases"


def test_all_entries_names_each_entry_of_every_stage_once(recipe: Recipe) -> None:
    assert recipe.all_entries == ("blobs", "plain")


@pytest.mark.parametrize(
    ("old", "new", "field", "hint"),
    [
        ("seed: 20", "seeed: 20", "seeed", "allowed here: format_version, id"),
        ("  mask_ratio: 0.75", "  mask_ration: 0.75", "pretraining.mask_ration", "mask_ratio"),
        ("  mask_ratio: 0.75", "  mask_ratio: 1.5", "pretraining.mask_ratio", "less than 1 (found 1.5)"),
        ("parts: [test]", "parts: [train]", "evaluation.parts.0", "'test' or 'val'"),
        ("train: 0.6", "train: 0.7", "split.fractions", "add up to 1"),
        ("token_size: [4, 16, 16]", "token_size: [4, 12, 16]", "model", "powers of two"),
        ("hidden_size: 192", "hidden_size: 190", "model", "multiple of 6"),
        ("classes: [lesion]", "classes: [lesion, lesion]", "classes", "more than once"),
        ("title: Lesion", "seed: 7\ntitle: Lesion", "seed", "twice"),
    ],
)
def test_a_wrong_field_is_named_with_its_line_and_what_is_allowed(
    tmp_path: Path, old: str, new: str, field: str, hint: str
) -> None:
    path = _edited(tmp_path, old, new)
    with pytest.raises(CatalogError) as raised:
        load_recipe(path)
    details = raised.value.details
    label = next(label for label in details if label.endswith(f" {field}"))
    assert hint in details[label]
    assert label.startswith("line ")
    assert raised.value.where == str(path)


def test_the_line_of_a_misspelt_field_is_where_it_stands(tmp_path: Path) -> None:
    path = _edited(tmp_path, "  mask_ratio: 0.75", "  mask_ration: 0.75")
    line = next(n for n, text in enumerate(path.read_text().splitlines(), start=1) if "mask_ration" in text)
    with pytest.raises(CatalogError) as raised:
        load_recipe(path)
    assert f"line {line} pretraining.mask_ration" in raised.value.details


def test_a_file_that_is_no_yaml_is_a_catalog_error(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("id: [unclosed")
    with pytest.raises(CatalogError, match=r"broken\.yaml"):
        load_recipe(tmp_path / "broken.yaml")


def test_recipes_of_a_private_folder_stand_beside_the_packaged_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _edited(tmp_path, "id: lesion-demo", "id: private-demo")
    monkeypatch.setenv("MEDSHARD_RECIPES", str(tmp_path))
    assert set(load_recipes()) >= {"lesion-demo", "private-demo"}


def test_an_id_that_two_files_have_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _edited(tmp_path, "title:", "title:")
    monkeypatch.setenv("MEDSHARD_RECIPES", str(tmp_path))
    with pytest.raises(CatalogError, match="lesion-demo is taken"):
        load_recipes()


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no such folder"):
        recipe_files([tmp_path / "absent"])


def test_a_change_of_one_stage_leaves_the_digests_of_the_stages_before_it_alone(recipe: Recipe) -> None:
    other = recipe.model_copy(update={"finetuning": recipe.finetuning.model_copy(update={"steps": 3})})
    assert other.stage_digest("pretraining") == recipe.stage_digest("pretraining")
    assert other.stage_digest("finetuning") != recipe.stage_digest("finetuning")
    assert other.digest != recipe.digest


def test_reading_recipes_and_manifests_imports_no_torch() -> None:
    program = (
        "import sys, medshard.training.recipe, medshard.training.manifest, medshard.training.pretrain, "
        "medshard.training.finetune, medshard.training.evaluate\n"
        "sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
