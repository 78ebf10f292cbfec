"""The platform's three inclusion criteria as rules: per entry from what the catalog says, and over the whole catalog.

(a) completeness of annotation, (b) usability of the format, (c) task adaptability. The rules for single cases, which
need their files, are in `medshard.registry.inclusion`; their verdicts are read here from a store where one is at hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from medshard.registry.concepts import ConceptKind, Vocabulary
from medshard.registry.schema import Entry
from medshard.registry.schema.annotations import QuestionAnswers, ReportText, ScoreTable, Transforms
from medshard.registry.store.manifests import read_head, read_manifest
from medshard.registry.store.objects import Store
from medshard.registry.store.records import CaseRecord
from medshard.registry.vocabulary import (
    PLATFORM_GROUPS,
    PLATFORM_MODALITIES,
    Criterion,
    Maturity,
    Modality,
    PatientBasis,
    Permission,
    Purpose,
    Task,
)


class Judgement(StrEnum):
    """`unknown`: the catalog does not say enough to judge."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One rule's outcome: what was looked at, and what was found."""

    criterion: Criterion
    rule: str
    judgement: Judgement
    evidence: str

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class EntryVerdict:
    """All findings on an entry. cases: purpose -> verdict -> number of cases, from a store; empty without one."""

    entry: str
    findings: tuple[Finding, ...]
    cases: Mapping[str, Mapping[str, int]]

    def of(self, criterion: Criterion) -> Judgement:
        """Failed when one rule failed, unknown when one could not be judged, passed otherwise."""
        found = {finding.judgement for finding in self.findings if finding.criterion is criterion}
        return next((worst for worst in (Judgement.FAILED, Judgement.UNKNOWN) if worst in found), Judgement.PASSED)

    def to_json(self) -> dict[str, object]:
        return {
            "entry": self.entry,
            "verdicts": {criterion.value: self.of(criterion).value for criterion in Criterion},
            "findings": [finding.to_json() for finding in self.findings],
            "cases": {purpose: dict(counts) for purpose, counts in self.cases.items()},
        }


def judge_entry(entry: Entry, store: Store | None = None) -> EntryVerdict:
    findings = tuple(rule(entry) for rule in _RULES)
    return EntryVerdict(entry=entry.id, findings=findings, cases=_cases_in(store, entry) if store else {})


def judge_catalog(entries: Iterable[Entry], vocabulary: Vocabulary) -> tuple[Finding, ...]:
    """Diversity: criterion (c) over all entries together."""
    return tuple(_diversity(tuple(entries), vocabulary))


def _annotated_share(entry: Entry) -> Finding:
    released = entry.source.released if entry.source.released is not None else entry.source.cases
    labelled, least = entry.source.labelled, entry.inclusion.least_labelled
    if labelled is None or not released:
        judgement, evidence = Judgement.UNKNOWN, "the source does not say how many cases are labelled"
    else:
        share = min(1.0, labelled / released)
        judgement = Judgement.PASSED if share >= least else Judgement.FAILED
        evidence = f"{labelled:,} of {released:,} {entry.source.unit} labelled ({share:.0%}, at least {least:.0%})"
    return _finding(Criterion.ANNOTATION, "annotated share", judgement, evidence)


def _labels_have_meaning(entry: Entry) -> Finding:
    rule = "labels have a meaning"
    if not entry.cases:
        return _finding(Criterion.ANNOTATION, rule, Judgement.UNKNOWN, "no layout is written down")
    unmapped = [
        f"{name}={value}"
        for group in entry.cases
        for name, layer in (*group.labels.items(), *group.annotations.items())
        for value in layer.unmapped
    ]
    annotations = [mark for group in entry.cases for mark in group.annotations.values()]
    if not entry.concepts and not annotations:
        return _finding(Criterion.ANNOTATION, rule, Judgement.FAILED, "no annotation is declared")
    if not entry.concepts and unmapped:
        evidence = f"none of {len(unmapped)} values stands for a concept"
        return _finding(Criterion.ANNOTATION, rule, Judgement.FAILED, evidence)
    if not entry.concepts and not any(isinstance(mark, FREE_ANNOTATIONS) for mark in annotations):
        return _finding(Criterion.ANNOTATION, rule, Judgement.UNKNOWN, "the values of the annotations are not listed")
    evidence = f"{len(entry.concepts)} concepts, {len(unmapped)} values without one"
    return _finding(Criterion.ANNOTATION, rule, Judgement.PASSED, evidence)


