"""The demo: what is run, what a second call leaves alone, and what becomes of a failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from medshard.errors import MedshardError
from medshard.pipelines import demo
from medshard.pipelines.demo import run_demo
from medshard.registry.store import Store, read_head
from medshard.registry.store.manifests import head_path

ENTRY = "format-families"

SECOND_CALL = """
import sys
from pathlib import Path
from medshard.pipelines.demo import run_demo
run_demo(sys.argv[1], Path(sys.argv[2]), workers=1, entries=[sys.argv[3]])
heavy = {"dagster", "torch", "monai", "great_expectations", "matplotlib"} & set(sys.modules)
print("imported:", ", ".join(sorted(heavy)) or "nothing heavy")
"""


@pytest.fixture(autouse=True)
def _no_instance_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished demo of one entry in it."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DAGSTER_HOME", raising=False)
        run_demo(folder / "data", folder / "demo", workers=1, entries=[ENTRY])
    return folder


def runs_of(folder: Path) -> list[dg.DagsterRun]:
    with dg.DagsterInstance.from_config(str(folder / ".dagster")) as instance:
        return list(instance.get_runs())


def test_an_entry_is_one_successful_dagster_run_with_the_data_versions_of_the_heads(finished: Path) -> None:
    (run,) = runs_of(finished)
    assert run.status == dg.DagsterRunStatus.SUCCESS
    head = read_head(Store.open(finished / "data"), ENTRY, "shards", "default")
    assert head is not None
    with dg.DagsterInstance.from_config(str(finished / ".dagster")) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey([ENTRY, "shards", "default"]))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.tags["dagster/data_version"] == head.data_version
    assert (finished / "demo" / "report.html").is_file()


def test_a_second_call_runs_nothing_and_imports_nothing_heavy(finished: Path) -> None:
    before = (finished / "demo" / "report.html").stat().st_mtime_ns
    arguments = [str(finished / "data"), str(finished / "demo"), ENTRY]
    result = subprocess.run(
        [sys.executable, "-c", SECOND_CALL, *arguments], capture_output=True, text=True, check=True, timeout=120
    )
    assert f"{ENTRY}: up to date" in result.stdout
    assert "imported: nothing heavy" in result.stdout
    assert (finished / "demo" / "report.html").stat().st_mtime_ns == before
    assert len(runs_of(finished)) == 1


def test_an_entry_that_is_current_is_not_run_again_when_only_the_note_is_gone(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (finished / "demo" / demo.STATE_FILE).unlink()
    run_demo(finished / "data", finished / "demo", workers=1, entries=[ENTRY])
    assert f"{ENTRY}: up to date" in capsys.readouterr().out
    assert len(runs_of(finished)) == 1
    assert (finished / "demo" / demo.STATE_FILE).is_file()


def test_a_stage_that_is_gone_is_built_again_to_the_same_digest(finished: Path) -> None:
    store = Store.open(finished / "data")
    shards = head_path(store, ENTRY, "shards", "default")
    before = shards.read_bytes()
    shards.unlink()
    run_demo(store.root, finished / "demo", workers=1, entries=[ENTRY])
    assert shards.read_bytes() == before
    assert len(runs_of(finished)) == 2


def test_a_failed_run_is_named_at_the_end_and_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "PUBLIC_CATALOG", _catalog_with_a_missing_folder(tmp_path))
    with pytest.raises(MedshardError) as raised:
        run_demo(tmp_path / "data", tmp_path / "demo", workers=1)
    assert raised.value.code == "demo.failed"
    assert list(raised.value.details) == ["absent"]
    assert "absent: run" in capsys.readouterr().err
    assert read_head(Store.open(tmp_path / "data"), "present", "shards", "default") is not None
    assert "present" in (tmp_path / "demo" / "report.html").read_text()
    assert not (tmp_path / "demo" / demo.STATE_FILE).exists()


def _catalog_with_a_missing_folder(folder: Path) -> Path:
    source = demo.PUBLIC_CATALOG.parent / "registry" / "examples" / ENTRY / "microaneurysms.png"
    (folder / "photographs").mkdir()
    (folder / "photographs" / "one.png").write_bytes(source.read_bytes())
    entry = """\
  - id: {id}
    title: Photographs
    description: One photograph.
    version: "1"
    groups: [eyes]
    modalities: [fundus]
    tasks: [self-supervised]
    dimensions: [2]
    licence: {{id: CC0-1.0}}
    access: {{kind: open}}
    maturity: acquired
    acquisition: [{{kind: folder, path: {path}}}]
    cases: [{{case: "{{name}}", modality: fundus, images: {{image: {{path: "{{name}}.png"}}}}}}]
"""
    entries = entry.format(id="absent", path="no-such-folder") + entry.format(id="present", path="photographs")
    file = folder / "catalog.yaml"
    file.write_text(f"format_version: 1\nentries:\n{entries}")
    return file
