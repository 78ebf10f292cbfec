"""The rules between the fields of an entry, and between entries: each alone, with the field that it names."""

from __future__ import annotations

from typing import Any

import pytest

from medshard.registry.catalog.cross_checks import check_entries
from medshard.registry.catalog.entry_checks import check_entry
from medshard.registry.concepts import Concept, ConceptKind, Vocabulary
from medshard.registry.schema import Entry

VOCABULARY, _ = Vocabulary().extended(
    [
        Concept(name="liver", kind=ConceptKind.ORGAN, synonyms=("hepar",)),
        Concept(name="spleen", kind=ConceptKind.ORGAN),
        Concept(name="tumour", kind=ConceptKind.LESION),
    ]
)
MASK = {"path": "{case}_seg.nii", "classes": {1: "liver"}}
CT = {"image": {"path": "{case}.nii"}}


def entry(**fields: Any) -> Entry:
    good = {
        "id": "x", "title": "X", "description": "x", "version": "1", "groups": ["abdomen"], "modalities": ["CT"],
        "tasks": ["segmentation"], "dimensions": [3], "licence": {"id": "CC0-1.0"}, "access": {"kind": "open"},
        "maturity": "described", "acquisition": [{"kind": "folder", "path": "."}], "cases": [group(labels={"m": MASK})],
    }  # fmt: skip
    return Entry.model_validate(good | fields)


def group(**fields: Any) -> dict[str, Any]:
    return {"modality": "CT", "images": CT, **fields}


def row(**fields: Any) -> dict[str, Any]:
    good = {
        "table": 15, "name": "X", "region": "Abdomen", "dimension": "3D", "modality": "CT", "task": "Seg",
        "targets": "1", "size": "20", "format": "nii",
    }  # fmt: skip
    return good | fields


def faults(made: Entry) -> list[tuple[str, str]]:
    found = check_entry(made, VOCABULARY)
    return [(".".join(str(part) for part in fault.field), fault.message) for fault in found]


def only_fault(made: Entry) -> tuple[str, str]:
    (found,) = faults(made)
    return found


def test_a_good_entry_has_no_fault() -> None:
    assert faults(entry()) == []
    assert faults(entry(cases=[])) == []


@pytest.mark.parametrize(
    ("labels", "field"),
    [
        ({"m": {"path": "a", "classes": {1: "liver", 2: "lver"}}}, "cases.0.labels.m.classes.2"),
        ({"m": {"path": "a", "classes": {1: "liver"}, "also": {1: ["spleen", "lver"]}}}, "cases.0.labels.m.also.1"),
        ({"m": {"kind": "soft", "maps": [{"path": "a", "concept": "lver"}]}}, "cases.0.labels.m.maps.0.concept"),
    ],
)
def test_a_label_names_a_concept(labels: dict[str, Any], field: str) -> None:
    assert only_fault(entry(cases=[group(labels=labels)])) == (
        field,
        "no concept is called 'lver'; did you mean `liver`?",
    )


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"values": {"a": "lver"}}, "values.a"),
        ({"values": {"a": "liver"}, "also": {"a": ["lver"]}}, "also.a"),
        ({"values": {"a": "liver"}, "examined": ["liver", "lver"]}, "examined"),
    ],
)
def test_an_annotation_names_a_concept(more: dict[str, Any], field: str) -> None:
    annotations = {"grade": {"kind": "class-table", "path": "t.csv", **more}}
    made = entry(tasks=["classification"], cases=[group(annotations=annotations)])
    assert only_fault(made) == (
        f"cases.0.annotations.grade.{field}",
        "no concept is called 'lver'; did you mean `liver`?",
    )


def test_a_synonym_is_answered_with_the_name_and_nonsense_without_a_guess() -> None:
    def message(concept: str) -> str:
        return only_fault(entry(cases=[group(labels={"m": {"path": "a", "classes": {1: concept}}})]))[1]

    assert message("Hepar").endswith("did you mean `liver`?")
    assert message("xyzzy") == "no concept is called 'xyzzy'"


