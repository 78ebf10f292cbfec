"""`medshard fingerprint`: built entries in numbers, one by one and together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from medshard.commands.fingerprinting import fingerprint
from medshard.converters.fingerprint import fingerprint_volume, sketch_of_cases, sketch_to_json
from medshard.converters.volume import Image, LabelLayer, Rescale, Volume
from medshard.errors import StoreError
from medshard.registry.store import Head, Manifest, Store, publish_manifest, swap_head
from medshard.registry.store.digests import canonical_json

ENTRIES = {"pyradiomics-cases": 2, "icbm152-tissue": 3}


def facts_of(seed: int):
    array = np.random.default_rng(seed).integers(-200, 300, (1, 5, 8, 8)).astype(np.int16)
    labels = (array > 100).astype(np.uint8)
    affine = np.diag([3.0, 0.5, 0.5, 1.0])
    image = Image(array=array, affine=affine, modality="CT", rescale=Rescale(unit="HU"))
    layer = LabelLayer(array=labels, affine=affine, classes={1: "lesion"}, examined=("lesion",))
    return fingerprint_volume(Volume(entry="e", case="c", patient="p", images={"ct": image}, labels={"mask": layer}))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store in which two entries of the public catalog have fingerprints, of made cases."""
    store = Store.open(tmp_path / "store")
    for entry, cases in ENTRIES.items():
        sketch = sketch_of_cases({str(n): facts_of(n) for n in range(cases)}, entry)
        attached = {"sketch": store.publish_bytes(canonical_json(sketch_to_json(sketch)), ".sketch.json")}
        manifest = Manifest(stage="fingerprint", entry=entry, code_version="2", records=())
        swap_head(store, entry, "fingerprint", Head(manifest=publish_manifest(store, manifest), attachments=attached))
    return tmp_path / "store"


def run(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(fingerprint, [*arguments, "--root", str(root)])


def test_several_entries_are_told_as_one(root):
    run_of_both = run(root, *ENTRIES, "--json")
    assert run_of_both.exit_code == 0, run_of_both.output
    told = json.loads(run_of_both.stdout)
    assert told["entries"] == ENTRIES
    assert told["cases"] == 5
    assert told["grids"]["CT"]["spacing_mm"]["median"] == [3.0, 0.5, 0.5]
    lesion = told["classes"]["lesion"]
    assert lesion["voxels"] == sum(
        facts_of(n)["labels"]["mask"]["classes"]["lesion"]["voxels"] for n in (0, 1, 0, 1, 2)
    )


def test_lines_for_people_name_modality_spacing_foreground_and_classes(root):
    shown = run(root, "pyradiomics-cases").stdout
    assert "2 cases of pyradiomics-cases" in shown
    assert "3 x 0.5 x 0.5" in shown
    assert "labels" in shown
    assert "lesion" in shown


def test_entries_are_chosen_as_in_list_and_those_that_are_not_built_are_counted(root):
    chosen = run(root, "--modality", "CT", "--json")
    assert json.loads(chosen.stdout)["entries"] == {"pyradiomics-cases": 2}
    assert "1 of " in chosen.stderr


def test_a_page_and_figures_are_written(root, tmp_path):
    page, folder = tmp_path / "out" / "page.html", tmp_path / "figures"
    result = run(root, "pyradiomics-cases", "--html", str(page), "--figures", str(folder))
    assert result.exit_code == 0, result.output
    assert "Fingerprint of pyradiomics-cases" in page.read_text()
    assert {file.name for file in folder.iterdir()} >= {"intensities.png", "spacings.png", "classes.png"}


def test_nothing_to_do_is_said(root):
    assert run(root).exit_code == 2
    assert "Name entries" in run(root).output
    nothing = run(root, "--text", "no entry has these words")
    assert (nothing.exit_code, "None of the entries" in nothing.output) == (2, True)


def test_an_entry_that_is_not_built_or_of_an_older_version_says_what_to_do(root):
    absent = run(root, "format-families").exception
    assert isinstance(absent, StoreError)
    assert absent.code == "stage.not_built"
    store = Store.open(root, create=False)
    manifest = Manifest(stage="fingerprint", entry="format-families", code_version="1", records=())
    swap_head(store, "format-families", "fingerprint", Head(manifest=publish_manifest(store, manifest)))
    outdated = run(root, "format-families").exception
    assert isinstance(outdated, StoreError)
    assert outdated.code == "fingerprint.outdated"
    assert "medshard build format-families" in str(outdated)
