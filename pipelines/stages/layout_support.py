"""What of the catalog's layout language the stages read today, and a clear word about the rest."""

from __future__ import annotations

from medshard.errors import CatalogError
from medshard.registry.schema import Entry


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
    if entry.adapter is not None:
        raise CatalogError(
            "layout.unread",
            where=entry.id,
            problem="the entry's layout asks for what the stages do not read yet",
            details={"not read yet": "adapters in Python"},
            action="Its record can be queried; building it needs a later release.",
        )
