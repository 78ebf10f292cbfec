"""The audit of the paper: what is computed from rows and sources, what is told, and the totals of the tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_entries import made_entry

from medshard.registry import Catalog, Entry
from medshard.registry.catalog import PUBLIC_CATALOG
from medshard.registry.questions.paper_audit import Disagreement, audit_paper, paper_totals
from medshard.registry.vocabulary import PaperField

ROW = {
    "table": 15,
    "name": "Livers",
    "dimension": "3D",
    "modality": "CT",
    "task": "Organ segmentation",
    "targets": "2",
    "size": "1,204",
    "format": "nii.gz",
}
SOURCE = {"cases": 1204, "classes": 2, "formats": ["nii.gz"]}


def entry(entry_id: str = "livers", **changes: Any) -> Entry:
    return made_entry(entry_id, **{"title": "Some livers", "paper": [ROW], "source": SOURCE, **changes})


def row(**changes: Any) -> list[dict[str, Any]]:
    return [{**ROW, **changes}]


def source(**changes: Any) -> dict[str, Any]:
    return {**SOURCE, **changes}


def audited(**changes: Any) -> list[tuple[PaperField, str, str, str]]:
    return [(item.field, item.paper, item.source, item.note) for item in audit_paper([entry(**changes)])]


def test_a_row_that_agrees_with_its_source_is_no_disagreement() -> None:
    assert audited() == []


@pytest.mark.parametrize(
    ("changes", "field", "paper", "said"),
    [
        ({"paper": row(size="1,203")}, PaperField.SIZE, "1,203", "1,204"),
        ({"paper": row(size="602*3")}, PaperField.SIZE, "602*3", "1,204"),
        ({"source": source(cases=0)}, PaperField.SIZE, "1,204", "0"),
        ({"paper": row(targets="3")}, PaperField.TARGETS, "3", "2"),
        ({"source": source(classes=0)}, PaperField.TARGETS, "2", "0"),
        ({"paper": row(format="nrrd")}, PaperField.FORMAT, "nrrd", "nii.gz"),
        ({"paper": row(format="nii.gz, mha")}, PaperField.FORMAT, "nii.gz, mha", "nii.gz"),
        ({"paper": row(modality="MRI")}, PaperField.MODALITY, "MRI", "CT"),
        ({"paper": row(dimension="2D")}, PaperField.DIMENSION, "2D", "3D"),
    ],
)
def test_what_differs_is_computed_without_being_told(
    changes: dict[str, Any], field: PaperField, paper: str, said: str
) -> None:
    assert audited(**changes) == [(field, paper, said, "")]


@pytest.mark.parametrize(
    "changes",
    [
        {"paper": row(size="602*2")},
        {"paper": row(size="1204")},
        {"paper": row(targets="45/2")},
        {"paper": row(targets="-")},
        {"paper": row(modality="CT / MRI")},
        {"modalities": ["CTA"]},
        {"modalities": ["MR", "CT"], "dimensions": [2, 3]},
        {"source": {}},
    ],
)
def test_what_says_the_same_in_other_words_or_says_nothing_is_none(changes: dict[str, Any]) -> None:
    assert audited(**changes) == []


@pytest.mark.parametrize(
    ("paper", "formats"),
    [
        ("dicom", ["dcm"]),
        ("dcm", ["DICOM"]),
        ("jpg", ["jpeg"]),
        ("png, jpg, jpeg", ["png", "jpg"]),
        ("tif", ["tiff"]),
        ("NII.GZ", [".nii.gz"]),
        ("nii.gz", ["nii.gz", "csv"]),
        ("png / jpg", ["jpg", "png"]),
    ],
)
def test_formats_that_are_spelt_differently_agree(paper: str, formats: list[str]) -> None:
    assert audited(paper=row(format=paper), source=source(formats=formats)) == []


def test_a_volume_that_is_compressed_is_not_the_format_that_is_not() -> None:
    assert [field for field, *_ in audited(source=source(formats=["nii"]))] == [PaperField.FORMAT]


def test_what_is_told_stands_in_the_audit_with_both_sides_even_where_they_agree() -> None:
    told = [{"field": "size", "note": "Two releases."}, {"field": "group", "note": "Shows the pelvis."}]
    assert audited(differences=told) == [
        (PaperField.GROUP, "abdomen", "abdomen", "Shows the pelvis."),
        (PaperField.SIZE, "1,204", "1,204", "Two releases."),
    ]


def test_a_note_explains_what_is_computed_and_makes_no_second_row() -> None:
    told = [{"field": "size", "note": "One scan was withdrawn."}]
    assert audited(source=source(cases=1203), differences=told) == [
        (PaperField.SIZE, "1,204", "1,203", "One scan was withdrawn.")
    ]


def test_a_second_row_that_differs_is_found_and_named() -> None:
    lesions = {**ROW, "table": 16, "name": "Livers again", "size": "1,200"}
    (item,) = audit_paper([entry(paper=[ROW, lesions], groups=["abdomen", "lesion"])])
    assert (item.table, item.name, item.field, item.paper) == (16, "Livers again", PaperField.SIZE, "1,200")


def test_the_first_of_two_rows_that_differ_is_the_one_shown() -> None:
    lesions = {**ROW, "table": 16, "size": "1,200"}
    (item,) = audit_paper([entry(paper=[*row(size="1,100"), lesions])])
    assert (item.table, item.paper) == (15, "1,100")


def test_a_row_of_the_survey_is_not_compared_but_what_is_told_of_it_is_shown() -> None:
    survey = [{"table": 3, "name": "LIVERS", "modality": "multi-modality"}]
    assert audited(paper=survey) == []
    (item,) = audit_paper([entry(paper=survey, differences=[{"field": "modality", "note": "It is CT only."}])])
    assert item.to_json() == {
        "entry": "livers",
        "table": 3,
        "name": "LIVERS",
        "field": "modality",
        "paper": "multi-modality",
        "source": "CT",
        "differs": False,
        "note": "It is CT only.",
    }


def test_what_is_told_of_an_entry_without_a_row_has_no_table() -> None:
    (item,) = audit_paper([entry(paper=[], differences=[{"field": "other", "note": "Not in the paper."}])])
    assert (item.table, item.name, item.paper) == (None, "Some livers", "")


def test_the_audit_is_sorted_by_entry_and_field() -> None:
    wrong = row(size="1", targets="9")
    found = audit_paper([entry("b", paper=wrong), entry("a", paper=wrong)])
    assert [(item.entry, item.field) for item in found] == [
        ("a", PaperField.SIZE),
        ("a", PaperField.TARGETS),
        ("b", PaperField.SIZE),
        ("b", PaperField.TARGETS),
    ]


class TestTotals:
    def test_a_name_that_the_lesion_table_repeats_counts_once(self) -> None:
        again = {**ROW, "table": 16}
        totals = paper_totals([entry(paper=[ROW, again])])
        assert (totals.names, totals.images_3d, totals.images_2d) == (1, 1204, 0)

    def test_two_modalities_of_one_name_count_one_name_and_both_sizes(self) -> None:
        mri = row(modality="MRI", size="40")
        totals = paper_totals([entry("a", paper=row(size="20")), entry("b", paper=mri, modalities=["MR"])])
        assert (totals.names, totals.images_3d) == (1, 60)

    def test_flat_images_are_counted_apart_and_products_are_multiplied(self) -> None:
        flat = row(name="Slides", dimension="2D", size="76*2")
        totals = paper_totals([entry("a"), entry("b", paper=flat)])
        assert (totals.names, totals.images_3d, totals.images_2d) == (2, 1204, 152)

    def test_the_rows_of_the_survey_do_not_count(self) -> None:
        totals = paper_totals([entry(paper=[{"table": 2, "name": "Livers", "size": "77"}])])
        assert (totals.names, totals.images_3d, totals.images_2d) == (0, 0, 0)


class TestThePublicCatalog:
    @pytest.fixture
    def audit(self, catalog: Catalog) -> dict[tuple[str, PaperField], Disagreement]:
        return {(item.entry, item.field): item for item in audit_paper(catalog)}

    def test_every_computed_size_modality_and_dimension_is_explained_or_the_row_means_another_set(
        self, catalog: Catalog, audit: dict[tuple[str, PaperField], Disagreement]
    ) -> None:
        computed = {PaperField.SIZE, PaperField.MODALITY, PaperField.DIMENSION}
        for (entry_id, field), item in audit.items():
            told = {difference.field for difference in catalog.entry(entry_id).differences}
            assert field not in computed or item.note or PaperField.IDENTITY in told, item

    @pytest.mark.parametrize(
        ("row_name", "field"),
        [("RibFrac", None), ("PANDA", None), ("MSD Prostate", PaperField.MODALITY)],
    )
    def test_the_errors_that_are_known_of_the_tables_are_in_it(
        self,
        catalog: Catalog,
        audit: dict[tuple[str, PaperField], Disagreement],
        row_name: str,
        field: PaperField | None,
    ) -> None:
        ids = {one.id for one in catalog if any(row_name.casefold() in name.casefold() for name in one.all_names)}
        assert ids
        found = {known for entry_id, known in audit if entry_id in ids}
        assert found if field is None else field in found

    def test_no_field_of_an_entry_is_told_twice(self, catalog: Catalog) -> None:
        for one in catalog:
            told = [difference.field for difference in one.differences]
            assert len(told) == len(set(told)), one.id


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load([Path(PUBLIC_CATALOG)])
