"""`medshard export`: which words it takes, what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from made_exports import Source, organs

from medshard.commands.exporting import export
from medshard.errors import MedshardError


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    source = Source(tmp_path / "made")
    source.add_case("a", organs())
    source.build()
    monkeypatch.setenv("MEDSHARD_CATALOG", str(source.home / "catalog.yaml"))
    monkeypatch.setenv("MEDSHARD_ROOT", str(source.home / "store"))

    def run_command(*words: str | Path) -> Result:
        return CliRunner().invoke(export, [str(word) for word in words])

    return run_command


@pytest.mark.parametrize("form", ["nnunet", "monai", "webdataset", "bids"])
def test_every_form_writes_its_papers_and_says_what_it_did(run: Any, tmp_path: Path, form: str) -> None:
    result = run(form, "made-entry", "--output", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert list(printed["cases"]) == ["a"]
    folder = Path(printed["path"]) if Path(printed["path"]).is_dir() else Path(printed["path"]).parent
    assert {"NOTICE.md", "lineage.json", "export.json"} <= {path.name for path in folder.iterdir()}


def test_the_record_needs_no_store(run: Any) -> None:
    assert json.loads(run("croissant", "made-entry").stdout)["name"]


def test_cases_need_a_folder(run: Any) -> None:
    result = run("nnunet", "made-entry")
    assert result.exit_code == 2
    assert "--output" in result.output


def test_a_plan_is_refused_where_it_would_change_nothing(run: Any, tmp_path: Path) -> None:
    result = run("bids", "made-entry", "-o", tmp_path / "out", "--plan", "default")
    assert result.exit_code == 2
    assert "webdataset" in result.output


def test_an_unknown_form_is_answered_with_those_there_are(run: Any) -> None:
    result = run("bibtex", "made-entry")
    assert result.exit_code == 2
    assert "croissant" in result.output
    assert "nnunet" in result.output


@pytest.mark.parametrize(
    ("words", "code"),
    [(("--case", "z"), "export.unknown_case"), (("--concept", "lung"), "export.unknown_concept")],
)
def test_a_misspelt_word_is_refused_before_anything_is_written(
    run: Any, tmp_path: Path, words: tuple[str, ...], code: str
) -> None:
    result = run("monai", "made-entry", "-o", tmp_path / "out", *words)
    assert isinstance(result.exception, MedshardError)
    assert result.exception.code == code
    assert not (tmp_path / "out").exists()
