"""What of the catalog's layout language the stages read today, and a clear word about the rest."""

from __future__ import annotations

from collections.abc import Iterator

from medshard.errors import CatalogError
from medshard.registry.schema import CaseGroup, Entry, LabelSpec, PatientColumn, SplitLists
from medshard.registry.templates import template_fields


def refuse_unread_layout(entry: Entry) -> None:
    """Raise CatalogError[layout.none] for an entry without cases, CatalogError[layout.unread] naming what is not read.

    Half a layout would be worse than none: masks or patients left out in silence are how leaks begin.
    """
    if not entry.cases:
        raise CatalogError(
            "layout.none",
            where=entry.id,
            problem="the entry is described, but nobody has written down its files yet",
            details={"known": entry.layout_notes} if entry.layout_notes else {},
            action="Add `cases` to the entry; docs/contributing-a-data-set.md shows how.",
        )
    unread = sorted({wish for group in entry.cases for wish in _unread(group)})
    unread += ["adapters in Python"] if entry.adapter is not None else []
    if unread:
        raise CatalogError(
            "layout.unread",
            where=entry.id,
            problem="the entry's layout asks for what the stages do not read yet",
            details={"not read yet": ", ".join(unread)},
            action="Its record can be queried; building it needs a later release.",
        )


def _unread(group: CaseGroup) -> Iterator[str]:
    for kind in ("videos", "signals", "tables", "texts"):
        if getattr(group, kind):
            yield kind
    for annotation in group.annotations.values():
        yield f"annotations of kind {annotation.kind}"
    for label in group.labels.values():
        yield from _unread_labels(label)
    if isinstance(group.patient, PatientColumn):
        yield "patients from a table"
    if isinstance(group.split, SplitLists):
        yield "splits from lists"
    if any(spec.key for spec in group.contents.values()):
        yield "arrays inside a container file (`key`)"
    if any(spec.channels for spec in group.contents.values()):
        yield "images with `channels`"
    if any(spec.optional for spec in group.contents.values()):
        yield "optional images"


def _unread_labels(label: LabelSpec) -> Iterator[str]:
    if label.per_class:
        yield "one mask file per class"
    for field in ("instance", "rater"):
        if any(field in template_fields(path) for path in label.paths):
            yield f"one mask file per {field}"
    for name in ("colours", "threshold", "key", "ignore", "unmapped", "also", "background"):
        if getattr(label, name):
            yield f"masks with `{name}`"
