"""The catalog file: what is valid, and how precisely it says what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from medshard.errors import CatalogError
from medshard.registry import Catalog

GOOD = """\
format_version: 1
entries:
  - id: two-scans
    title: Two scans
    description: Two.
    version: "1"
    groups: [brain]
    modalities: [CT]
    tasks: [segmentation]
    dimensions: [3]
    licence: {id: CC-BY-4.0, commercial_use: allowed}
    access: {kind: open}
    maturity: described
    acquisition:
      - kind: folder
        path: scans
    cases:
      - modality: CT
        images:
          image: {path: "{case}.nii.gz"}
        labels:
          mask: {path: "{case}_seg.nii.gz", classes: {1: liver}}
"""


def catalog_of(tmp_path: Path, text: str) -> Catalog:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return Catalog.load([file])


def line_of(text: str, fragment: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), start=1) if fragment in line)


def test_a_good_entry_loads(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, GOOD)
    assert catalog.problems == ()
    assert catalog.entry("two-scans").cases[0].labels["mask"].concepts == {1: "liver"}
    assert catalog.folder("two-scans") == tmp_path


@pytest.mark.parametrize(
    ("old", "new", "field", "says"),
    [
        ("maturity: described", "maturity: perfect", "maturity", "'described', 'layout-tested' or 'acquired'"),
        ("modalities: [CT]", "modalities: [CTT]", "modalities.0", "'CT'"),
        ("    title: Two scans\n", "", "title", "Field required"),
        ("commercial_use: allowed", "comercial_use: allowed", "licence.comercial_use", "Extra inputs"),
        ("path: scans", "pth: scans", "acquisition.0.pth", "Extra inputs"),
        ("kind: folder", "kind: fodler", "acquisition.0", "did you mean `folder`?"),
        ('path: "{case}.nii.gz"', 'path: "{case.nii.gz"', "cases.0.images.image.path", "unbalanced brace"),
        ('path: "{case}.nii.gz"', 'path: "/etc/{case}"', "cases.0.images.image.path", "below the acquired tree"),
        ('path: "{case}_seg.nii.gz"', 'path: "{scan}_seg.nii.gz"', "cases.0", "['scan'] do not occur"),
        ("classes: {1: liver}", "classes: {0: liver}", "cases.0.labels.mask", "0 is the background"),
        ("id: two-scans", "id: Two Scans", "id", "small letters and digits"),
    ],
)
def test_a_bad_field_is_named_with_file_line_and_field(
    tmp_path: Path, old: str, new: str, field: str, says: str
) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    catalog = catalog_of(tmp_path, text)
    problem = next(problem for problem in catalog.problems if problem.field == field)
    assert problem.file == str(tmp_path / "mine.yaml")
    assert says in problem.message
    # What is missing, or wrong between several fields, is reported where the part begins that it belongs to.
    changed = {"title": "- id: two-scans", "cases.0": "- modality: CT"}.get(field, new.strip())
    assert problem.line == line_of(text, changed)


def test_a_bad_entry_hides_no_other_and_can_be_asked_for(tmp_path: Path) -> None:
    other = GOOD.split("entries:\n")[1].replace("two-scans", "bad-one").replace("maturity: described", "maturity: no")
    catalog = catalog_of(tmp_path, GOOD + other)
    assert list(catalog.entries) == ["two-scans"]
    assert list(catalog.invalid) == ["bad-one"]
    with pytest.raises(CatalogError, match=r"entry.invalid.*bad-one(.|\n)*maturity") as caught:
        catalog.entry("bad-one")
    assert caught.value.code == "entry.invalid"


def test_an_unknown_id_suggests_near_ones(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="two-scans"):
        catalog_of(tmp_path, GOOD).entry("two-scan")


def test_a_key_that_stands_twice_is_a_problem_of_its_entry(tmp_path: Path) -> None:
    text = GOOD.replace("    version:", "    title: Again\n    version:")
    catalog = catalog_of(tmp_path, text)
    assert len(catalog) == 0
    (problem,) = catalog.problems
    assert (problem.entry, problem.field, problem.line) == ("two-scans", "title", line_of(text, "Again"))


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    text = GOOD.replace("groups: [brain]", "groups: [brain")
    (problem,) = catalog_of(tmp_path, text).problems
    assert "not YAML" in problem.message
    assert abs(problem.line - line_of(text, "groups")) <= 1


def test_an_id_that_is_taken_is_refused_and_the_first_stays(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(GOOD)
    second.write_text(GOOD.replace("Two scans", "Other scans"))
    catalog = Catalog.load([first, second])
    assert catalog.entry("two-scans").title == "Two scans"
    assert "taken by" in catalog.problems[0].message


def test_overlays_add_private_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(GOOD)
    monkeypatch.setenv("MEDSHARD_CATALOG", str(file))
    catalog = Catalog.load()
    assert {"two-scans", "pyradiomics-cases"} <= set(catalog.entries)


def test_a_catalog_file_that_is_not_there_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    (problem,) = Catalog.load([tmp_path / "absent.yaml"]).problems
    assert "cannot be read" in problem.message


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    (problem,) = catalog_of(tmp_path, GOOD.replace("format_version: 1", "format_version: 2")).problems
    assert (problem.field, problem.line) == ("format_version", 1)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "the file is empty"),
        ("format_version: 1\nentries:\n  - id: x\n    version: 2024-13-01\n", 4, "cannot be understood"),
        ("format_version: 1\nentries:\n  - id: !!int abc\n", 3, "cannot be understood"),
        ("format_version: 1\nentries: [\x07]\n", 2, "not YAML"),
        ("format_version: 1\nentries: [1]\n", 2, "fields (`name: value`"),
        ("- just\n- a list\n", 1, "list of `entries`"),
    ],
)
def test_a_file_that_is_no_catalog_is_a_problem_with_a_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    problem = catalog_of(tmp_path, text).problems[0]
    assert says in problem.message
    assert problem.line == line


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("classes: {1: liver}", "classes: {1: liver}, examined: [spleen]", "not among the classes"),
        ("classes: {1: liver}", "classes: {-1: liver}", "none negative"),
        (
            "maturity: described",
            "maturity: described\n    plans: {default: {patch_size: [0, 64, 64]}}",
            "greater than 0",
        ),
        (
            "maturity: described",
            "maturity: described\n    reencode: [{source: a, to: dicom-series, folder: ../../x, description: x}]",
            "below the acquired tree",
        ),
    ],
)
def test_values_that_cannot_work_are_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    problems = catalog_of(tmp_path, GOOD.replace(old, new, 1)).problems
    assert len(problems) == 1
    assert says in problems[0].message


TABLES = '        tables:\n          image: {path: "{case}.csv"}\n'


@pytest.mark.parametrize(
    ("written", "changed", "says"),
    [
        ('path: "{case}.nii.gz"', 'path: "{case}_{rater}.nii.gz"', "call those of"),
        ("{case}_seg.nii.gz", "{case}_{rater}.nii.gz", None),
        ("- modality: CT", "- modality: CT\n        where: {rater: '[ab]'}", "stand in its path only"),
        ("        labels:", TABLES + "        labels:", "two kinds of contents"),
    ],
)  # fmt: skip
def test_fields_that_count_up_label_files_stand_in_label_paths_only(
    tmp_path: Path, written: str, changed: str, says: str | None
) -> None:
    text = GOOD.replace(written, changed)
    if says == "call those of":
        text = text.replace("{case}_seg.nii.gz", "{case}_{rater}_seg.nii.gz")
    catalog = catalog_of(tmp_path, text)
    assert [says in problem.message for problem in catalog.problems if says] == [True] * bool(says)
    assert bool(catalog.problems) == bool(says)


def test_an_overlay_that_repeats_an_id_spoils_no_valid_entry(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(GOOD)
    second.write_text(GOOD)
    catalog = Catalog.load([first, second])
    assert list(catalog.entries) == ["two-scans"]
    assert list(catalog.invalid) == ["second.yaml:3"]