FREE_ANNOTATIONS = (ReportText, QuestionAnswers, Transforms, ScoreTable)
"""Annotations that mean something without a concept: texts, answers, poses, numbers."""


def _layout_is_known(entry: Entry) -> Finding:
    rule = "structure and names are regular"
    if not entry.cases:
        return _finding(Criterion.USABILITY, rule, Judgement.UNKNOWN, "no layout is written down")
    if entry.adapter is not None:
        evidence = f"read by {entry.adapter.function}, which no stage calls yet"
        return _finding(Criterion.USABILITY, rule, Judgement.UNKNOWN, evidence)
    proof = {
        Maturity.DESCRIBED: (Judgement.UNKNOWN, "templates are written down, not yet tried"),
        Maturity.LAYOUT_TESTED: (Judgement.PASSED, "templates tried on a made tree"),
        Maturity.ACQUIRED: (Judgement.PASSED, "the real data went through the chain"),
    }
    return _finding(Criterion.USABILITY, rule, *proof[entry.maturity])


def _patients_are_known(entry: Entry) -> Finding:
    rule = "patients can be told apart"
    bases = {group.patients_rest_on for group in entry.cases}
    if not bases:
        return _finding(Criterion.USABILITY, rule, Judgement.UNKNOWN, "no layout is written down")
    evidence = ", ".join(sorted(bases))
    if PatientBasis.UNKNOWN in bases:
        return _finding(Criterion.USABILITY, rule, Judgement.FAILED, f"{evidence}: a split may leak")
    assumed = PatientBasis.ASSUMED in bases
    return _finding(Criterion.USABILITY, rule, Judgement.UNKNOWN if assumed else Judgement.PASSED, evidence)


def _defects_are_handled(entry: Entry) -> Finding:
    excluded = len({case for defect in entry.known_defects if defect.action == "exclude" for case in defect.cases})
    total, most = entry.source.cases, entry.inclusion.most_excluded
    evidence = f"{len(entry.known_defects)} known defects, {excluded} cases excluded by name"
    if not excluded:
        judgement = Judgement.PASSED
    elif not total:
        judgement = Judgement.UNKNOWN
    else:
        judgement = Judgement.PASSED if excluded / total <= most else Judgement.FAILED
    return _finding(Criterion.USABILITY, "defects are few", judgement, evidence)


def _enough_cases(entry: Entry) -> Finding:
    count = entry.source.released if entry.source.released is not None else entry.source.cases
    least = entry.inclusion.least_cases
    if count is None:
        return _finding(Criterion.ADAPTABILITY, "enough cases", Judgement.UNKNOWN, "the number of cases is not known")
    judgement = Judgement.PASSED if count >= least else Judgement.FAILED
    return _finding(
        Criterion.ADAPTABILITY, "enough cases", judgement, f"{count:,} {entry.source.unit}, at least {least}"
    )


def _terms_allow_training(entry: Entry) -> Finding:
    rule = "terms allow derived models"
    derivatives = entry.licence.derivatives
    judgement = {
        Permission.ALLOWED: Judgement.PASSED,
        Permission.CONDITIONAL: Judgement.PASSED,
        Permission.FORBIDDEN: Judgement.FAILED,
        Permission.UNKNOWN: Judgement.UNKNOWN,
    }[derivatives]
    return _finding(Criterion.ADAPTABILITY, rule, judgement, f"{entry.licence.id}: derivatives {derivatives}")


