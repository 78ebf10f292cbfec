"""`medshard plan`: what is declared, what was frozen, and where each number comes from."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner, Result
from made_builds import catalog_of

from medshard.commands.plans import plans
from medshard.pipelines.build import build
from medshard.pipelines.user_plans import PLANS_VARIABLE
from medshard.registry.store import Store

GROUP = {"modality": "CT", "case": "{n}", "patient": "{n}", "images": {"ct": {"path": "{n}.nii"}}}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the fingerprint of an entry of two cases, and its catalog beside the source."""
    folder = tmp_path_factory.mktemp("plans") / "source"
    folder.mkdir()
    for number in range(2):
        values = np.random.default_rng(number).integers(-200, 300, (12, 12, 6)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(values, np.diag([0.8, 0.8, 2.5, 1.0])), folder / f"{number}.nii")
    declared = {"default": {}, "thick": {"spacing_mm": [5.0, 1.0, 1.0]}}
    catalog = catalog_of(folder, GROUP, plans=declared)
    build(Store.open(folder.parent / "store"), "made-entry", catalog=catalog, to="fingerprint")
    return folder.parent


@pytest.fixture
def run(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MEDSHARD_CATALOG", str(root / "catalog.yaml"))
    monkeypatch.delenv(PLANS_VARIABLE, raising=False)
    # The command sets it for its process; monkeypatch puts back what was there.
    monkeypatch.setenv(PLANS_VARIABLE, "")

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(plans, [*arguments, "--root", str(root / "store")])

    return invoke


def test_a_plan_is_shown_with_the_reason_of_every_number(run) -> None:
    shown = run("show", "made-entry", "default")
    assert shown.exit_code == 0, shown.output
    assert "frozen" in shown.output
    assert "2.5 x 0.8 x 0.8" in shown.output
    assert "median of 2 cases" in shown.output
    assert "percentile" in shown.output


def test_a_plan_is_shown_as_json(run) -> None:
    document = json.loads(run("show", "made-entry", "thick", "--json").output)
    assert document["declared"] == {"spacing_mm": [5.0, 1.0, 1.0]}
    assert document["plan"]["spacing_mm"] == [5.0, 1.0, 1.0]
    assert document["plan"]["reasons"]["spacing_mm"] == "stated"
    assert document["digest"]


def test_all_plans_of_an_entry_are_listed(run) -> None:
    listed = run("list", "made-entry")
    assert listed.exit_code == 0, listed.output
    assert [line.split()[1] for line in listed.output.splitlines()[1:]] == ["default", "thick"]
    documents = json.loads(run("list", "made-entry", "--json").output)
    assert [document["state"] for document in documents] == ["frozen", "frozen"]


def test_plans_of_a_file_are_listed_beside_and_are_not_frozen_before_a_build(run, tmp_path: Path) -> None:
    file = tmp_path / "plans.yaml"
    file.write_text("cubes: {kind: isotropic}\n", encoding="utf8")
    documents = json.loads(run("list", "made-entry", "--json", "--plan-file", str(file)).output)
    assert [(document["name"], document["source"]) for document in documents][-1] == ("cubes", "file")
    assert documents[-1]["plan"] is None
    assert "not frozen" in documents[-1]["state"]


def test_an_entry_that_is_not_built_shows_what_is_declared(run, tmp_path: Path) -> None:
    shown = CliRunner().invoke(plans, ["show", "made-entry", "thick", "--root", str(tmp_path / "none")])
    assert shown.exit_code == 0, shown.output
    assert "not built" in shown.output
    assert "[5.0, 1.0, 1.0]" in shown.output


def test_a_plan_that_nobody_declares_is_an_error(run) -> None:
    shown = run("show", "made-entry", "none")
    assert shown.exit_code == 1
    assert getattr(shown.exception, "code", "") == "plan.unknown"


def test_the_list_of_the_whole_catalog_leaves_out_what_says_nothing(run) -> None:
    documents = json.loads(run("list", "--json").output)
    assert ("made-entry", "thick") in [(document["entry"], document["name"]) for document in documents]
    assert ("made-entry", "default") not in [(document["entry"], document["name"]) for document in documents]
