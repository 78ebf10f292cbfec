"""What of the catalog's layout language the stages read today, and a clear word about the rest."""

from __future__ import annotations

from collections.abc import Iterator

from medshard.errors import CatalogError
from medshard.registry.schema import CaseGroup, Entry, PatientColumn, SplitLists

OUTLINE_FORMATS = ("rtstruct", "xml", "qvs", "json")


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


def refuse_unsharded_layout(entry: Entry) -> None:
    """Raise CatalogError[layout.unsharded] naming what volumes hold and shards cannot say yet.

    Voxels that nobody judged would become background in a shard, which is a judgement.
    """
    unsharded = sorted(
        {
            f"masks with `{name}`"
            for group in entry.cases
            for label in group.labels.values()
            for name in ("ignore", "unmapped", "also")
            if getattr(label, name)
        }
    )
    if unsharded:
        raise CatalogError(
            "layout.unsharded",
            where=entry.id,
            problem="the entry's labels say what shards cannot hold yet",
            details={"not sharded yet": ", ".join(unsharded)},
            action=f"Its volumes can be built: medshard build {entry.id} --to volumes",
        )


def _unread(group: CaseGroup) -> Iterator[str]:
    for kind in ("videos", "signals", "tables", "texts"):
        if getattr(group, kind):
            yield kind
    for annotation in group.annotations.values():
        if not (annotation.kind == "contours" and annotation.format in OUTLINE_FORMATS):
            yield f"annotations of kind {annotation.kind}"
    if isinstance(group.patient, PatientColumn):
        yield "patients from a table"
    if isinstance(group.split, SplitLists):
        yield "splits from lists"
