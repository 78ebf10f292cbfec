"""Splits of entries that are built: what a split has to know of their cases, and the splits made, checked and shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medshard.errors import SplitError
from medshard.registry.catalog import Catalog
from medshard.registry.schema import Entry
from medshard.registry.splits import (
    Leak,
    NamedSplit,
    Split,
    SplitCase,
    SplitRules,
    check_overlaps,
    find_leaks,
    load_split,
    make_shipped_split,
    make_split,
    read_named,
    read_split,
    save_split,
    shipped_leaks,
)
from medshard.registry.store.leases import hold_lease
from medshard.registry.store.manifests import Manifest, read_manifest, require_head
from medshard.registry.store.objects import Store
from medshard.registry.store.records import CaseRecord
from medshard.registry.vocabulary import PatientBasis, Purpose

# In a class table: the concept was looked for, and is there.
PRESENT = "present"


def make_named_split(
    store: Store,
    catalog: Catalog,
    name: str,
    entries: Sequence[str],
    rules: SplitRules,
    *,
    previous: str | None = None,
    afresh: bool = False,
    unlabelled_too: bool = False,
) -> tuple[NamedSplit, Split]:
    """Split the cases of some entries, keep the table, and give it a name.

    previous: name, digest or path of the split to go on from. When the name is taken, its split is the previous one
    unless another is given: what was tested stays tested. afresh: there is no previous one. unlabelled_too: components
    without labels are dealt as well.
    Raises StoreError when an entry is not built up to its fingerprints, and SplitError.
    """
    with hold_lease(store, f"splits/{name}"):
        before = previous or (name if read_named(store, name) and not afresh else None)
        gathered = gather_cases(store, catalog, entries)
        cases = [_all_labelled(case) for case in gathered.cases] if unlabelled_too else gathered.cases
        earlier = read_split(store, before) if before else None
        if earlier is not None:
            _check_folds(earlier, rules, name)
        split = make_split(cases, entries=list(catalog), rules=rules, previous=earlier, unsplit=gathered.unfit)
        return save_split(store, name, split, gathered.manifests), split


def _check_folds(earlier: Split, rules: SplitRules, name: str) -> None:
    """Raise SplitError[split.folds] where a cross-validation would go on from parts, or the other way round.

    The val part of the one would be trained on by the other.
    """
    had = len({row.fold for row in earlier.rows if row.fold is not None})
    if had != rules.folds:
        raise SplitError(
            "split.folds",
            where=name,
            problem="a split goes on from one with as many folds, and this has another number of them",
            details={"folds": rules.folds, "folds of the previous split": had},
            action="Give it another name, or --afresh: what was tested may be trained on then.",
        )


def make_named_shipped_split(
    store: Store, catalog: Catalog, name: str, entries: Sequence[str]
) -> tuple[NamedSplit, Split]:
    """The split as shipped, without its leaks, under a name. Raises as `make_named_split` does."""
    with hold_lease(store, f"splits/{name}"):
        gathered = gather_cases(store, catalog, entries)
        split = make_shipped_split(gathered.cases, entries=list(catalog), unsplit=gathered.unfit)
        return save_split(store, name, split, gathered.manifests), split


def check_named_split(store: Store, catalog: Catalog, name: str | Path, *, suspected: bool = False) -> tuple[Leak, ...]:
    """The leaks of a split by what is known today. Raises SplitError, and StoreError when an entry is not built."""
    split = load_split(store, name)
    gathered = gather_cases(store, catalog, sorted({row.entry for row in split.rows}))
    return find_leaks(split, [*gathered.cases, *gathered.unfit], list(catalog), suspected=suspected)


def check_shipped_split(
    store: Store, catalog: Catalog, entries: Sequence[str]
) -> tuple[list[SplitCase], tuple[Leak, ...]]:
    """The cases of entries, and the leaks of the split that they were shipped with."""
    gathered = gather_cases(store, catalog, entries)
    return gathered.cases, shipped_leaks(gathered.cases, list(catalog), gathered.unfit)


@dataclass(frozen=True, kw_only=True)
class GatheredCases:
    """cases: to be split. unfit: fit for no purpose; they too may show that two patients are one.

    manifests: entry -> digest of the manifest of its cases.
    """

    cases: list[SplitCase]
    unfit: list[SplitCase]
    manifests: Mapping[str, str]


def gather_cases(
    store: Store, catalog: Catalog, entries: Iterable[str], *, is_labelled: Callable[[CaseRecord], bool] | None = None
) -> GatheredCases:
    """All cases of built entries: those that are fit for some purpose, and apart from them the others.

    is_labelled: of a record of the stage `cases`; those fit for evaluation, where not given.
    Raises CatalogError for an entry that is unknown or invalid, which declares no overlaps; StoreError for one that is
    not built; and SplitError for an overlap that names a patient nobody has.
    """
    judge = is_labelled or (lambda record: record.fit_for(Purpose.EVALUATION.value))
    cases: list[SplitCase] = []
    unfit: list[SplitCase] = []
    manifests: dict[str, str] = {}
    patients: dict[str, set[str]] = {}
    for name in dict.fromkeys(entries):
        entry = catalog.entry(name)
        head = require_head(store, name, "cases")
        records = read_manifest(store, head.manifest)
        measured = _fingerprints(store, name)
        manifests[name] = head.manifest.digest
        for record in records.good:
            is_fit = any(record.fit_for(purpose.value) for purpose in Purpose)
            case = split_case(record, entry, measured.get(record.case, {}), labelled=judge(record))
            (cases if is_fit else unfit).append(case)
        if not records.excluded:
            patients[name] = {str(record.facts["patient"]) for record in records.good}
    check_overlaps(patients, list(catalog))
    return GatheredCases(cases=cases, unfit=unfit, manifests=manifests)


def split_case(record: CaseRecord, entry: Entry, fingerprint: Mapping[str, Any], *, labelled: bool) -> SplitCase:
    """What a split has to know of a case. record: of the stage `cases`. fingerprint: what was measured of it."""
    facts = record.facts
    return SplitCase(
        entry=record.entry,
        case=record.case,
        patient=str(facts["patient"]),
        labelled=labelled,
        contents=_scan_digests(fingerprint),
        strata=tuple(sorted(_strata(facts, fingerprint))),
        shipped=facts.get("split"),
        synthetic=bool(facts.get("synthetic", False)),
        patients_known=_patients_known(facts, entry),
    )


def _strata(facts: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> set[str]:
    found = {f"modality:{facts['modality']}"}
    if site := facts.get("person", {}).get("site"):
        found.add(f"site:{site}")
    for layer in fingerprint.get("labels", {}).values():
        found |= {f"class:{concept}" for concept, known in layer["classes"].items() if known["voxels"]}
    for annotation in facts.get("annotations", {}).values():
        states = annotation.get("concepts", {}) if annotation["usable"] else {}
        found |= {f"class:{concept}" for concept, state in states.items() if state == PRESENT}
    return found


def _scan_digests(fingerprint: Mapping[str, Any]) -> tuple[str, ...]:
    """Digests of the voxels of images that show something: an empty image is nobody's."""
    images = fingerprint.get("images", {}).values()
    return tuple(image["voxel_digest"] for image in images if not _is_blank(image))


def _is_blank(image: Mapping[str, Any]) -> bool:
    intensity = image.get("intensity") or {}
    return intensity.get("std") == 0


def _patients_known(facts: Mapping[str, Any], entry: Entry) -> bool:
    """Records of an older build do not say it; then the entry does, where all of its cases are alike."""
    stated = facts.get("patient_basis")
    if stated is not None:
        return bool(stated != PatientBasis.UNKNOWN.value)
    return {group.patients_rest_on for group in entry.cases} != {PatientBasis.UNKNOWN}


def _fingerprints(store: Store, entry: str) -> dict[str, Mapping[str, Any]]:
    manifest: Manifest = read_manifest(store, require_head(store, entry, "fingerprint").manifest)
    return {record.case: record.facts["fingerprint"] for record in manifest.good}


def _all_labelled(case: SplitCase) -> SplitCase:
    return replace(case, labelled=True)
