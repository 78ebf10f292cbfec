"""Entries materialised through Dagster, in this process and on an instance of its own."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from medshard.errors import CatalogError, StoreError
from medshard.pipelines.orchestration.assets import entry_assets, stage_key
from medshard.pipelines.orchestration.resources import StoreResource
from medshard.pipelines.stages.stage import STAGES
from medshard.registry.catalog import Catalog
from medshard.registry.store import Store, read_head, read_manifest, swap_head
from medshard.registry.store.manifests import require_head

EXAMPLES = Path(__file__).parents[3] / "registry" / "examples" / "format-families"
NUMBERS = {"cases_in", "cases_ok", "cases_excluded", "cases_done_now", "bytes", "seconds"}


@dataclass(frozen=True)
class Bench:
    """A store, and an instance that remembers what was run on it."""

    store: Store
    instance: dg.DagsterInstance

    def run(self, catalog: Catalog, entry: str, *stages: str, strict: bool = True) -> dg.ExecuteInProcessResult:
        """Materialise those stages of an entry, or all of them."""
        assets = entry_assets(catalog.entry(entry), catalog)
        chosen = [stage_key(entry, stage, "default" if stage == "shards" else None) for stage in stages or STAGES]
        return dg.materialize(
            assets,
            selection=chosen,
            instance=self.instance,
            resources={"store": StoreResource(root=str(self.store.root))},
            raise_on_error=strict,
        )


@pytest.fixture(scope="module")
def examples() -> Catalog:
    return Catalog.load()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, examples: Catalog) -> Iterator[tuple[Bench, Any, Any]]:
    """format-families, materialised twice."""
    with dg.DagsterInstance.ephemeral() as instance:
        bench = Bench(Store.open(tmp_path_factory.mktemp("built") / "store"), instance)
        yield bench, bench.run(examples, "format-families"), bench.run(examples, "format-families")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Bench(Store.open(tmp_path / "store"), instance)


def materialisations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetMaterialization]:
    """By stage, in the order in which they happened."""
    found = [event.materialization for event in result.get_asset_materialization_events()]
    return {materialisation.asset_key.path[1]: materialisation for materialisation in found}


def data_versions(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    return {stage: (one.tags or {})["dagster/data_version"] for stage, one in materialisations(result).items()}


def test_the_data_version_of_every_asset_is_the_digest_of_its_manifest(built: tuple[Bench, Any, Any]) -> None:
    bench, first, _ = built
    assert first.success
    heads = {
        stage: read_head(bench.store, "format-families", stage, "default" if stage == "shards" else None)
        for stage in STAGES
    }
    assert list(data_versions(first)) == list(STAGES)
    assert data_versions(first) == {stage: head.data_version for stage, head in heads.items() if head}


def test_a_second_run_does_nothing_and_gives_the_same_data_versions(built: tuple[Bench, Any, Any]) -> None:
    _, first, second = built
    assert data_versions(second) == data_versions(first)
    done = [
        one.metadata[next(n for n in one.metadata if n.endswith("_done_now"))].value
        for one in materialisations(second).values()
    ]
    assert done == [0, 0, 0, 0, 0]


def test_every_check_of_format_families_passes(built: tuple[Bench, Any, Any]) -> None:
    _, first, _ = built
    evaluations = first.get_asset_check_evaluations()
    assert len(evaluations) == 13
    assert [one.check_name for one in evaluations if not one.passed] == []


def test_stages_report_the_same_few_numbers_under_the_same_names(built: tuple[Bench, Any, Any]) -> None:
    _, first, _ = built
    for stage, materialisation in materialisations(first).items():
        expected = NUMBERS if stage != "raw" else {"sources", "sources_done_now", "files", "bytes", "seconds"}
        assert expected <= set(materialisation.metadata), stage
    shards = materialisations(first)["shards"].metadata
    assert shards["cases_ok"].value == 3
    assert shards["plan"].value["name"] == "default"
    assert "| before (median) | 2.1 | 0.664 | 0.664 |" in str(shards["spacing_mm"].value)


def test_pictures_are_embedded_and_small_enough_for_the_event_log(built: tuple[Bench, Any, Any]) -> None:
    _, first, _ = built
    pictures = {stage: one.metadata.get("contact_sheet") for stage, one in materialisations(first).items()}
    assert [stage for stage, shown in pictures.items() if shown] == ["volumes", "shards"]
    for shown in filter(None, pictures.values()):
        assert "](data:image/png;base64," in str(shown.value)
        assert len(str(shown.value)) < 140_000


def test_paths_in_the_metadata_lead_to_what_is_there(built: tuple[Bench, Any, Any]) -> None:
    _, first, _ = built
    paths = [
        value.path
        for materialisation in materialisations(first).values()
        for value in materialisation.metadata.values()
        if isinstance(value, dg.PathMetadataValue)
    ]
    assert len(paths) > 15
    assert [path for path in paths if path is None or not Path(path).exists()] == []


def test_one_stage_alone_starts_from_what_the_store_has(built: tuple[Bench, Any, Any], examples: Catalog) -> None:
    bench, first, _ = built
    alone = bench.run(examples, "format-families", "fingerprint")
    assert data_versions(alone) == {"fingerprint": data_versions(first)["fingerprint"]}


def test_one_stage_alone_does_not_build_the_stage_before_it(bench: Bench, examples: Catalog) -> None:
    with pytest.raises(StoreError) as refused:
        bench.run(examples, "format-families", "cases")
    assert refused.value.code == "stage.not_built"
    assert "medshard build format-families" in refused.value.action


def test_a_stage_alone_refuses_a_store_that_an_older_catalog_entry_has_made(bench: Bench, tmp_path: Path) -> None:
    catalog = made_catalog(tmp_path, good=1, broken=0)
    bench.run(catalog, "mine", "raw", "cases", "volumes")
    edited = made_catalog(tmp_path, good=1, broken=0, template="{case}.{form}")
    with pytest.raises(StoreError) as refused:
        bench.run(edited, "mine", "volumes")
    assert refused.value.code == "stage.outdated"
    assert "cases" in refused.value.problem
    assert bench.run(edited, "mine", "raw", "cases", "volumes").success


def test_a_bad_case_is_excluded_with_its_reason_and_stops_no_other(bench: Bench, tmp_path: Path) -> None:
    result = bench.run(made_catalog(tmp_path, good=1, broken=1), "mine")
    assert result.success
    cases = materialisations(result)["cases"].metadata
    assert (cases["cases_in"].value, cases["cases_ok"].value, cases["cases_excluded"].value) == (2, 1, 1)
    assert "broken0" in str(cases["excluded"].value)
    usability = check(result, "format_usability")
    assert (usability.passed, usability.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert materialisations(result)["shards"].metadata["cases_in"].value == 1


@pytest.fixture(scope="module")
def blocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, Path, Any]]:
    """An entry of which two cases in three cannot be read, materialised; and the folder of its catalog."""
    folder = tmp_path_factory.mktemp("blocked")
    with dg.DagsterInstance.ephemeral() as instance:
        bench = Bench(Store.open(folder / "store"), instance)
        yield bench, folder, bench.run(made_catalog(folder, good=1, broken=2), "mine", strict=False)


def test_a_blocking_check_that_fails_stops_the_stages_after_it(blocked: tuple[Bench, Path, Any]) -> None:
    _, _, result = blocked
    assert not result.success
    assert list(materialisations(result)) == ["raw", "cases"]
    usability = check(result, "format_usability")
    assert (usability.passed, usability.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert usability.metadata["cases_failing"].value == 2


@pytest.mark.parametrize("stage", ["volumes", "fingerprint", "shards"])
def test_after_a_blocking_check_has_failed_a_later_stage_run_alone_is_refused_too(
    blocked: tuple[Bench, Path, Any], tmp_path: Path, stage: str
) -> None:
    bench, folder, _ = blocked
    # Left over from before the sources went bad.
    late = Bench(copy_of(bench.store, tmp_path), bench.instance)
    for name in ("volumes", "fingerprint"):
        swap_head(late.store, "mine", name, require_head(late.store, "mine", "cases"))
    with pytest.raises(CatalogError) as refused:
        late.run(made_catalog(folder, good=1, broken=2), "mine", stage)
    assert refused.value.code == "inclusion.blocked"
    assert refused.value.where == "mine format-usability"
    assert set(refused.value.details) >= {"broken0", "broken1"}


def test_the_gate_opens_when_the_entry_tolerates_what_it_refused(
    blocked: tuple[Bench, Path, Any], tmp_path: Path
) -> None:
    bench, folder, _ = blocked
    later = Bench(copy_of(bench.store, tmp_path), bench.instance)
    later.run(made_catalog(folder, good=1, broken=2, most_excluded=0.9), "mine", "volumes")
    volumes = read_manifest(later.store, require_head(later.store, "mine", "volumes").manifest)
    assert [record.case for record in volumes.good] == ["good0"]


def copy_of(store: Store, folder: Path) -> Store:
    return Store.open(shutil.copytree(store.root, folder / "copy"))


def check(result: dg.ExecuteInProcessResult, name: str) -> dg.AssetCheckEvaluation:
    return next(one for one in result.get_asset_check_evaluations() if one.check_name == name)


def made_catalog(
    folder: Path, *, good: int, broken: int, template: str = "{case}.mha", most_excluded: float = 0.5
) -> Catalog:
    """An entry of copies of a real MetaImage, and of files that only have its name."""
    data = folder / "data"
    data.mkdir(exist_ok=True)
    for number in range(good):
        (data / f"good{number}.mha").write_bytes((EXAMPLES / "breast1_mr.mha").read_bytes())
    for number in range(broken):
        (data / f"broken{number}.mha").write_bytes(b"ObjectType = Image\nnothing else")
    entry = {
        "id": "mine",
        "title": "Mine",
        "description": "Made for a test.",
        "version": "1",
        "groups": ["thorax"],
        "modalities": ["MR"],
        "tasks": ["self-supervised"],
        "dimensions": [3],
        "licence": {"id": "BSD-3-Clause"},
        "access": {"kind": "open"},
        "maturity": "acquired",
        "acquisition": [{"kind": "folder", "path": "data"}],
        "cases": [{"modality": "MR", "images": {"image": {"path": template}}}],
        "inclusion": {"most_excluded": most_excluded},
    }
    file = folder / "catalog.yaml"
    # JSON is YAML.
    file.write_text(json.dumps({"format_version": 1, "entries": [entry]}))
    catalog = Catalog.load([file])
    assert not catalog.problems
    return catalog