@pytest.mark.parametrize(
    ("modalities", "case_group", "field", "says"),
    [
        (["CT"], group(modality="US"), "cases.0.modality", "US is not among"),
        (["CT"], group(images={"a": {"path": "{case}", "modality": "MR"}}), "cases.0.images.a.modality", "MR is not"),
        (["CT"], group(images={"a": {"path": "{case}", "sequence": "T1"}}), "cases.0.images.a.sequence", "only MR"),
        (["CT"], group(signals={"s": {"path": "a", "modality": "ECG"}}), "cases.0.signals.s.modality", "ECG is not"),
    ],
)
def test_cases_are_of_the_entrys_modalities(
    modalities: list[str], case_group: dict[str, Any], field: str, says: str
) -> None:
    found = faults(entry(modalities=modalities, tasks=["self-supervised"], cases=[case_group]))
    assert field in dict(found)
    assert says in dict(found)[field]


@pytest.mark.parametrize(
    ("modalities", "case_group"),
    [
        (["PET-CT"], group(images={"pt": {"path": "{case}", "modality": "PT"}, "ct": {"path": "b", "modality": "CT"}})),
        (["CTA"], group()),
        (["CT", "MR"], group(modality="MR", images={"t1": {"path": "{case}", "sequence": "T1"}})),
        (["CT"], group(texts={"report": {"path": "a", "modality": "text"}})),
        (["CT"], group(meshes={"face": {"path": "a", "modality": "mesh"}})),
    ],
)
def test_what_a_modality_implies_is_among_them(modalities: list[str], case_group: dict[str, Any]) -> None:
    assert faults(entry(modalities=modalities, tasks=["self-supervised"], cases=[case_group])) == []


@pytest.mark.parametrize(
    ("stated", "field", "says", "excuse"),
    [
        ({"size": "21"}, "paper.0.size", "the row says 21, the source 20", "size"),
        ({"size": "7*3"}, "paper.0.size", "the row says 7*3, the source 20", "size"),
        ({"modality": "MR"}, "paper.0.modality", "the row says MR, the entry CT", "modality"),
        ({"dimension": "2D"}, "paper.0.dimension", "the row says 2D, the entry [3]", "dimension"),
        ({"modality": "Magnetic"}, "paper.0.modality", "no modality 'Magnetic'", None),
        ({"dimension": "4D"}, "paper.0.dimension", "expected 2D or 3D, found '4D'", None),
        ({"table": 12}, "groups", "table 12 puts the data set into `brain`", None),
    ],
)
def test_a_row_and_its_source_agree_or_the_difference_is_told(
    stated: dict[str, Any], field: str, says: str, excuse: str | None
) -> None:
    paper = {"paper": [row(**stated)], "source": {"cases": 20}}
    found = only_fault(entry(**paper))
    assert found[0] == field
    assert says in found[1]
    if excuse is not None:
        assert faults(entry(**paper, differences=[{"field": excuse, "note": "a slip"}])) == []
        assert faults(entry(**paper, differences=[{"field": "task", "note": "of another column"}])) == [found]


def test_a_row_that_describes_another_data_set_is_not_compared() -> None:
    wrong = row(size="3", modality="MR", dimension="2D", table=12)
    told = [{"field": "identity", "note": "copied from the line above"}]
    assert faults(entry(paper=[wrong], source={"cases": 20}, differences=told)) == []


def test_a_row_agrees_in_any_spelling_of_its_number_and_the_survey_is_not_compared() -> None:
    assert faults(entry(paper=[row(size="1,000*2")], source={"cases": 2000})) == []
    assert faults(entry(paper=[row(size="77")])) == [], "what the source has is not known"
    assert faults(entry(paper=[{"table": 2, "name": "X", "modality": "Magnetic"}], source={"cases": 20})) == []


