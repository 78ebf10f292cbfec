"""What a case takes along from the catalog through all stages, for splits and for who chooses samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medshard.registry.layout import CaseFiles
from medshard.registry.schema import CaseGroup
from medshard.registry.vocabulary import PatientBasis

ALWAYS = ("patient", "subject", "modality", "group")
WHERE_STATED = ("split", "synthetic", "patient_basis")


def stated_facts(group: CaseGroup, case: CaseFiles) -> dict[str, Any]:
    """Only what is not the rule, so that the records of most cases say nothing of it.

    split: the part as shipped, a `SplitName`. synthetic: true. patient_basis: where nobody can tell patients apart.
    """
    facts: dict[str, Any] = {}
    if case.split is not None:
        facts["split"] = str(case.split)
    if group.synthetic:
        facts["synthetic"] = True
    if group.patients_rest_on is PatientBasis.UNKNOWN:
        facts["patient_basis"] = PatientBasis.UNKNOWN.value
    return facts


def carried_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Of the facts of an earlier stage, those that the next one repeats."""
    return {
        **{name: facts[name] for name in ALWAYS},
        **{name: facts[name] for name in WHERE_STATED if name in facts},
    }
