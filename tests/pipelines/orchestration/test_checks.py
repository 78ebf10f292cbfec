"""The checks of the stages, and the gate that refuses what they refuse, on manifests made here."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import dagster as dg
import pytest

from medshard.errors import CatalogError
from medshard.pipelines.inclusion_gate import judge_criteria, refuse_bad_input
from medshard.pipelines.orchestration.checks import Judged, Verdict, check_specs, stage_checks
from medshard.pipelines.stages.stage import STAGES, Context, StageResult
from medshard.registry import inclusion
from medshard.registry.catalog import Catalog
from medshard.registry.inclusion import Fault
from medshard.registry.schema import Entry, Inclusion
from medshard.registry.store import CaseRecord, Head, Manifest, Store, publish_manifest, swap_head
from medshard.registry.vocabulary import Criterion

WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.fixture
def labelled(catalog: Catalog) -> Entry:
    return catalog.entry("pyradiomics-cases")


@pytest.fixture
def unlabelled(catalog: Catalog) -> Entry:
    return catalog.entry("format-families")


def record(
    case: str, *, stage: str = "cases", error: str = "", faults: tuple[Fault, ...] = (), **facts: Any
) -> CaseRecord:
    return CaseRecord(
        stage=stage,
        entry="e",
        case=case,
        key=f"{stage}-{case}",
        code_version="1",
        facts={"faults": [fault.to_json() for fault in faults], **facts},
        verdicts=inclusion.verdicts(faults),
        error={"code": error, "problem": "it cannot be used", "text": error} if error else None,
    )


def manifest(*records: CaseRecord, stage: str = "cases") -> Manifest:
    return Manifest(stage=stage, entry="e", code_version="1", records=records)


def judge(
    name: str,
    after: Manifest,
    *,
    before: Manifest | None = None,
    entry: Entry,
    store: Store,
    attachments: Mapping[str, bytes] | None = None,
    details: Mapping[str, Any] | None = None,
) -> Verdict:
    """The verdict of one check on a stage that has come from `before` to `after`."""
    context = Context(store=store, catalog=Catalog({}, {}), entry=entry)
    attached = {name: store.publish_bytes(data, ".test") for name, data in (attachments or {}).items()}

    def result(of: Manifest) -> StageResult:
        return StageResult(
            entry=entry.id,
            stage=of.stage,
            plan=None,
            head=Head(manifest=publish_manifest(store, of), attachments=attached),
            manifest=of,
            done=0,
            reused=0,
            seconds=0.0,
            bytes_out=0,
            details=details or {},
        )

    check = next(check for check in stage_checks(after.stage, entry) if check.name == name)
    return check.judge(Judged(context=context, result=result(after), before=result(before) if before else None))


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_two_to_four_checks_with_names_of_their_own(stage: str, labelled: Entry) -> None:
    specs = check_specs(stage, labelled, dg.AssetKey(["e", stage]))
    assert 2 <= len({spec.name for spec in specs}) == len(specs) <= 4
    assert all(spec.description for spec in specs)


def test_a_scan_without_annotation_counts_where_labels_are_promised_and_not_where_they_are_not(
    labelled: Entry, unlabelled: Entry
) -> None:
    cases = manifest(record("a", faults=(inclusion.no_labels(),)), record("b"))
    failing = {
        entry.id: [verdict.criterion for verdict in judge_criteria(entry, cases) if verdict.faults]
        for entry in (labelled, unlabelled)
    }
    assert failing == {"pyradiomics-cases": [Criterion.ADAPTABILITY], "format-families": []}


def test_an_empty_mask_which_may_be_true_counts_against_no_entry(labelled: Entry) -> None:
    cases = manifest(record("a", faults=(inclusion.empty_label("lesion"),)))
    assert not any(verdict.faults for verdict in judge_criteria(labelled, cases))


def test_a_case_that_cannot_be_read_counts_against_the_format_alone(labelled: Entry) -> None:
    cases = manifest(record("a", error="format.unknown"), record("b"))
    assert {verdict.criterion: dict(verdict.faults) for verdict in judge_criteria(labelled, cases)} == {
        Criterion.ANNOTATION: {},
        Criterion.USABILITY: {"a": "format.unknown: it cannot be used"},
        Criterion.ADAPTABILITY: {},
    }


def test_a_criterion_warns_up_to_the_share_that_is_tolerated_and_fails_above(labelled: Entry, store: Store) -> None:
    def verdict(bad: int) -> Verdict:
        broken = [record(f"bad{number}", error="format.unknown") for number in range(bad)]
        whole = [record(f"good{number}") for number in range(4 - bad)]
        return judge("format_usability", manifest(*broken, *whole), entry=labelled, store=store)

    assert labelled.inclusion.most_excluded == 0.5
    assert verdict(0).passed
    assert [(verdict(bad).passed, verdict(bad).severity) for bad in (1, 2, 3)] == [
        (False, WARN),
        (False, WARN),
        (False, ERROR),
    ]
    assert verdict(3).metadata["cases_failing"] == 3
    assert verdict(3).metadata["share_failing"] == 0.75


def test_an_entry_without_a_case_passes_no_criterion(labelled: Entry) -> None:
    assert all(verdict.exceeded for verdict in judge_criteria(labelled, manifest()))


def test_a_later_stage_refuses_an_entry_whose_cases_fail_a_blocking_criterion(labelled: Entry, store: Store) -> None:
    publish(store, labelled, manifest(record("a", error="format.unknown"), record("b")))
    refuse_bad_input(store, labelled)
    publish(store, labelled, manifest(record("a", error="format.unknown")))
    with pytest.raises(CatalogError) as refused:
        refuse_bad_input(store, labelled)
    assert refused.value.code == "inclusion.blocked"
    assert refused.value.where == "pyradiomics-cases format-usability"
    assert refused.value.details["a"] == "format.unknown: it cannot be used"


def test_a_criterion_that_is_not_blocking_refuses_nothing(labelled: Entry, store: Store) -> None:
    lenient = labelled.model_copy(update={"inclusion": Inclusion(blocking=())})
    publish(store, lenient, manifest(record("a", error="format.unknown")))
    refuse_bad_input(store, lenient)
    with pytest.raises(CatalogError, match="inclusion.blocked"):
        refuse_bad_input(store, labelled)


def publish(store: Store, entry: Entry, cases: Manifest) -> None:
    swap_head(store, entry.id, "cases", Head(manifest=publish_manifest(store, cases)))


def test_a_case_that_went_in_and_neither_came_out_nor_was_excluded_is_lost(labelled: Entry, store: Store) -> None:
    before = manifest(record("a"), record("b"), record("c"))
    out = [record("a", stage="volumes"), record("b", stage="volumes", error="geometry.mismatch")]
    verdict = judge("no_case_lost", manifest(*out, stage="volumes"), before=before, entry=labelled, store=store)
    assert (verdict.passed, verdict.severity) == (False, ERROR)
    assert "c" in str(verdict.metadata["unaccounted"])

    whole = manifest(*out, record("c", stage="volumes"), stage="volumes")
    assert judge("no_case_lost", whole, before=before, entry=labelled, store=store).passed


def test_a_case_that_is_fit_for_nothing_need_not_come_out(labelled: Entry, store: Store) -> None:
    before = manifest(record("a"), record("b", faults=(inclusion.listed_defect("torn"),)))
    after = manifest(record("a", stage="volumes"), stage="volumes")
    assert judge("no_case_lost", after, before=before, entry=labelled, store=store).passed


def test_a_sample_that_no_shard_holds_is_lost(labelled: Entry, store: Store) -> None:
    before = manifest(record("a", stage="fingerprint"), record("b", stage="fingerprint"), stage="fingerprint")
    after = manifest(record("a", stage="shards"), record("b", stage="shards"), stage="shards")

    def verdict(packed: bytes) -> Verdict:
        return judge("no_case_lost", after, before=before, entry=labelled, store=store, attachments={"packing": packed})

    assert verdict(b'{"shards": {"shard-00000": ["shards-a"], "shard-00001": ["shards-b"]}}').passed
    lost = verdict(b'{"shards": {"shard-00000": ["shards-a"]}}')
    assert not lost.passed
    assert "is done and in no shard" in str(lost.metadata["unaccounted"])


def test_a_class_that_vanished_in_resampling_is_a_warning_with_its_name(labelled: Entry, store: Store) -> None:
    kept = record("a", stage="shards", volume_ratio={"lesion/lesion": 0.97})
    gone = record("b", stage="shards", volume_ratio={"vessels/aorta": 0.0})
    assert judge("no_class_vanished", manifest(kept, stage="shards"), entry=labelled, store=store).passed
    verdict = judge("no_class_vanished", manifest(kept, gone, stage="shards"), entry=labelled, store=store)
    assert (verdict.passed, verdict.severity) == (False, WARN)
    assert "vessels/aorta" in str(verdict.metadata["vanished"])


def test_images_with_the_same_voxels_are_a_warning(labelled: Entry, store: Store) -> None:
    def verdict(groups: list[list[str]]) -> Verdict:
        after = manifest(stage="fingerprint")
        details = {"summary": {"duplicates": groups}}
        return judge("no_duplicates", after, entry=labelled, store=store, details=details)

    assert verdict([]).passed
    assert (verdict([["a/image", "b/image"]]).passed, verdict([["a/image", "b/image"]]).severity) == (False, WARN)


def test_a_stage_that_excludes_every_case_is_an_error_and_some_are_a_warning(labelled: Entry, store: Store) -> None:
    bad, whole = record("a", stage="volumes", error="geometry.shift"), record("b", stage="volumes")
    some = judge("nothing_excluded", manifest(bad, whole, stage="volumes"), entry=labelled, store=store)
    every = judge("nothing_excluded", manifest(bad, stage="volumes"), entry=labelled, store=store)
    assert [(one.passed, one.severity) for one in (some, every)] == [(False, WARN), (False, ERROR)]


def test_a_source_that_was_cut_short_in_the_store_is_not_verified(unlabelled: Entry, store: Store) -> None:
    with store.scratch() as scratch:
        tree = scratch / "tree"
        tree.mkdir()
        (tree / "scan.mha").write_bytes(b"voxels")
        output = store.publish_tree(tree, "")
    raw = manifest(replace(record("00-folder", stage="raw"), output=output), stage="raw")
    assert judge("sources_verified", raw, entry=unlabelled, store=store).passed
    (store.path(output) / "scan.mha").write_bytes(b"vox")
    verdict = judge("sources_verified", raw, entry=unlabelled, store=store)
    assert (verdict.passed, verdict.severity) == (False, ERROR)
    assert "scan.mha is missing or cut short" in str(verdict.metadata["faults"])


def test_a_source_without_a_digest_in_the_catalog_is_a_warning(unlabelled: Entry, store: Store) -> None:
    assert judge("sources_pinned", manifest(stage="raw"), entry=unlabelled, store=store).passed
    source = unlabelled.acquisition[0].model_copy(update={"files": {}})
    unpinned = unlabelled.model_copy(update={"acquisition": (source,)})
    verdict = judge("sources_pinned", manifest(stage="raw"), entry=unpinned, store=store)
    assert (verdict.passed, verdict.severity) == (False, WARN)
