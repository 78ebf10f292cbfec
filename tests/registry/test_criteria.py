"""The inclusion criteria as code: each rule passes, fails or cannot judge, and says what it looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medshard.registry import Catalog, Entry
from medshard.registry.catalog import PUBLIC_CATALOG
from medshard.registry.concepts import Vocabulary, read_concepts
from medshard.registry.questions.criteria import EntryVerdict, Finding, Judgement, judge_catalog, judge_entry
from medshard.registry.store import CaseRecord, Head, Manifest, Store, publish_manifest, swap_head
from medshard.registry.vocabulary import (
    PLATFORM_GROUPS,
    PLATFORM_MODALITIES,
    Criterion,
    Group,
    Modality,
    Purpose,
    Task,
)

MASKS = {
    "modality": "CT",
    "patient": "{case}",
    "images": {"image": {"path": "{case}.nii.gz"}},
    "labels": {"mask": {"path": "{case}_mask.nii.gz", "classes": {1: "liver tumour"}}},
}
GOOD: dict[str, Any] = {
    "id": "livers",
    "title": "Livers",
    "description": "Made for a test: passes every rule.",
    "version": "1",
    "groups": ["abdomen"],
    "modalities": ["CT"],
    "tasks": ["segmentation"],
    "dimensions": [3],
    "licence": {"id": "CC-BY-4.0"},
    "access": {"kind": "open"},
    "maturity": "layout-tested",
    "acquisition": [{"kind": "zenodo", "record": "1"}],
    "source": {"cases": 100, "labelled": 90},
    "cases": [MASKS],
}


def entry(**changes: Any) -> Entry:
    return Entry.model_validate({**GOOD, **changes})


def finding(rule: str, **changes: Any) -> Finding:
    (found,) = [one for one in judge_entry(entry(**changes)).findings if one.rule == rule]
    return found


def defect(*cases: str, action: str = "exclude") -> dict[str, Any]:
    return {"cases": list(cases), "problem": "Broken.", "action": action}


NO_LAYOUT = {"cases": [], "maturity": "described"}
BARE = {name: value for name, value in MASKS.items() if name != "labels"}
UNNAMED = {name: value for name, value in MASKS.items() if name != "patient"}
ADAPTER = {"function": "medshard.converters.adapters.livers:cases", "reason": "Two tables name the files."}

P, F, U = Judgement.PASSED, Judgement.FAILED, Judgement.UNKNOWN
RULES: list[tuple[str, dict[str, Any], Judgement, str]] = [
    ("annotated share", {}, P, "90 of 100 cases labelled (90%, at least 50%)"),
    ("annotated share", {"source": {"cases": 100, "labelled": 50}}, P, "50%"),
    ("annotated share", {"source": {"cases": 100, "labelled": 49}}, F, "49 of 100"),
    ("annotated share", {"source": {"cases": 100, "released": 50, "labelled": 49}}, P, "49 of 50"),
    ("annotated share", {"source": {"cases": 100, "released": 40, "labelled": 50}}, P, "100%"),
    ("annotated share", {"source": {"cases": 100, "labelled": 0}}, F, "0 of 100"),
    ("annotated share", {"source": {"cases": 100}}, U, "does not say"),
    ("annotated share", {"source": {"labelled": 90}}, U, "does not say"),
    ("annotated share", {"source": {"cases": 0, "labelled": 0}}, U, "does not say"),
    ("annotated share", {"inclusion": {"least_labelled": 0.95}}, F, "at least 95%"),
    ("labels have a meaning", {}, P, "1 concepts, 0 values without one"),
    ("labels have a meaning", {"cases": [BARE]}, F, "no annotation is declared"),
    ("labels have a meaning", NO_LAYOUT, U, "no layout"),
    ("structure and names are regular", {}, P, "made tree"),
    ("structure and names are regular", {"maturity": "acquired"}, P, "real data"),
    ("structure and names are regular", {"maturity": "described"}, U, "not yet tried"),
    ("structure and names are regular", {"maturity": "described", "adapter": ADAPTER}, U, "livers:cases"),
    ("structure and names are regular", NO_LAYOUT, U, "no layout"),
    ("patients can be told apart", {}, P, "identified"),
    ("patients can be told apart", {"cases": [UNNAMED]}, U, "assumed"),
    ("patients can be told apart", {"cases": [{**UNNAMED, "patient_basis": "one-per-case"}]}, P, "one-per-case"),
    ("patients can be told apart", {"cases": [{**UNNAMED, "patient_basis": "assumed"}]}, U, "assumed"),
    ("patients can be told apart", {"cases": [{**UNNAMED, "patient_basis": "unknown"}]}, F, "may leak"),
    (
        "patients can be told apart",
        {"cases": [MASKS, {**UNNAMED, "patient_basis": "unknown"}]},
        F,
        "identified, unknown",
    ),
    ("patients can be told apart", NO_LAYOUT, U, "no layout"),
    ("defects are few", {}, P, "0 known defects, 0 cases"),
    ("defects are few", {"source": {"cases": 2}, "known_defects": [defect("a")]}, P, "1 known defects, 1 cases"),
    ("defects are few", {"source": {"cases": 3}, "known_defects": [defect("a", "b")]}, F, "2 cases"),
    (
        "defects are few",
        {"source": {"cases": 3}, "known_defects": [defect("a"), defect("a")]},
        P,
        "2 known defects, 1 case",
    ),
    ("defects are few", {"source": {"cases": 2}, "known_defects": [defect("a", "b", action="accept")]}, P, "0 cases"),
    ("defects are few", {"known_defects": [defect("a")], "inclusion": {"most_excluded": 0.001}}, F, "1 cases"),
    ("defects are few", {"source": {}, "known_defects": [defect("a")]}, U, "1 cases"),
    ("defects are few", {"source": {}}, P, "0 cases"),
    ("enough cases", {"source": {"cases": 10}}, P, "10 cases, at least 10"),
    ("enough cases", {"source": {"cases": 9}}, F, "9 cases"),
    ("enough cases", {"source": {"cases": 100, "released": 9}}, F, "9 cases"),
    ("enough cases", {"source": {}}, U, "not known"),
    ("enough cases", {"inclusion": {"least_cases": 101}}, F, "at least 101"),
    ("terms allow derived models", {}, P, "CC-BY-4.0: derivatives allowed"),
    ("terms allow derived models", {"licence": {"id": "CC-BY-SA-4.0"}}, P, "conditional"),
    ("terms allow derived models", {"licence": {"id": "CC-BY-NC-ND-4.0"}}, F, "forbidden"),
    ("terms allow derived models", {"licence": {"id": "LicenseRef-unknown"}}, U, "unknown"),
    ("can be had", {}, P, "open"),
    ("can be had", {"access": {"kind": "agreement", "instructions": "Sign."}}, P, "agreement"),
    ("can be had", {"access": {"kind": "unavailable", "instructions": "Gone."}}, F, "unavailable"),
]


@pytest.mark.parametrize(("rule", "changes", "judgement", "evidence"), RULES)
def test_a_rule_judges_and_says_what_it_saw(
    rule: str, changes: dict[str, Any], judgement: Judgement, evidence: str
) -> None:
    found = finding(rule, **changes)
    assert found.judgement is judgement
    assert evidence in found.evidence


def test_every_rule_is_tried_with_a_pass_and_a_fail_or_a_doubt() -> None:
    tried: dict[str, set[Judgement]] = {}
    for rule, _, judgement, _ in RULES:
        tried.setdefault(rule, set()).add(judgement)
    assert set(tried) == {found.rule for found in judge_entry(entry()).findings}
    assert all(P in seen and len(seen) > 1 for seen in tried.values())


def test_a_good_entry_passes_all_three_criteria() -> None:
    verdict = judge_entry(entry())
    assert [verdict.of(criterion) for criterion in Criterion] == [P, P, P]
    assert {found.criterion for found in verdict.findings} == set(Criterion)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"source": {"cases": 100}}, (U, P, P)),
        ({"source": {"cases": 100}, "cases": [BARE]}, (F, P, P)),
        ({"maturity": "described"}, (P, U, P)),
        ({"maturity": "described", "cases": [{**UNNAMED, "patient_basis": "unknown"}]}, (P, F, P)),
        ({"licence": {"id": "LicenseRef-unknown"}}, (P, P, U)),
        ({"licence": {"id": "LicenseRef-unknown"}, "source": {"cases": 9, "labelled": 9}}, (P, P, F)),
    ],
)
def test_a_failure_outweighs_a_doubt_and_a_doubt_outweighs_a_pass(
    changes: dict[str, Any], expected: tuple[Judgement, ...]
) -> None:
    verdict = judge_entry(entry(**changes))
    assert tuple(verdict.of(criterion) for criterion in Criterion) == expected


def test_json_says_verdicts_findings_and_cases() -> None:
    document = judge_entry(entry()).to_json()
    assert document["entry"] == "livers"
    assert document["verdicts"] == dict.fromkeys([criterion.value for criterion in Criterion], "passed")
    assert document["cases"] == {}
    findings = document["findings"]
    assert isinstance(findings, list)
    assert set(findings[0]) == {"criterion", "rule", "judgement", "evidence"}


class TestCasesOfAStore:
    def record(self, case: str, *, against: dict[str, list[str]], error: str | None = None) -> CaseRecord:
        return CaseRecord(
            stage="cases",
            entry="livers",
            case=case,
            key=case,
            code_version="1",
            verdicts={purpose.value: against.get(purpose.value, []) for purpose in Purpose},
            error={"code": error} if error else None,
        )

    def verdict(self, store: Store, *records: CaseRecord) -> EntryVerdict:
        manifest = Manifest(stage="cases", entry="livers", code_version="1", records=records)
        swap_head(store, "livers", "cases", Head(manifest=publish_manifest(store, manifest)))
        return judge_entry(entry(), store)

    def test_an_entry_that_was_never_built_has_none(self, store: Store) -> None:
        assert judge_entry(entry(), store).cases == {}

    def test_cases_are_counted_for_each_purpose_by_what_speaks_against_them(self, store: Store) -> None:
        verdict = self.verdict(
            store,
            self.record("a", against={}),
            self.record("b", against={"supervised": ["annotation.missing"], "evaluation": ["annotation.missing"]}),
            self.record("c", against={"evaluation": ["annotation.empty"]}),
            self.record("d", against={}, error="read.truncated"),
        )
        assert verdict.cases == {
            "supervised": {"fit": 2, "annotation.missing": 1, "read.truncated": 1},
            "self-supervised": {"fit": 3, "read.truncated": 1},
            "evaluation": {"fit": 1, "annotation.missing": 1, "annotation.empty": 1, "read.truncated": 1},
        }

    def test_a_case_with_the_same_fault_in_two_layers_is_one_case(self, store: Store) -> None:
        verdict = self.verdict(store, self.record("a", against={"supervised": ["annotation.empty"] * 2}))
        assert verdict.cases["supervised"] == {"annotation.empty": 1}

    def test_a_build_of_the_small_entry_is_read_as_it_is(self, store: Store) -> None:
        build = pytest.importorskip("medshard.pipelines.build").build
        catalog = Catalog.load([PUBLIC_CATALOG])
        build(store, "format-families", catalog=catalog, to="cases")
        verdict = judge_entry(catalog.entry("format-families"), store)
        assert verdict.cases == {
            "supervised": {"annotation.none": 3},
            "self-supervised": {"fit": 3},
            "evaluation": {"annotation.none": 3},
        }


VOCABULARY: Vocabulary = read_concepts(
    [{"name": "liver", "kind": "organ"}, {"name": "liver tumour", "kind": "lesion", "located_in": "liver"}]
)[0]


def over(*entries: Entry) -> dict[str, Finding]:
    found = judge_catalog(entries, VOCABULARY)
    assert all(one.criterion is Criterion.ADAPTABILITY for one in found)
    return {one.rule: one for one in found}


class TestDiversity:
    def everything(self) -> list[Entry]:
        """One entry for each modality, with groups and tasks dealt out over them."""
        tasks = (Task.SEGMENTATION, Task.CLASSIFICATION, Task.DETECTION, Task.REGISTRATION, Task.RECONSTRUCTION)
        return [
            entry(
                id=f"e{number}",
                modalities=[modality],
                groups=[PLATFORM_GROUPS[number % len(PLATFORM_GROUPS)]],
                tasks=[tasks[number % len(tasks)]],
            )
            for number, modality in enumerate(PLATFORM_MODALITIES)
        ]

    def test_a_catalog_that_covers_all_words_passes(self) -> None:
        found = over(*self.everything())
        assert {rule: one.judgement for rule, one in found.items()} == dict.fromkeys(
            ("groups", "modalities", "tasks", "no modality rules", "diseases"), P
        )

    def test_what_is_missing_is_named(self) -> None:
        found = over(*(one for one in self.everything() if Modality.OCTA not in one.modalities))
        assert found["modalities"].judgement is F
        assert "11 of 12 covered" in found["modalities"].evidence
        assert "missing: OCTA" in found["modalities"].evidence

    def test_the_rarest_is_named_with_its_number(self) -> None:
        one = entry(groups=[group for group in PLATFORM_GROUPS if group is not Group.BRAIN])
        assert "the rarest is brain (0)" in over(one)["groups"].evidence

    @pytest.mark.parametrize(("others", "judgement"), [(2, P), (1, F)])
    def test_no_modality_may_have_more_than_its_share(self, others: int, judgement: Judgement) -> None:
        scans = [entry(id=f"ct{number}") for number in range(3)]
        rest = [entry(id=f"mr{number}", modalities=["MR"]) for number in range(others)]
        found = over(*scans, *rest)["no modality rules"]
        assert found.judgement is judgement
        assert f"CT in 3 of {3 + others} entries" in found.evidence

    def test_organs_alone_are_no_diseases(self) -> None:
        organs = {**MASKS, "labels": {"mask": {"path": "{case}_mask.nii.gz", "classes": {1: "liver"}}}}
        assert over(entry(cases=[organs]))["diseases"].judgement is F
        assert "1 lesions and diagnoses" in over(entry())["diseases"].evidence

    def test_an_empty_catalog_fails_and_does_not_crash(self) -> None:
        assert {one.judgement for one in over().values()} == {F}


def test_the_public_catalog_as_a_whole_meets_the_criteria() -> None:
    catalog = Catalog.load([Path(PUBLIC_CATALOG)])
    found = judge_catalog(catalog, catalog.vocabulary)
    assert [one.rule for one in found if one.judgement is not P] == []


def test_every_public_entry_can_be_judged() -> None:
    for one in Catalog.load([Path(PUBLIC_CATALOG)]):
        verdict = judge_entry(one)
        assert all(found.evidence for found in verdict.findings), one.id
