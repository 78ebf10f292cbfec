"""Suspects of an entry that is built, out of the records of the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medshard.converters.canonical import read_volume
from medshard.converters.suspicion import suspicion_facts
from medshard.pipelines.reporting.suspects.ranking import SuspectCase, rank
from medshard.registry.store.manifests import read_manifest, require_head
from medshard.registry.store.objects import Store
from medshard.registry.store.records import CaseRecord


def suspects_of_entry(store: Store, entry_id: str, *, kind: str | None = None) -> list[SuspectCase]:
    """Every case of the current fingerprints, the most suspicious first.

    Records that hold no measures yet have their volume measured now. Raises StoreError[stage.not_built].
    """
    good = read_manifest(store, require_head(store, entry_id, "fingerprint").manifest).good
    facts = {record.case: record.facts["fingerprint"] for record in good}
    missing = [case for case, found in facts.items() if "suspicion" not in found]
    volumes = _volumes(store, entry_id) if missing else {}
    measures = {
        case: found.get("suspicion") or _measured(store, volumes[case])
        for case, found in facts.items()
        if "suspicion" in found or case in volumes
    }
    return rank(measures, {case: _digests(found) for case, found in facts.items()}, kind=kind)


def _volumes(store: Store, entry_id: str) -> dict[str, CaseRecord]:
    good = read_manifest(store, require_head(store, entry_id, "volumes").manifest).good
    return {record.case: record for record in good if record.output is not None}


def _measured(store: Store, record: CaseRecord) -> Mapping[str, Any]:
    if record.output is None:
        raise ValueError(record.case)
    return suspicion_facts(read_volume(store.path(record.output), record.facts.get("row")))


def _digests(fingerprint: Mapping[str, Any]) -> dict[str, str]:
    """Of images that are not of one value: those are equal by being empty."""
    return {
        name: image["voxel_digest"]
        for name, image in fingerprint.get("images", {}).items()
        if image.get("intensity") and image["intensity"]["minimum"] < image["intensity"]["maximum"]
    }