def _is_obtainable(entry: Entry) -> Finding:
    judgement = Judgement.FAILED if entry.access.kind == "unavailable" else Judgement.PASSED
    return _finding(Criterion.ADAPTABILITY, "can be had", judgement, f"access: {entry.access.kind}")


_RULES: tuple[Callable[[Entry], Finding], ...] = (
    _annotated_share,
    _labels_have_meaning,
    _layout_is_known,
    _patients_are_known,
    _defects_are_handled,
    _enough_cases,
    _terms_allow_training,
    _is_obtainable,
)

LEAST_PER_WORD = 1
LARGEST_SHARE = 0.6
"""No modality may make up more of the platform's entries than this: what is trained on them would know little else."""


def _diversity(entries: tuple[Entry, ...], vocabulary: Vocabulary) -> Iterator[Finding]:
    yield _coverage("groups", PLATFORM_GROUPS, Counter(group for entry in entries for group in entry.groups))
    modalities: Counter[Modality] = Counter(modality for entry in entries for modality in entry.modalities)
    yield _coverage("modalities", PLATFORM_MODALITIES, modalities)
    tasks: Counter[Task] = Counter(task for entry in entries for task in entry.tasks)
    wanted = (Task.SEGMENTATION, Task.CLASSIFICATION, Task.DETECTION, Task.REGISTRATION, Task.RECONSTRUCTION)
    yield _coverage("tasks", wanted, tasks)
    if modalities:
        name, count = modalities.most_common(1)[0]
        share = count / len(entries)
        yield _finding(
            Criterion.ADAPTABILITY,
            "no modality rules",
            Judgement.PASSED if share <= LARGEST_SHARE else Judgement.FAILED,
            f"{name} in {count} of {len(entries)} entries ({share:.0%}, at most {LARGEST_SHARE:.0%})",
        )
    findings = {
        concept
        for entry in entries
        for concept in entry.concepts
        if concept in vocabulary and vocabulary.get(concept).kind in {ConceptKind.LESION, ConceptKind.DIAGNOSIS}
    }
    yield _finding(
        Criterion.ADAPTABILITY,
        "diseases",
        Judgement.PASSED if findings else Judgement.FAILED,
        f"{len(findings)} lesions and diagnoses are annotated",
    )


def _coverage(rule: str, wanted: Iterable[StrEnum], found: Mapping[Any, int]) -> Finding:
    words = list(wanted)
    missing = [str(word) for word in words if found.get(word, 0) < LEAST_PER_WORD]
    least = min(words, key=lambda word: found.get(word, 0))
    evidence = f"{len(words) - len(missing)} of {len(words)} covered; the rarest is {least} ({found.get(least, 0)})"
    if missing:
        evidence += f"; missing: {', '.join(missing)}"
    return _finding(Criterion.ADAPTABILITY, rule, Judgement.FAILED if missing else Judgement.PASSED, evidence)


def _finding(criterion: Criterion, rule: str, judgement: Judgement, evidence: str) -> Finding:
    return Finding(criterion=criterion, rule=rule, judgement=judgement, evidence=evidence)


def _cases_in(store: Store, entry: Entry) -> dict[str, dict[str, int]]:
    """The cases that a build has validated: purpose -> how many are fit, and which codes speak against how many."""
    head = read_head(store, entry.id, "cases")
    if head is None:
        return {}
    converted = read_head(store, entry.id, "volumes")
    later = {record.case: record for record in read_manifest(store, converted.manifest).records} if converted else {}
    # A case that a later stage could not read is fit for nothing, whatever its headers promised.
    records = [
        later[record.case] if record.case in later and later[record.case].error is not None else record
        for record in read_manifest(store, head.manifest).records
    ]
    return {
        purpose.value: dict(Counter(code for record in records for code in _verdict(record, purpose)))
        for purpose in Purpose
    }


def _verdict(record: CaseRecord, purpose: Purpose) -> set[str]:
    """The codes against one case, each once although two layers may earn the same one."""
    if record.error is not None:
        return {str(record.error.get("code", "failed"))}
    return set(record.verdicts.get(purpose.value, [])) or {"fit"}