def test_regions_fit_the_groups() -> None:
    field, message = only_fault(entry(regions=["brain", "eye"]))
    assert field == "regions"
    assert "`abdomen` does not fit the regions brain, eye" in message
    assert faults(entry(regions=["brain", "liver"])) == []
    assert faults(entry(regions=["multi-region"])) == []
    assert faults(entry(regions=[])) == []
    assert faults(entry(regions=["brain"], groups=["lesion"])) == [], "lesions are everywhere"
    assert faults(entry(regions=["brain"], differences=[{"field": "group", "note": "so it is printed"}])) == []


@pytest.mark.parametrize(
    ("labels", "fitting", "wrong", "says"),
    [
        ({"m": {"path": "a", "classes": {1: "liver", 2: "spleen"}}}, (2,), (0, 1, 3), "have 2"),
        ({"m": {"path": "a", "classes": {1: "liver", 2: "liver", 3: "spleen"}}}, (2, 3), (1, 4), "have 2 to 3"),
        ({"m": {"path": "a", "classes": {1: "liver"}, "unmapped": {2: "unclear"}}}, (2,), (1, 3), "have 2"),
        ({"m": {"path": "a", "classes": {1: "liver"}, "ignore": [255]}}, (1,), (2,), "have 1"),
        ({"m": MASK, "n": {"path": "b", "classes": {1: "liver", 2: "tumour"}}}, (2, 3), (1, 4), "have 2 to 3"),
        ({"m": {"kind": "soft", "maps": [{"path": "a", "concept": "liver"}]}}, (1,), (0, 2), "have 1"),
    ],
)
def test_classes_are_as_many_as_stated(
    labels: dict[str, Any], fitting: tuple[int, ...], wrong: tuple[int, ...], says: str
) -> None:
    """Two values may mean one concept, and two layers may share one."""

    def stated(classes: int) -> list[tuple[str, str]]:
        return faults(entry(source={"classes": classes}, cases=[group(labels=labels)]))

    assert [stated(classes) for classes in fitting] == [[] for _ in fitting]
    for classes in wrong:
        ((field, message),) = stated(classes)
        assert field == "source.classes"
        assert message.startswith(f"{classes} classes are stated")
        assert message.endswith(says)


def test_a_word_of_a_table_that_stands_for_no_class_may_be_counted_or_not() -> None:
    told = {"kind": "class-table", "path": "a.csv", "column": "c", "values": {"1": "liver"}, "unmapped": {"-1": "none"}}

    def stated(classes: int) -> list[tuple[str, str]]:
        return faults(
            entry(source={"classes": classes}, tasks=["classification"], cases=[group(annotations={"diagnosis": told})])
        )

    assert stated(1) == stated(2) == []
    assert [field for classes in (0, 3) for field, _ in stated(classes)] == ["source.classes"] * 2


def test_classes_of_two_groups_with_the_same_layer_count_once_and_nothing_counts_without_labels() -> None:
    assert faults(entry(source={"classes": 1}, cases=[group(labels={"m": MASK}), group(labels={"m": MASK})])) == []
    assert faults(entry(source={"classes": 9}, tasks=["self-supervised"], cases=[group()])) == []
    assert faults(entry(source={"classes": 9}, cases=[])) == []


TABLE = {"path": "t.csv"}


@pytest.mark.parametrize(
    ("task", "proof"),
    [
        ("segmentation", {"labels": {"m": MASK}}),
        ("segmentation", {"annotations": {"a": {"kind": "contours", "format": "json", **TABLE}}}),
        ("classification", {"annotations": {"a": {"kind": "class-table", **TABLE}}}),
        ("classification", {"annotations": {"a": {"kind": "class-folder", "field": "case", "values": {"u": "liver"}}}}),
        ("detection", {"annotations": {"a": {"kind": "boxes", "format": "coco", **TABLE}}}),
        ("landmark-localisation", {"annotations": {"a": {"kind": "landmarks", "format": "csv", **TABLE}}}),
        ("visual-question-answering", {"annotations": {"a": {"kind": "question-answers", **TABLE}}}),
        ("question-answering", {"annotations": {"a": {"kind": "question-answers", **TABLE}}}),
        ("report-generation", {"annotations": {"a": {"kind": "report", **TABLE}}}),
    ],
)
def test_a_task_needs_an_annotation_that_proves_it(task: str, proof: dict[str, Any]) -> None:
    assert faults(entry(tasks=[task], cases=[group(**proof)])) == []
    assert faults(entry(tasks=[task], cases=[group(), group(**proof)])) == [], "one group is enough"
    found = only_fault(entry(tasks=["self-supervised", task], cases=[group()]))
    assert found == ("tasks.1", f"nothing under `cases` is an annotation for {task}")
    assert faults(entry(tasks=[task], cases=[])) == [], "an entry without a layout yet is asked for nothing"


