"""Questions to the catalog: conditions find what they say, and words that nobody knows are refused with near ones."""

from __future__ import annotations

from typing import Any

import pytest
from made_entries import made_entry

from medshard.errors import CatalogError
from medshard.registry import Catalog, Entry
from medshard.registry.catalog import PUBLIC_CATALOG
from medshard.registry.catalog.query import CONDITIONS, SOURCE_KINDS, select
from medshard.registry.concepts import Vocabulary, read_concepts
from medshard.registry.vocabulary import Group, Modality, Permission

VOCABULARY: Vocabulary = read_concepts(
    [
        {"name": "kidney", "kind": "organ", "synonyms": ["ren"]},
        {"name": "left kidney", "kind": "organ", "side": "left", "parent": "kidney"},
        {"name": "kidney tumour", "kind": "lesion", "located_in": "kidney"},
        {"name": "vessel", "kind": "vessel"},
        {"name": "pneumonia", "kind": "diagnosis"},
    ]
)[0]


def entry(entry_id: str, **changes: Any) -> Entry:
    return made_entry(entry_id, **{"title": entry_id.upper(), **changes})


def masks(modality: str, classes: dict[int, str], *, sequence: str | None = None, **more: Any) -> list[dict[str, Any]]:
    image = {"path": "{case}.nii.gz", "sequence": sequence}
    labels = {"mask": {"path": "{case}_mask.nii.gz", "classes": classes, **more}}
    return [{"modality": modality, "images": {"image": image}, "labels": labels}]


ROW = {"table": 15, "name": "Kidneys", "dimension": "3D", "modality": "CT", "task": "Seg", "targets": "2"}

ENTRIES = (
    entry(
        "kidneys",
        groups=["abdomen", "lesion"],
        regions=["kidney"],
        licence={"id": "CC-BY-NC-SA-4.0"},
        paper=[{**ROW, "size": "4", "format": "nii.gz"}],
        cases=masks("CT", {1: "left kidney", 2: "kidney tumour"}, examined=["kidney tumour"]),
    ),
    entry(
        "arteries",
        modalities=["CTA"],
        groups=["vessel"],
        names=["Tree of arteries"],
        notes="Contrast agent in every scan.",
        access={"kind": "account", "instructions": "Register."},
        acquisition=[{"kind": "kaggle", "dataset": "a/b"}],
        confidence="partly",
        doubts=["The counts."],
        licence={"id": "CC-BY-4.0", "confidence": "memory", "note": "Heard of."},
        cases=masks("CTA", {1: "vessel"}),
    ),
    entry("glucose", modalities=["PET-CT"], groups=["whole-body"], licence={"id": "CC-BY-SA-4.0"}),
    entry(
        "brains",
        modalities=["MR"],
        groups=["brain"],
        maturity="layout-tested",
        licence={"id": "LicenseRef-unknown"},
        paper=[{"table": 3, "name": "Brains"}],
        cases=masks("MR", {1: "kidney"}, sequence="FLAIR"),
    ),
    entry(
        "chests",
        modalities=["X-ray"],
        groups=["thorax"],
        tasks=["classification"],
        dimensions=[2],
        licence={"id": "CC-BY-NC-ND-4.0"},
        cases=[
            {
                "modality": "X-ray",
                "images": {"image": {"path": "{finding}/{case}.png"}},
                "annotations": {
                    "finding": {"kind": "class-folder", "field": "finding", "values": {"PNEUMONIA": "pneumonia"}}
                },
            }
        ],
    ),
    entry(
        "questions",
        modalities=["text"],
        groups=["mixed"],
        tasks=["question-answering"],
        dimensions=[1],
        cases=[
            {
                "modality": "text",
                "texts": {"text": {"path": "{case}.txt"}},
                "annotations": {"answers": {"kind": "question-answers", "path": "{case}.json"}},
            }
        ],
    ),
)
IDS = {one.id for one in ENTRIES}


def found(**conditions: object) -> set[str]:
    return {one.id for one in select(ENTRIES, conditions, VOCABULARY)}


