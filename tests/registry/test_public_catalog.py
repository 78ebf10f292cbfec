"""The public catalog: every data set of the platform and of the survey, in its canonical form, and what it must say."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
import yaml

from medshard.registry import Catalog
from medshard.registry.catalog import PUBLIC_CATALOG
from medshard.registry.catalog.formatting import format_catalog
from medshard.registry.catalog.json_schema import SCHEMA_FILE, schema_text
from medshard.registry.questions.paper_audit import paper_totals
from medshard.registry.vocabulary import PLATFORM_GROUPS, Confidence, Maturity

PAPER = Path(__file__).parent / "paper"
CORPORA_FILE = PUBLIC_CATALOG.parent / "registry" / "corpora.yaml"


def rows(name: str) -> list[dict[str, str]]:
    with (PAPER / name).open(encoding="utf8", newline="") as file:
        return list(csv.DictReader(file))


PLATFORM_ROWS = rows("platform-rows.csv")
SURVEY_ROWS = rows("survey-rows.csv")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load([PUBLIC_CATALOG])


def test_it_has_no_problem(catalog):
    assert [str(problem) for problem in catalog.problems] == []


def test_it_is_in_its_canonical_form():
    text = PUBLIC_CATALOG.read_text(encoding="utf8")
    assert format_catalog(text, file="catalog.yaml") == text, "run `medshard format`"


def test_the_published_json_schema_is_that_of_the_models():
    assert SCHEMA_FILE.read_text(encoding="utf8") == schema_text(), "run `medshard schema --output catalog.schema.json`"


@pytest.mark.parametrize("row", PLATFORM_ROWS, ids=lambda row: f"{row['table']}-{row['dataset']}-{row['modality']}")
def test_a_row_of_the_platforms_tables_stands_in_one_entry_word_for_word(catalog, row):
    owners = [
        entry.id
        for entry in catalog
        for stated in entry.paper
        if (str(stated.table), stated.name, stated.dimension, stated.modality, stated.task)
        == (row["table"], row["dataset"], row["dim"], row["modality"], row["task"])
        and (stated.targets, stated.size, stated.format, stated.group)
        == (row["targets"], row["size"], row["format"], row["group"])
    ]
    assert len(owners) == 1
    assert owners[0] in {entry.id for entry in catalog.named(row["dataset"])}


@pytest.mark.parametrize("row", SURVEY_ROWS, ids=lambda row: f"{row['table']}-{row['dataset']}-{row['task']}")
def test_a_row_of_the_surveys_tables_leads_to_its_entries(catalog, row):
    found = {
        entry.id
        for entry in catalog
        for stated in entry.paper
        if (str(stated.table), stated.name, stated.task or "") == (row["table"], row["dataset"], row["task"])
        and (stated.modality or "") == row["imaging_method"]
        and (stated.region or "") == row["region"]
    }
    assert found
    if row["entries"] != "extra":
        assert len(found) >= len(row["entries"].split(";"))
    assert found <= {entry.id for entry in catalog.named(row["dataset"])}


def test_the_platform_on_paper_has_as_many_images_as_its_tables_add_up_to(catalog):
    totals = paper_totals(catalog)
    assert (totals.names, totals.images_3d, totals.images_2d) == (136, 44_316, 214_596)


def test_each_group_lists_the_rows_of_its_table(catalog):
    stated = Counter(row["group"] for row in PLATFORM_ROWS)
    for group in PLATFORM_GROUPS:
        entries = catalog.where(group=group.value, platform=True)
        assert len(entries) == stated[group.value], group
    assert len(catalog.where(group="lesion")) == stated["lesion"] == 47


def test_every_value_of_every_label_has_a_concept_or_a_reason(catalog):
    for entry in catalog:
        for group in entry.cases:
            for layer in (*group.labels.values(), *group.annotations.values()):
                assert all(concept in catalog.vocabulary for concept in layer.examined_concepts), entry.id
                assert all(reason.strip() for reason in layer.unmapped.values()), entry.id


def test_what_is_not_certain_is_told(catalog):
    for entry in catalog:
        assert entry.confidence is Confidence.VERIFIED or entry.doubts, entry.id
        assert entry.cases or entry.doubts, f"{entry.id} has no layout and does not say why"
        assert entry.evidence or entry.maturity is Maturity.ACQUIRED, entry.id


def test_nothing_is_left_to_be_filled_in(catalog):
    text = PUBLIC_CATALOG.read_text(encoding="utf8")
    assert "TODO" not in text
    assert "TBD" not in text


def test_only_what_was_downloaded_here_counts_as_acquired(catalog):
    acquired = {entry.id for entry in catalog if entry.maturity is Maturity.ACQUIRED}
    assert acquired == {"format-families", "icbm152-tissue", "pydicom-samples", "pyradiomics-cases"}


def test_a_gated_entry_says_what_to_do(catalog):
    for entry in catalog:
        if entry.access.kind != "open":
            assert len(entry.access.instructions) > 20, entry.id


def test_every_corpus_of_the_surveys_models_is_an_entry_or_a_stated_omission(catalog):
    """Tables 6 to 9: what is left of a data column without the names of registry/corpora.yaml is commas."""
    corpora = yaml.safe_load(CORPORA_FILE.read_text(encoding="utf8"))
    names = sorted({corpus["name"] for corpus in corpora}, key=len, reverse=True)
    for row in rows("corpora-rows.csv"):
        rest = row["data"]
        for name in names:
            rest = rest.replace(name, "")
        assert not rest.strip(" ,.and"), row
    for corpus in corpora:
        known = corpus.get("covered_by", [])
        assert bool(known) == (corpus["reason"] == "covered-by"), corpus["name"]
        assert all(entry in catalog.entries for entry in known), corpus["name"]


def test_the_surveys_question_benchmarks_are_entries(catalog):
    for name in ("MedQA", "MedMCQA", "PubMedQA", "MedXpertQA"):
        assert catalog.named(name), name
