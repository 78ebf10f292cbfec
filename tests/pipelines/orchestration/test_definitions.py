"""What Dagster is told: which assets there are, how they hang together, and what loading them costs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from medshard.pipelines.definitions import definitions
from medshard.pipelines.stages.stage import CODE_VERSIONS, STAGES
from medshard.registry.catalog import OVERLAYS_VARIABLE, Catalog
from medshard.training.recipe import RECIPES_VARIABLE, load_recipes

# Imported by nothing that the server loads: each takes seconds, for every restart and every run.
TOO_HEAVY = ("torch", "monai", "great_expectations", "SimpleITK", "zarr", "matplotlib", "pandas")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The public catalog and recipes only."""
    monkeypatch.delenv(OVERLAYS_VARIABLE, raising=False)
    monkeypatch.delenv(RECIPES_VARIABLE, raising=False)


def specs(loaded: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in loaded.resolve_all_asset_specs()}


def checks_of(loaded: dg.Definitions, asset: str) -> list[str]:
    keys = loaded.resolve_asset_graph().asset_check_keys
    return sorted(key.name for key in keys if key.asset_key.to_user_string() == asset)


def facts(loaded: dg.Definitions, name: str) -> dict[str, object]:
    """What a reader of the graph sees of one group."""
    return {
        key: (sorted(dep.asset_key.to_user_string() for dep in spec.deps), checks_of(loaded, key))
        for key, spec in sorted(specs(loaded).items())
        if spec.group_name == name
    }


def test_an_entry_is_a_chain_of_five_assets_with_two_to_four_checks_each(alone: None) -> None:
    assert facts(definitions(), "icbm152_tissue") == {
        "icbm152-tissue/raw": ([], ["sources_pinned", "sources_verified"]),
        "icbm152-tissue/cases": (
            ["icbm152-tissue/raw"],
            ["annotation_completeness", "expectations", "format_usability", "task_adaptability"],
        ),
        "icbm152-tissue/volumes": (["icbm152-tissue/cases"], ["no_case_lost", "nothing_excluded"]),
        "icbm152-tissue/fingerprint": (["icbm152-tissue/volumes"], ["no_case_lost", "no_duplicates"]),
        "icbm152-tissue/shards/default": (
            ["icbm152-tissue/fingerprint"],
            ["no_case_lost", "no_class_vanished", "nothing_excluded"],
        ),
    }


def test_a_recipe_depends_on_the_shards_of_its_entries_and_on_its_own_stages(alone: None) -> None:
    pretraining = ["format-families", "icbm152-tissue", "pydicom-samples", "pyradiomics-cases"]
    shards = [f"{entry}/shards/default" for entry in pretraining]
    assert facts(definitions(), "lesion_demo") == {
        "lesion-demo/split": (shards, []),
        "lesion-demo/pretrained": (sorted(["lesion-demo/split", *shards]), []),
        "lesion-demo/finetuned": (["lesion-demo/pretrained", "pyradiomics-cases/shards/default"], []),
        "lesion-demo/evaluation": (["lesion-demo/finetuned", "pyradiomics-cases/shards/default"], []),
    }


def test_every_valid_entry_and_recipe_is_there_and_nothing_else(alone: None) -> None:
    plans = sum(len(entry.plans) for entry in Catalog.load())
    expected = 4 * len(Catalog.load()) + plans + 4 * len(load_recipes())
    assert len(specs(definitions())) == expected


def test_an_entry_with_two_plans_has_shards_of_each_side_by_side(
    alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OVERLAYS_VARIABLE, str(write_overlay(tmp_path, plans={"default": {}, "thin": {}})))
    loaded = specs(definitions())
    for plan in ("default", "thin"):
        deps = [dep.asset_key.to_user_string() for dep in loaded[f"mine/shards/{plan}"].deps]
        assert deps == ["mine/fingerprint"]


def test_an_asset_says_what_its_entry_is_before_anything_was_built(alone: None) -> None:
    spec = specs(definitions())["pydicom-samples/cases"]
    assert "Validate" in (spec.description or "")
    assert "MIT AND BSD-3-Clause" in (spec.description or "")
    assert spec.code_version == CODE_VERSIONS["cases"]
    assert spec.owners == ["team:medshard"]
    assert spec.kinds == {"python", "parquet"}
    assert spec.metadata["licence"] == "MIT AND BSD-3-Clause"
    assert "spacing_z_mm" in [column.name for column in spec.metadata["dagster/column_schema"].columns]
    assert spec.tags["stage"] == "cases"
    assert spec.tags["licence"] == "MIT-AND-BSD-3-Clause"
    assert {"modality/CT", "modality/MR", "group/mixed", "task/self-supervised"} <= set(spec.tags)


