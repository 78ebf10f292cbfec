"""The asset checks of a stage: one list makes both what Dagster is told of and what it is given."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import dagster as dg

from medshard.pipelines.inclusion_gate import judge_criteria
from medshard.pipelines.orchestration.asset_metadata import markdown_table
from medshard.pipelines.orchestration.expectations import validate_cases_table
from medshard.pipelines.stages.stage import Context, StageResult
from medshard.registry.schema import Entry, PipSource, RemoteSource, Source
from medshard.registry.store.objects import Store
from medshard.registry.vocabulary import Criterion, Purpose

ROWS_SHOWN = 20

CRITERIA: Mapping[Criterion, str] = {
    Criterion.ANNOTATION: "Every case has the annotation that its entry promises, with known label values.",
    Criterion.USABILITY: "Every file can be read, and image and annotation lie on the same grid.",
    Criterion.ADAPTABILITY: "Every case is large enough and annotated for the tasks of its entry.",
}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a check looks at: a stage that has just been built, and the stage that it was built from."""

    context: Context
    result: StageResult
    before: StageResult | None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """severity: what a failure means; only ERROR stops the run, and only where the check is blocking."""

    passed: bool
    summary: str
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StageCheck:
    """One check of one stage. blocking: an ERROR skips everything downstream in the same run."""

    name: str
    description: str
    judge: Callable[[Judged], Verdict]
    blocking: bool = False


def stage_checks(stage: str, entry: Entry) -> tuple[StageCheck, ...]:
    """The checks of a stage of an entry, in the order in which the UI lists them."""
    return {
        "raw": (SOURCES_VERIFIED, SOURCES_PINNED),
        "cases": (*(_criterion_check(criterion, entry) for criterion in Criterion), EXPECTATIONS),
        "volumes": (NO_CASE_LOST, NOTHING_EXCLUDED),
        "fingerprint": (NO_CASE_LOST, NO_DUPLICATES),
        "shards": (NO_CASE_LOST, NOTHING_EXCLUDED, NO_CLASS_VANISHED),
    }[stage]


def check_specs(stage: str, entry: Entry, key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(name=check.name, asset=key, description=check.description, blocking=check.blocking)
        for check in stage_checks(stage, entry)
    ]


def check_results(judged: Judged, key: dg.AssetKey) -> list[dg.AssetCheckResult]:
    """One result for each spec of the stage."""
    results = []
    for check in stage_checks(judged.result.stage, judged.context.entry):
        verdict = check.judge(judged)
        results.append(
            dg.AssetCheckResult(
                passed=verdict.passed,
                asset_key=key,
                check_name=check.name,
                severity=verdict.severity,
                description=verdict.summary,
                metadata=verdict.metadata,
            )
        )
    return results


def _criterion_check(criterion: Criterion, entry: Entry) -> StageCheck:
    return StageCheck(
        name=criterion.value.replace("-", "_"),
        description=CRITERIA[criterion],
        judge=partial(_judge_criterion, criterion),
        blocking=criterion in entry.inclusion.blocking,
    )


def _judge_criterion(criterion: Criterion, judged: Judged) -> Verdict:
    """Failed with ERROR above the share that the entry tolerates, with WARN below it."""
    verdicts = judge_criteria(judged.context.entry, judged.result.manifest)
    verdict = next(verdict for verdict in verdicts if verdict.criterion is criterion)
    rows = list(verdict.faults.items())
    return Verdict(
        passed=not verdict.faults and verdict.cases > 0,
        severity=dg.AssetCheckSeverity.ERROR if verdict.exceeded else dg.AssetCheckSeverity.WARN,
        summary=f"{len(rows)} of {verdict.cases} cases fail it for {verdict.purpose.value} use; "
        f"{verdict.most_excluded:.0%} are tolerated",
        metadata={
            "cases": verdict.cases,
            "cases_failing": len(rows),
            "share_failing": verdict.share,
            "share_tolerated": verdict.most_excluded,
            **_listed("failing", ("case", "reason"), rows),
        },
    )


def _judge_expectations(judged: Judged) -> Verdict:
    store, head = judged.context.store, judged.result.head
    site = store.root / "reports" / judged.context.entry.id / "data-docs"
    report = validate_cases_table(store.read_bytes(head.attachments["table"]), site)
    raised = sum(failure.raised for failure in report.failures)
    rows = [(failure.expectation, failure.column, failure.found) for failure in report.failures]
    return Verdict(
        passed=report.success,
        summary=f"{report.evaluated - len(rows)} of {report.evaluated} expectations are met"
        + (f", {raised} could not be evaluated" if raised else ""),
        metadata={
            "expectations": report.evaluated,
            "expectations_failed": len(rows) - raised,
            "expectations_not_evaluated": raised,
            "data_docs": dg.MetadataValue.path(report.index),
            "result": dg.MetadataValue.path(report.result),
            **_listed("failed", ("expectation", "column", "found"), rows),
        },
    )


def _judge_sources_verified(judged: Judged) -> Verdict:
    """Digests were compared when the files came in; this looks whether every file is still there in full."""
    store = judged.context.store
    faults: list[tuple[str, str]] = []
    files = 0
    for record in judged.result.manifest.records:
        if record.output is None:
            faults.append((record.case, "was not acquired"))
            continue
        tree = store.path(record.output)
        for file in store.tree_files(record.output):
            files += 1
            place = tree / file.path
            if not place.is_file() or place.stat().st_size != file.size:
                faults.append((record.case, f"{file.path} is missing or cut short"))
    return Verdict(
        passed=not faults and files > 0,
        summary=f"{files} files of {len(judged.result.manifest.records)} sources, {len(faults)} faults",
        metadata={"files": files, **_listed("faults", ("source", "fault"), faults)},
    )