CASES: list[tuple[str, object, set[str]]] = [
    ("id", "brains", {"brains"}),
    ("id", ["brains", "chests"], {"brains", "chests"}),
    ("group", "lesion", {"kidneys"}),
    ("group", ("brain", "Vessel"), {"brains", "arteries"}),
    ("group", Group.THORAX, {"chests"}),
    ("modality", "CT", {"kidneys", "arteries", "glucose"}),
    ("modality", "ct", {"kidneys", "arteries", "glucose"}),
    ("modality", "CTA", {"arteries"}),
    ("modality", "PT", {"glucose"}),
    ("modality", Modality.PET_CT, {"glucose"}),
    ("modality", {"MR", "X-ray"}, {"brains", "chests"}),
    ("modality", "OCTA", set()),
    ("region", "kidney", {"kidneys"}),
    ("task", "classification", {"chests"}),
    ("access", "account", {"arteries"}),
    ("maturity", "layout-tested", {"brains"}),
    ("confidence", "partly", {"arteries"}),
    ("licence_confidence", "memory", {"arteries"}),
    ("kind", "kaggle", {"arteries"}),
    ("sequence", "FLAIR", {"brains"}),
    ("sequence", "flair", {"brains"}),
    ("licence", "CC-BY-NC-SA-4.0", {"kidneys"}),
    ("licence", "cc-by-nc-sa-4.0", {"kidneys"}),
    ("licence", ["LicenseRef-unknown", "CC-BY-SA-4.0"], {"brains", "glucose"}),
    ("commercial_use", True, {"arteries", "glucose", "questions"}),
    ("commercial_use", False, {"kidneys", "brains", "chests"}),
    ("commercial_use", "forbidden", {"kidneys", "chests"}),
    ("commercial_use", Permission.UNKNOWN, {"brains"}),
    ("commercial_use", ["allowed", "unknown"], {"arteries", "glucose", "questions", "brains"}),
    ("redistribution", "conditional", {"kidneys", "chests"}),
    ("derivatives", "forbidden", {"chests"}),
    ("derivatives", True, {"arteries", "questions"}),
    ("dimension", 2, {"chests"}),
    ("dimension", "2D", {"chests"}),
    ("dimension", ("1", "2"), {"chests", "questions"}),
    ("text", "contrast AGENT", {"arteries"}),
    ("text", "tree arteries", {"arteries"}),
    ("text", "pneumonia", {"chests"}),
    ("text", "contrast pneumonia", set()),
    ("labelled", True, {"kidneys", "arteries", "brains", "chests", "questions"}),
    ("labelled", False, {"glucose"}),
    ("platform", True, {"kidneys"}),
    ("platform", False, IDS - {"kidneys"}),
    ("concept", "kidney", {"kidneys", "brains"}),
    ("concept", "left kidney", {"kidneys"}),
    ("concept", "Kidneys", {"kidneys", "brains"}),
    ("concept", "ren", {"kidneys", "brains"}),
    ("concept", "pneumonia", {"chests"}),
    ("concept", ["vessel", "pneumonia"], {"arteries", "chests"}),
    ("examines", "kidney", {"brains"}),
    ("examines", "kidney tumour", {"kidneys"}),
    ("examines", "left kidney", set()),
    ("examines", "pneumonia", {"chests"}),
]


@pytest.mark.parametrize(("condition", "wanted", "ids"), CASES)
def test_a_condition_finds_the_entries_that_meet_it(condition: str, wanted: object, ids: set[str]) -> None:
    assert found(**{condition: wanted}) == ids


def test_every_condition_is_tried_here() -> None:
    assert {condition for condition, _, _ in CASES} == set(CONDITIONS)


def test_conditions_combine() -> None:
    assert found(modality="CT", commercial_use=True) == {"arteries", "glucose"}
    assert found(modality="CT", commercial_use=True, concept="vessel") == {"arteries"}
    assert found(modality="CT", dimension=2) == set()