def test_boxes_are_no_proof_of_landmarks() -> None:
    boxes = {"a": {"kind": "boxes", "format": "coco", **TABLE}}
    assert only_fault(entry(tasks=["landmark-localisation"], cases=[group(annotations=boxes)]))[0] == "tasks.0"


def test_the_parts_of_a_split_are_no_more_than_the_cases() -> None:
    parts = [{"name": "train", "cases": 15}, {"name": "test", "cases": 6}, {"name": "validation"}]
    assert only_fault(entry(splits=parts, source={"cases": 20})) == (
        "splits",
        "the parts have 21 cases, the source 20",
    )
    assert faults(entry(splits=parts, source={"cases": 21})) == []
    assert faults(entry(splits=parts)) == []


@pytest.mark.parametrize(
    ("split", "missing"),
    [
        ("test", "test"),
        ({"field": "case", "values": {"a": "train", "b": "validation"}}, "validation"),
        ({"files": {"train": "a.txt", "test": "b.txt"}}, "test"),
        ("train", None),
        ("unlabelled", None),
        ("extra", None),
        (None, None),
    ],
)
def test_a_group_belongs_to_a_part_that_there_is(split: Any, missing: str | None) -> None:
    cases = [group(labels={"m": MASK}, split=split)]
    found = faults(entry(cases=cases, splits=[{"name": "train"}]))
    assert found == ([("cases.0.split", f"`splits` has no part called {missing}")] if missing else [])
    assert faults(entry(cases=cases)) == [], "no split is stated"


def test_an_entry_without_labelled_cases_has_no_label_layers() -> None:
    assert only_fault(entry(source={"labelled": 0}))[0] == "source.labelled"
    assert faults(entry(source={"labelled": 1})) == []
    assert faults(entry(source={"labelled": 0}, tasks=["self-supervised"], cases=[group()])) == []


@pytest.mark.parametrize("confidence", ["partly", "memory"])
def test_doubt_is_told(confidence: str) -> None:
    assert only_fault(entry(confidence=confidence)) == (
        "doubts",
        f"confidence `{confidence}` needs `doubts`: what is not certain",
    )
    assert faults(entry(confidence=confidence, doubts=["the count"])) == []


def test_an_identified_patient_is_identified_by_something() -> None:
    assert (
        only_fault(entry(cases=[group(labels={"m": MASK}, patient_basis="identified")]))[0] == "cases.0.patient_basis"
    )
    assert faults(entry(cases=[group(labels={"m": MASK}, patient_basis="identified", patient="{case}")])) == []
    assert faults(entry(cases=[group(labels={"m": MASK}, patient_basis="unknown")])) == []


def overlap(other: str) -> dict[str, str]:
    return {"entry": other, "kind": "shares-cases", "evidence": "a paper"}


def test_an_overlap_is_with_another_entry_and_told_once() -> None:
    assert only_fault(entry(overlaps=[overlap("x")])) == ("overlaps.0.entry", "an entry does not overlap itself")
    found = only_fault(entry(overlaps=[overlap("y"), overlap("z"), overlap("y")]))
    assert found == ("overlaps.2.entry", "the overlap with y stands here twice")


