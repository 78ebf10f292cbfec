"""Whether the cases of an entry are good enough to go on with: the inclusion criteria over a whole `cases` manifest.

Dagster's blocking checks block within one run only. `refuse_bad_input` judges the same criteria again before any later
stage, so that a stage that is run alone refuses what its check has refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from medshard.errors import CatalogError
from medshard.registry.schema import Entry
from medshard.registry.store.manifests import Manifest, read_manifest, require_head
from medshard.registry.store.objects import Store
from medshard.registry.store.records import CaseRecord
from medshard.registry.vocabulary import Criterion, Purpose

CASES_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class CriterionVerdict:
    """One inclusion criterion over all cases of an entry.

    purpose: what the cases are judged for: supervised training where the entry has labels, else self-supervised.
    faults: case -> `code: reason` of each case that the criterion speaks against.
    most_excluded: the share of such cases that the entry tolerates.
    blocking: whether the entry wants the chain to stop when there are more.
    """

    criterion: Criterion
    purpose: Purpose
    cases: int
    faults: Mapping[str, str]
    most_excluded: float
    blocking: bool

    @property
    def share(self) -> float:
        """Of all cases, those that the criterion speaks against; 1 when there is no case at all."""
        return len(self.faults) / self.cases if self.cases else 1.0

    @property
    def exceeded(self) -> bool:
        return self.share > self.most_excluded


def judge_criteria(entry: Entry, cases: Manifest) -> tuple[CriterionVerdict, ...]:
    """Judge the manifest of the stage `cases` by each criterion, in the order of the vocabulary.

    A case counts against a criterion when one of its faults speaks against the purpose of the entry: a scan without a
    mask counts in an entry for segmentation and not in one for pretraining, and an empty mask, which is only useless
    for scoring, in neither. A case that could not be read at all counts against usability of the format.
    """
    purpose = entry.purposes[0]
    return tuple(
        CriterionVerdict(
            criterion=criterion,
            purpose=purpose,
            cases=len(cases.records),
            faults={record.case: reason for record in cases.records if (reason := _fault(record, criterion, purpose))},
            most_excluded=entry.inclusion.most_excluded,
            blocking=criterion in entry.inclusion.blocking,
        )
        for criterion in Criterion
    )


def refuse_bad_input(store: Store, entry: Entry) -> None:
    """Refuse to work on an entry whose current `cases` fail a blocking criterion.

    Raises CatalogError[inclusion.blocked] naming criterion and cases, and StoreError when `cases` was never built.
    """
    cases = read_manifest(store, require_head(store, entry.id, "cases").manifest)
    for verdict in judge_criteria(entry, cases):
        if verdict.blocking and verdict.exceeded:
            raise CatalogError(
                "inclusion.blocked",
                where=f"{entry.id} {verdict.criterion.value}",
                problem=f"{len(verdict.faults)} of {verdict.cases} cases fail a blocking inclusion criterion",
                details={
                    "tolerated": f"{verdict.most_excluded:.0%} of the cases (inclusion.most_excluded)",
                    **dict(list(verdict.faults.items())[:CASES_SHOWN]),
                },
                action="Mend the sources or the layout and build `cases` again, or relax `inclusion` in the entry.",
            )


def _fault(record: CaseRecord, criterion: Criterion, purpose: Purpose) -> str:
    """Why a criterion speaks against a case; empty when it does not."""
    if record.error is not None:
        usable = criterion is not Criterion.USABILITY
        return "" if usable else f"{record.error['code']}: {record.error['problem']}"
    return "; ".join(
        f"{fault['code']}: {fault['reason']}"
        for fault in record.facts.get("faults", [])
        if fault["criterion"] == criterion.value and purpose.value in fault["against"]
    )
