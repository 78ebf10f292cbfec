"""`medshard add`: a folder becomes a draft, and `medshard check` names what only a person can say."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from trees.phantom import Phantom
from trees.tree import Tree
from trees.voxel_files import write_nifti

from medshard.cli import cli


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    root = Tree(tmp_path / "Liver Scans")
    for patient in ("p01", "p02", "p03"):
        body = Phantom(patient, (6, 24, 24), values=(1,))
        write_nifti(root / f"{patient}/ct.nii.gz", body.ct())
        write_nifti(root / f"{patient}/liver_mask.nii.gz", body.labels)
    return root.folder


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.output


def test_the_draft_is_checked_and_builds(scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "my.yaml"
    code, output = run("add", scans, "-o", file)
    assert code == 0, output
    assert "3 cases in 1 groups" in output
    assert run("check", file) == (0, "1 valid entries, 0 problems\n")
    monkeypatch.setenv("MEDSHARD_CATALOG", str(file))
    code, output = run("build", "liver-scans", "--to", "cases", "--root", tmp_path / "store", "--workers", 1)
    assert "3 cases, 0 excluded" in output, output


def test_what_only_a_person_knows_is_a_problem_with_its_line(scans: Path, tmp_path: Path) -> None:
    for mask in scans.glob("*/liver_mask.nii.gz"):
        mask.rename(mask.with_name("mask.nii.gz"))
    file = tmp_path / "my.yaml"
    run("add", scans, "-o", file, "--id", "liver-ct", "--modality", "CT")
    code, output = run("check", file)
    assert code == 1
    (line, *_) = output.splitlines()
    number = next(at for at, text in enumerate(file.read_text().splitlines(), start=1) if "TODO name mask" in text)
    assert line.startswith(
        f"{file}:{number}: liver-ct cases.0.labels.mask.classes.1: no concept is called 'TODO name mask'"
    )


def test_a_draft_replaces_nothing_and_never_lies_in_the_data(scans: Path, tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("mine")
    assert run("add", scans, "-o", file)[0] == 2
    assert file.read_text() == "mine"
    assert run("add", scans, "-o", scans / "entry.yaml")[0] == 2
    assert not (scans / "entry.yaml").exists()


def test_without_output_it_is_printed(scans: Path) -> None:
    code, output = run("add", scans)
    assert code == 0
    assert "\nformat_version: 1\n" in output
