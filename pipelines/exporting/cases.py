"""Which cases of an entry are exported, under which name, and in which part of a split."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from medshard.converters.canonical import read_volume_layer
from medshard.converters.volume import LabelLayer, Volume
from medshard.errors import MedshardError
from medshard.pipelines.exporting.names import Alphabet, safe_names
from medshard.pipelines.stages.converted_volumes import place_of, read_converted
from medshard.registry.schema import Entry
from medshard.registry.splits import Part, Split, SplitRow, read_split
from medshard.registry.store.manifests import read_head, read_manifest, require_head
from medshard.registry.store.objects import Store
from medshard.registry.store.records import CaseRecord

# As the makers of a data set call its parts; what they call otherwise is training material.
SHIPPED: Mapping[str, Part] = {"test": "test", "validation": "val"}


@dataclass(frozen=True, kw_only=True)
class ExportCase:
    """One case: its record of the stage `volumes`, its name in the export, and its part.

    fold: the fold in which it is validated on. stated: whether anything says that it belongs to this part.
    """

    store: Store
    record: CaseRecord
    name: str
    part: Part
    fold: int | None = None
    stated: bool = False
    person: Mapping[str, Any] = field(default_factory=dict)

    @property
    def case(self) -> str:
        return self.record.case

    @property
    def patient(self) -> str:
        return str(self.record.facts.get("patient") or self.record.case)

    @property
    def modality(self) -> str:
        return str(self.record.facts.get("modality") or "")

    @property
    def synthetic(self) -> bool:
        return bool(self.record.facts.get("synthetic"))

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Of the layers that may be trained on; none where something speaks against it."""
        return tuple(self.record.facts.get("labels", {})) if self.record.fit_for("supervised") else ()

    def read(self) -> Volume:
        return read_converted(self.store, place_of(self.record))

    def read_layers(self) -> dict[str, LabelLayer]:
        """The label layers alone, where the images can be left unread."""
        place = place_of(self.record)
        if place.row is not None:
            return {name: layer for name, layer in self.read().labels.items() if name in self.layer_names}
        return {name: read_volume_layer(self.store.path(place.output), name) for name in self.layer_names}


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """cases: by case. left_out: case -> why it is not exported. folds: of the split. split: its digest."""

    cases: tuple[ExportCase, ...]
    left_out: Mapping[str, str]
    folds: int = 0
    split: str | None = None
    manifest: str = ""


def choose_cases(
    store: Store,
    entry: Entry,
    *,
    only: Collection[str] = (),
    modality: str | None = None,
    split: str | None = None,
    alphabet: Alphabet = "file",
) -> Chosen:
    """The converted cases of an entry. only: these cases. modality: of the case. split: by name, digest or path.

    Without a split, the parts as shipped hold. Raises StoreError[stage.not_built], SplitError, and
    MedshardError[export.unknown_case | export.no_cases].
    """
    head = require_head(store, entry.id, "volumes")
    manifest = read_manifest(store, head.manifest)
    _check_known(entry, only, {record.case for record in manifest.records})
    table = read_split(store, split) if split is not None else None
    rows = {row.case: row for row in table.rows if row.entry == entry.id} if table else {}
    reasons = {case.case: case.reason for case in table.left_out if case.entry == entry.id} if table else {}
    kept, left_out = [], {}
    for record in sorted(manifest.records, key=lambda record: record.case):
        if only and record.case not in only:
            continue
        reason = _reason_against(record, modality, table, rows, reasons)
        if reason is None:
            kept.append(record)
        else:
            left_out[record.case] = reason
    if not kept:
        raise MedshardError(
            "export.no_cases",
            where=entry.id,
            problem="there is no case to export",
            details=dict(list(left_out.items())[:5]),
        )
    names = safe_names((record.case for record in kept), alphabet)
    people = _people(store, entry)
    cases = tuple(
        _export_case(store, record, names[record.case], rows.get(record.case), people.get(record.case, {}))
        for record in kept
    )
    return Chosen(
        cases=cases,
        left_out=left_out,
        folds=table.making.folds if table else 0,
        split=table.digest if table else None,
        manifest=head.manifest.digest,
    )


def _export_case(
    store: Store, record: CaseRecord, name: str, row: SplitRow | None, person: Mapping[str, Any]
) -> ExportCase:
    shipped = record.facts.get("split")
    part = row.part if row else SHIPPED.get(str(shipped), "train")
    return ExportCase(
        store=store,
        record=record,
        name=name,
        part=part,
        fold=row.fold if row else None,
        stated=row is not None or shipped is not None,
        person=person,
    )


def _reason_against(
    record: CaseRecord,
    modality: str | None,
    table: Split | None,
    rows: Mapping[str, SplitRow],
    reasons: Mapping[str, str],
) -> str | None:
    if record.error is not None:
        return f"{record.error['code']}: {record.error['problem']}"
    if record.output is None:
        return "nothing was converted"
    if modality is not None and record.facts.get("modality") != modality:
        return f"of modality {record.facts.get('modality')}"
    if table is not None and record.case not in rows:
        return f"not in the split: {reasons.get(record.case, 'it does not know the case')}"
    return None


def _check_known(entry: Entry, only: Collection[str], known: Collection[str]) -> None:
    unknown = sorted(set(only) - set(known))
    if unknown:
        raise MedshardError(
            "export.unknown_case",
            where=entry.id,
            problem="there is no converted case of this name",
            details={"unknown": ", ".join(unknown[:5]), "cases": ", ".join(sorted(known)[:10])},
        )


def _people(store: Store, entry: Entry) -> dict[str, Mapping[str, Any]]:
    """What the stage `cases` keeps of persons: sex, age band, scanner."""
    head = read_head(store, entry.id, "cases")
    if head is None:
        return {}
    return {record.case: record.facts.get("person", {}) for record in read_manifest(store, head.manifest).records}
