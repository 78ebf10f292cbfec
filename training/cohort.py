"""Which cases a training stage uses: the entries' samples, the split, and the reasons why a case stays out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from medshard.errors import SplitError
from medshard.loaders.label_numbering import LabelNumbering, number_labels
from medshard.loaders.sample_row import SampleRow
from medshard.loaders.shard_reader import SampleIndex
from medshard.registry.splits import Part, Split, SplitRow, check_no_leak
from medshard.registry.store import Manifest, ObjectRef, RecordRef, Store, read_manifest
from medshard.registry.vocabulary import Purpose


@dataclass(frozen=True, kw_only=True)
class CohortCase:
    """A case that takes part. record: of the shards stage."""

    entry: str
    case: str
    patient: str
    component: str
    part: Part
    record: RecordRef

    @property
    def name(self) -> tuple[str, str]:
        return self.entry, self.case


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    entry: str
    case: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """The cases of one stage, sorted by entry and case, and what they were read from.

    shards: entry -> digests of its shard files. plans: entry -> digest of its plan.
    """

    cases: tuple[CohortCase, ...]
    left_out: tuple[LeftOut, ...]
    shards: Mapping[str, tuple[str, ...]]
    plans: Mapping[str, str]

    @property
    def entries(self) -> list[str]:
        """The entries that have a case here, sorted."""
        return sorted({case.entry for case in self.cases})

    @property
    def names(self) -> list[tuple[str, str]]:
        return [case.name for case in self.cases]

    @property
    def records(self) -> tuple[RecordRef, ...]:
        return tuple(case.record for case in self.cases)


def read_split(store: Store, ref: ObjectRef) -> Split:
    """The split of a recipe. Raises SplitError when a component, or a patient, is on more than one side of it."""
    split = Split.from_bytes(store.read_bytes(ref))
    check_no_leak(split)
    check_no_leak(Split(tuple(_by_patient(row) for row in split.rows)))
    return split


def select_cases(
    store: Store,
    *,
    entries: Sequence[str],
    plan: str,
    split: Split,
    parts: Sequence[Part],
    purpose: Purpose,
    classes: Sequence[str] = (),
) -> Cohort:
    """The cases of some entries that lie in some parts of the split and are fit for a purpose.

    classes: when given, a case must have been examined for at least one of them.
    Raises StoreError when the shards of an entry have not been built, and SplitError when no case is left.
    """
    rows = {(row.entry, row.case): row for row in split.rows}
    chosen: list[CohortCase] = []
    left_out: list[LeftOut] = []
    indices = {entry: SampleIndex.open(store, entry, plan) for entry in entries}
    numbering = number_labels(indices.values(), None, classes)
    for entry, index in indices.items():
        manifest = read_manifest(store, index.head.manifest)
        for sample in map(index.row, range(len(index))):
            row = rows.get((entry, sample.case))
            if row is not None and row.part not in parts:
                continue
            reason = _reason_against(sample, row, manifest, numbering, purpose=purpose)
            if reason or row is None:
                left_out.append(LeftOut(entry=entry, case=sample.case, reason=reason))
            else:
                chosen.append(_cohort_case(sample, row))
    if not chosen:
        raise SplitError(
            "split.no_cases",
            where=f"{' and '.join(sorted(parts))} part of {', '.join(entries)}",
            problem="no case is left for this stage",
            details={f"{out.entry}/{out.case}": out.reason for out in left_out[:10]},
            action="Add entries to the recipe, or change the fractions of its split.",
        )
    return Cohort(
        cases=tuple(sorted(chosen, key=lambda case: case.name)),
        left_out=tuple(sorted(left_out, key=lambda out: (out.entry, out.case))),
        shards={entry: index.shard_digests for entry, index in indices.items()},
        plans={entry: index.plan.digest for entry, index in indices.items()},
    )


def check_unseen(cohort: Cohort, seen: Collection[tuple[str, str]], split: Split) -> None:
    """Raise SplitError[split.leak] when an evaluated patient is among the cases that a model has seen.

    seen: (entry, case) of everything in the training manifests behind the checkpoint.
    """
    rows = [row for row in split.rows if (row.entry, row.case) in seen]
    known = {row.component for row in rows} | {f"{row.entry}/{row.patient}" for row in rows}
    leaked = [
        case
        for case in cohort.cases
        if case.name in seen or case.component in known or f"{case.entry}/{case.patient}" in known
    ]
    if leaked:
        raise SplitError(
            "split.leak",
            where="evaluation",
            problem="the checkpoint was trained on patients that are to be scored",
            details={f"{case.entry}/{case.case}": f"patient {case.patient}, part {case.part}" for case in leaked[:10]},
            action="Train again on this split.",
        )


def _reason_against(
    sample: SampleRow, row: SplitRow | None, manifest: Manifest, numbering: LabelNumbering, *, purpose: Purpose
) -> str:
    """Why a case cannot be used; empty when it can."""
    record = manifest.record(sample.case)
    if row is None:
        return "not in the split"
    if sample.channels != 1:
        return f"{sample.channels} channels; these networks take one" if sample.channels else "no image"
    if record is not None and not record.fit_for(purpose.value):
        return f"not fit for the purpose {purpose.value}: {', '.join(record.verdicts.get(purpose.value, []))}"
    label = numbering.label_of(sample)
    if numbering.classes and not numbering.examined(label[1] if label else None).any():
        return f"not examined for {', '.join(numbering.classes)}"
    return ""


def _cohort_case(sample: SampleRow, row: SplitRow) -> CohortCase:
    if sample.patient != row.patient:
        raise SplitError(
            "split.other_patient",
            where=f"{row.entry}/{row.case}",
            problem="the split and the shards name different patients for one case",
            details={"split": row.patient, "shards": sample.patient},
            action="Make the split again from the current cases.",
        )
    return CohortCase(
        entry=row.entry,
        case=row.case,
        patient=row.patient,
        component=row.component,
        part=row.part,
        record=RecordRef(key=sample.record_key, digest=sample.record_digest),
    )


def _by_patient(row: SplitRow) -> SplitRow:
    return SplitRow(
        entry=row.entry, case=row.case, patient=row.patient, component=f"{row.entry}/{row.patient}", part=row.part
    )