def test_only_the_criteria_that_an_entry_names_are_blocking(alone: None) -> None:
    graph = definitions().resolve_asset_graph()
    blocking = {
        entry: sorted(
            key.name
            for key in graph.asset_check_keys
            if key.asset_key == dg.AssetKey([entry, "cases"]) and graph.get_check_spec(key).blocking
        )
        for entry in ("format-families", "pyradiomics-cases")
    }
    assert blocking == {
        "format-families": ["format_usability"],
        "pyradiomics-cases": ["annotation_completeness", "format_usability", "task_adaptability"],
    }


def test_the_definitions_are_loadable_and_run_in_one_process(alone: None) -> None:
    loaded = definitions()
    dg.Definitions.validate_loadable(loaded)
    assert loaded.executor is dg.in_process_executor
    assert set(loaded.resources or {}) == {"store"}


def test_an_invalid_entry_is_visible_with_its_message_and_hides_no_other(
    alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay = write_overlay(tmp_path, maturity="finished")
    monkeypatch.setenv(OVERLAYS_VARIABLE, str(overlay))
    loaded = specs(definitions())
    spec = loaded["mine/raw"]
    assert spec.group_name == "mine"
    assert "finished" in (spec.description or "")
    assert "overlay.yaml:" in (spec.description or "")
    assert "invalid" in spec.tags
    assert spec.kinds == {"invalid"}
    assert "mine/cases" not in loaded
    assert "format-families/shards/default" in loaded


def test_materialising_an_invalid_entry_fails_at_once_with_its_message(
    alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OVERLAYS_VARIABLE, str(write_overlay(tmp_path, maturity="finished")))
    with pytest.raises(dg.Failure) as failure:
        definitions().resolve_implicit_global_asset_job_def().execute_in_process(
            asset_selection=[dg.AssetKey(["mine", "raw"])]
        )
    assert "maturity" in (failure.value.description or "")


def test_an_id_that_is_taken_is_shown_by_its_line_and_leaves_the_entry_that_has_it_alone(
    alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OVERLAYS_VARIABLE, str(write_overlay(tmp_path, id="format-families")))
    loaded = specs(definitions())
    (shown,) = [spec for key, spec in loaded.items() if key.startswith("overlay.yaml:")]
    assert "taken" in (shown.description or "")
    assert shown.kinds == {"invalid"}
    assert loaded["format-families/raw"].kinds == {"python", "file"}


@pytest.mark.parametrize("name", ["format_families", "Not an id!", "a/b"])
def test_whatever_an_invalid_entry_calls_itself_the_others_load(
    alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(OVERLAYS_VARIABLE, str(write_overlay(tmp_path, id=name)))
    loaded = definitions()
    dg.Definitions.validate_loadable(loaded)
    assert [spec.key.path for spec in specs(loaded).values() if "invalid" in spec.tags] == [[name, "raw"]]


def test_a_catalog_file_that_is_no_yaml_is_visible(
    alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "overlay.yaml").write_text("entries: [")
    monkeypatch.setenv(OVERLAYS_VARIABLE, str(tmp_path / "overlay.yaml"))
    invalid = [spec for spec in specs(definitions()).values() if spec.kinds == {"invalid"}]
    assert len(invalid) == 1
    assert "not YAML" in (invalid[0].description or "")


def test_an_invalid_recipe_is_visible_and_hides_no_other(
    alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "typo.yaml").write_text("format_version: 1\nid: typo\n")
    monkeypatch.setenv(RECIPES_VARIABLE, str(tmp_path))
    loaded = specs(definitions())
    assert "recipe.invalid" in (loaded["typo.yaml/pretrained"].description or "")
    assert "lesion-demo/evaluation" in loaded


def test_loading_the_definitions_imports_nothing_that_takes_seconds() -> None:
    script = (
        "import json, sys\n"
        "from medshard.pipelines.definitions import definitions\n"
        "definitions().resolve_all_asset_specs()\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEDSHARD_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert loaded.isdisjoint(TOO_HEAVY)
    assert "dagster" in loaded


def write_overlay(folder: Path, **changes: object) -> Path:
    """A catalog of one entry, valid but for the changes."""
    entry = {
        "id": "mine",
        "title": "Mine",
        "description": "Made for a test.",
        "version": "1",
        "groups": ["brain"],
        "modalities": ["MR"],
        "tasks": ["self-supervised"],
        "dimensions": [3],
        "licence": {"id": "CC0-1.0"},
        "access": {"kind": "open"},
        "maturity": "described",
        "acquisition": [{"kind": "folder", "path": "data"}],
        "cases": [{"modality": "MR", "images": {"image": {"path": "{case}.nrrd"}}}],
    }
    file = folder / "overlay.yaml"
    # JSON is YAML.
    file.write_text(json.dumps({"format_version": 1, "entries": [entry | changes]}, indent=1))
    return file


def test_the_stages_and_their_code_versions_are_the_same_list() -> None:
    assert set(CODE_VERSIONS) == set(STAGES)
