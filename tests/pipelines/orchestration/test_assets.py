"""Names, tags and small print of the assets."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.pipelines.orchestration.asset_metadata import markdown_table
from medshard.pipelines.orchestration.assets import group_of, stage_key, tag_value
from medshard.pipelines.orchestration.resources import StoreResource
from medshard.pipelines.stages.stage import Context
from medshard.registry.catalog import Catalog


def test_the_shards_of_a_plan_have_a_key_of_their_own() -> None:
    assert stage_key("kits23", "shards", "thin").path == ["kits23", "shards", "thin"]
    assert stage_key("kits23", "raw").path == ["kits23", "raw"]


@settings(max_examples=50, deadline=None)
@given(st.text(st.sampled_from("aZ9-_. /é|"), max_size=80))
def test_any_text_becomes_a_tag_that_dagster_allows(text: str) -> None:
    assert re.fullmatch(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?", tag_value(text))


def test_a_licence_stays_readable_as_a_tag() -> None:
    assert tag_value("BSD-3-Clause AND CC0-1.0") == "BSD-3-Clause-AND-CC0-1.0"


def test_a_group_is_named_like_its_entry() -> None:
    assert group_of("pyradiomics-cases") == "pyradiomics_cases"


def test_the_resource_reads_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEDSHARD_ROOT", str(tmp_path / "store"))
    monkeypatch.setenv("MEDSHARD_WORKERS", "3")
    monkeypatch.setenv("MEDSHARD_DASK_ADDRESS", "tcp://scheduler:8786")
    catalog = Catalog.load()
    context: Context = StoreResource.from_environment().context(catalog.entry("format-families"), catalog)
    assert context.store.root == (tmp_path / "store").resolve()
    assert (context.execution.workers, context.execution.dask_address) == (3, "tcp://scheduler:8786")
    assert not context.progress


def test_without_an_environment_the_store_is_the_folder_data(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MEDSHARD_ROOT", "MEDSHARD_WORKERS", "MEDSHARD_DASK_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    resource = StoreResource.from_environment()
    assert (resource.root, resource.dask_address) == ("data", None)
    assert resource.workers >= 1


def test_a_markdown_table_keeps_its_shape_whatever_a_cell_holds() -> None:
    table = markdown_table(("case", "reason"), [("a|b", "two\nlines"), (None, "<script>")])
    assert table.splitlines() == [
        "| case | reason |",
        "| --- | --- |",
        r"| a\|b | two lines |",
        "|  | &lt;script> |",
    ]


def test_a_long_table_says_how_long_it_is() -> None:
    table = markdown_table(("case",), [(str(number),) for number in range(30)], most=2)
    assert table.splitlines()[2:] == ["| 0 |", "| 1 |", "", "2 of 30 rows."]