def test_all_faults_are_reported_at_once() -> None:
    made = entry(regions=["brain"], confidence="memory", source={"labelled": 0}, overlaps=[overlap("x")])
    assert {field for field, _ in faults(made)} == {"regions", "doubts", "source.labelled", "overlaps.0.entry"}


def between(*entries: Entry, also_there: frozenset[str] = frozenset()) -> list[tuple[str, str, str]]:
    found = check_entries({made.id: made for made in entries}, also_there)
    return [(name, ".".join(str(part) for part in fault.field), fault.message) for name, fault in found]


def test_a_row_of_the_platform_belongs_to_one_entry() -> None:
    one, two = entry(id="one", paper=[row()]), entry(id="two", paper=[row(name="Y"), row()])
    assert between(one, two) == [("two", "paper.1.name", "this row of table 15 belongs to one already")]
    assert between(one, entry(id="two", paper=[row(modality="MR")])) == [], "a name may have a row per modality"
    assert between(one, entry(id="two", paper=[row(table=16)])) == [], "and one per table"


def test_a_row_of_the_survey_may_stand_for_several_entries() -> None:
    survey = [{"table": 2, "name": "MSD"}]
    assert between(entry(id="one", paper=survey), entry(id="two", paper=survey)) == []


def test_an_overlap_is_with_an_entry_that_there_is() -> None:
    one, two = entry(id="one", overlaps=[overlap("twoo")]), entry(id="two")
    assert between(one, two) == [("one", "overlaps.0.entry", "no entry has the id 'twoo'; did you mean `two`?")]
    assert between(one, two, also_there=frozenset({"twoo"})) == [], "it exists, and has faults of its own"
    (found,) = between(entry(id="one", overlaps=[overlap("nothing-like-it")]), two)
    assert found[2] == "no entry has the id 'nothing-like-it'"


def test_an_overlap_is_declared_by_one_of_the_two() -> None:
    one, two = entry(id="one", overlaps=[overlap("two")]), entry(id="two", overlaps=[overlap("one")])
    message = "one declares this overlap already; one of the two is enough"
    assert between(one, two) == [("two", "overlaps.0.entry", message)]
    assert between(one, entry(id="two")) == []


def test_verified_needs_evidence() -> None:
    assert faults(entry(confidence="verified", evidence=["The README of the archive."])) == []
    assert only_fault(entry(confidence="verified"))[0] == "confidence"


def test_a_doubtful_licence_says_what_is_doubtful() -> None:
    assert faults(entry(licence={"id": "CC-BY-4.0", "confidence": "memory", "note": "From memory."})) == []
    assert only_fault(entry(licence={"id": "CC-BY-4.0", "confidence": "memory"}))[0] == "licence.note"


def test_there_are_no_more_patients_than_cases() -> None:
    assert faults(entry(source={"cases": 3, "patients": 3})) == []
    assert only_fault(entry(source={"cases": 3, "patients": 30}))[0] == "source.patients"


def test_the_channels_of_a_plan_are_images_of_the_cases() -> None:
    images = {"ct": {"path": "{case}_ct.nii.gz"}}
    labels = {"mask": {"path": "{case}_mask.nii.gz", "classes": {1: "liver"}}}
    cases = [group(images=images, labels=labels)]
    assert faults(entry(cases=cases, plans={"default": {"channels": ["ct"]}})) == []
    assert only_fault(entry(cases=cases, plans={"default": {"channels": ["pet"]}}))[0] == "plans.default.channels"


@pytest.mark.parametrize("kind", ["meshes", "videos", "signals"])
def test_the_channels_of_a_plan_may_be_of_another_kind(kind: str) -> None:
    only = {"case": "{case}", "patient_basis": "one-per-case", "modality": "other"}
    cases = [{**only, kind: {"scan": {"path": "{case}.bin"}}}]
    plans = {"default": {"channels": ["scan"]}, "other": {"channels": ["frames"]}}
    assert [place for place, _ in faults(entry(cases=cases, plans=plans)) if place.startswith("plans")] == [
        "plans.other.channels"
    ]