def test_no_condition_and_none_find_everything() -> None:
    assert found() == IDS
    assert found(modality=None, concept=None) == IDS


def test_the_order_is_that_of_the_catalog() -> None:
    assert [one.id for one in select(ENTRIES, {"dimension": 3}, VOCABULARY)] == [
        "kidneys",
        "arteries",
        "glucose",
        "brains",
    ]


@pytest.mark.parametrize(
    ("conditions", "code", "says"),
    [
        ({"modalty": "CT"}, "query.condition", "modality"),
        ({"zzz": "CT"}, "query.condition", "commercial_use"),
        ({"modality": "MRI"}, "query.word", "MR"),
        ({"modality": ["CT", "CTAA"]}, "query.word", "CTA"),
        ({"group": "abdomn"}, "query.word", "abdomen"),
        ({"group": "zzz"}, "query.word", "head-and-neck"),
        ({"task": "segmantation"}, "query.word", "segmentation"),
        ({"region": "kidny"}, "query.word", "kidney"),
        ({"access": "opn"}, "query.word", "open"),
        ({"maturity": "tested"}, "query.word", "layout-tested"),
        ({"confidence": "verifid"}, "query.word", "verified"),
        ({"sequence": "FLIAR"}, "query.word", "FLAIR"),
        ({"kind": "zenod"}, "query.word", "zenodo"),
        ({"licence": "CC BY 4"}, "query.word", "LicenseRef-"),
        ({"commercial_use": "alowed"}, "query.word", "allowed"),
        ({"redistribution": "yes"}, "query.word", "conditional"),
        ({"dimension": 4}, "query.word", "1, 2, 3"),
        ({"dimension": "flat"}, "query.word", "1, 2, 3"),
        ({"labelled": "yes"}, "query.word", "True, False"),
        ({"platform": 1}, "query.word", "True, False"),
        ({"concept": "kidnye"}, "concept.unknown", "kidney"),
        ({"examines": "vessle"}, "concept.unknown", "vessel"),
    ],
)
def test_what_nobody_knows_is_refused_and_near_words_are_named(
    conditions: dict[str, object], code: str, says: str
) -> None:
    with pytest.raises(CatalogError) as caught:
        found(**conditions)
    assert caught.value.code == code
    assert says in " ".join(caught.value.details.values())


def test_the_kinds_of_source_are_those_of_the_schema() -> None:
    assert {"http", "zenodo", "folder", "pip", "manual", "grand-challenge"} <= set(SOURCE_KINDS)
    assert len(set(SOURCE_KINDS)) == len(SOURCE_KINDS)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load([PUBLIC_CATALOG])


class TestThePublicCatalog:
    def test_ct_finds_what_implies_it(self, catalog: Catalog) -> None:
        for modality in ("CT", "CTA", "PET-CT", "CBCT"):
            with_it = {one.id for one in catalog if modality in one.modalities}
            assert with_it
            assert with_it <= {one.id for one in catalog.where(modality="CT")}

    def test_an_example_of_the_issue_finds_free_liver_ct(self, catalog: Catalog) -> None:
        entries = catalog.where(modality="CT", concept="liver", commercial_use=True)
        assert entries
        liver = catalog.vocabulary.descendants("liver")
        assert all(one.licence.commercial_use == "allowed" and liver & set(one.concepts) for one in entries)

    @pytest.mark.parametrize("question", ["commercial_use", "redistribution", "derivatives"])
    def test_true_and_false_share_the_entries_out(self, catalog: Catalog, question: str) -> None:
        yes, no = catalog.where(**{question: True}), catalog.where(**{question: False})
        assert len(yes) + len(no) == len(catalog)
        assert {one.id for one in no} == {
            one.id for one in catalog.where(**{question: ["forbidden", "conditional", "unknown"]})
        }

    def test_who_examines_a_concept_annotates_it(self, catalog: Catalog) -> None:
        for concept in ("liver", "kidney", "brain", "lung"):
            annotating = {one.id for one in catalog.where(concept=concept)}
            assert {one.id for one in catalog.where(examines=concept)} <= annotating