def _judge_sources_pinned(judged: Judged) -> Verdict:
    open_ended = [(source.kind, _name(source)) for source in judged.context.entry.acquisition if not _is_pinned(source)]
    sources = len(judged.context.entry.acquisition)
    return Verdict(
        passed=not open_ended,
        severity=dg.AssetCheckSeverity.WARN,
        summary=f"the catalog states a SHA-256 for {sources - len(open_ended)} of {sources} sources",
        metadata={"sources": sources, **_listed("not_pinned", ("kind", "source"), open_ended)},
    )


def _judge_no_case_lost(judged: Judged) -> Verdict:
    """Every case that went into the stage is in its manifest, done or excluded, and nothing else is."""
    expected, found = _expected_cases(judged), {record.case for record in judged.result.manifest.records}
    silent = {record.case for record in judged.result.manifest.excluded if not (record.error or {}).get("problem")}
    unpacked = _unpacked_cases(judged) if judged.result.stage == "shards" else set()
    rows = [
        *((case, "went in and is not in the manifest") for case in sorted(expected - found)),
        *((case, "is in the manifest and never went in") for case in sorted(found - expected)),
        *((case, "is excluded without a reason") for case in sorted(silent)),
        *((case, "is done and in no shard") for case in sorted(unpacked)),
    ]
    return Verdict(
        passed=not rows,
        summary=f"{len(expected)} cases went in, {len(judged.result.manifest.good)} came out, "
        f"{len(judged.result.excluded)} are excluded, {len(rows)} unaccounted for",
        metadata={"cases_expected": len(expected), **_listed("unaccounted", ("case", "what"), rows)},
    )


def _judge_nothing_excluded(judged: Judged) -> Verdict:
    rows = [(record.case, str((record.error or {})["problem"])) for record in judged.result.excluded]
    everything = bool(rows) and not judged.result.manifest.good
    return Verdict(
        passed=not rows,
        severity=dg.AssetCheckSeverity.ERROR if everything else dg.AssetCheckSeverity.WARN,
        summary=f"{len(rows)} of {len(judged.result.manifest.records)} cases are excluded by this stage",
        metadata={"cases_excluded": len(rows), **_listed("excluded", ("case", "reason"), rows)},
    )


def _judge_no_duplicates(judged: Judged) -> Verdict:
    groups = judged.result.details["summary"]["duplicates"]
    return Verdict(
        passed=not groups,
        severity=dg.AssetCheckSeverity.WARN,
        summary=f"{len(groups)} groups of images have the same voxels",
        metadata={
            "groups": len(groups),
            **_listed("duplicates", ("images",), [(", ".join(group),) for group in groups]),
        },
    )


def _judge_no_class_vanished(judged: Judged) -> Verdict:
    rows = [
        (record.case, concept)
        for record in judged.result.manifest.good
        for concept, ratio in record.facts["volume_ratio"].items()
        if ratio == 0.0
    ]
    return Verdict(
        passed=not rows,
        severity=dg.AssetCheckSeverity.WARN,
        summary=f"{len(rows)} classes have no voxel left after resampling",
        metadata={"classes_vanished": len(rows), **_listed("vanished", ("case", "layer/concept"), rows)},
    )


def _expected_cases(judged: Judged) -> set[str]:
    if judged.before is None:
        return set()
    records = judged.before.manifest.good
    if judged.before.stage == "cases":
        records = tuple(record for record in records if any(record.fit_for(purpose.value) for purpose in Purpose))
    return {record.case for record in records}


def _unpacked_cases(judged: Judged) -> set[str]:
    store: Store = judged.context.store
    packing = json.loads(store.read_bytes(judged.result.head.attachments["packing"]))
    packed = {key for keys in packing["shards"].values() for key in keys}
    return {record.case for record in judged.result.manifest.good if record.key not in packed}


def _is_pinned(source: Source) -> bool:
    if isinstance(source, RemoteSource):
        return bool(source.files) and all(file.checksum is not None for file in source.files)
    return isinstance(source, PipSource) or bool(source.files) or getattr(source, "sha256", None) is not None


def _name(source: Source) -> str:
    if isinstance(source, RemoteSource):
        return ", ".join(file.name for file in source.files[:3]) or source.page or source.part
    return str(getattr(source, "package", None) or getattr(source, "path", ""))


def _listed(name: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Rows as a Markdown table under a name; nothing when there are none."""
    return {name: dg.MetadataValue.md(markdown_table(header, rows, most=ROWS_SHOWN))} if rows else {}


SOURCES_VERIFIED = StageCheck(
    name="sources_verified",
    description="Every acquired file is in the store, whole.",
    judge=_judge_sources_verified,
    blocking=True,
)
SOURCES_PINNED = StageCheck(
    name="sources_pinned",
    description="The catalog states the SHA-256 of what each source brings, so that a changed source is noticed.",
    judge=_judge_sources_pinned,
)
EXPECTATIONS = StageCheck(
    name="expectations",
    description="The table of cases meets the Great Expectations suite; the data docs show each expectation.",
    judge=_judge_expectations,
)
NO_CASE_LOST = StageCheck(
    name="no_case_lost",
    description="Every case that went in came out, or is excluded with a reason.",
    judge=_judge_no_case_lost,
    blocking=True,
)
NOTHING_EXCLUDED = StageCheck(
    name="nothing_excluded",
    description="The stage was complete: it had to exclude no case.",
    judge=_judge_nothing_excluded,
)
NO_DUPLICATES = StageCheck(
    name="no_duplicates",
    description="No two images of the entry have the same voxels.",
    judge=_judge_no_duplicates,
)
NO_CLASS_VANISHED = StageCheck(
    name="no_class_vanished",
    description="Every class that a case had before resampling, it has after.",
    judge=_judge_no_class_vanished,
)
