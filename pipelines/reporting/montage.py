"""Contact sheets: the cases of an entry in one small picture, for the UI and the report."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from medshard.converters.volume import Volume
from medshard.pipelines.reporting.previews.cases import ShownCase, ShownCases, cases_to_show
from medshard.pipelines.reporting.previews.colours import CONCEPT_COLOURS
from medshard.pipelines.reporting.previews.panels import Size
from medshard.pipelines.reporting.previews.sheet import sheet_png
from medshard.pipelines.reporting.previews.views import shown_cases
from medshard.registry.store.objects import Store

__all__ = ["CONCEPT_COLOURS", "contact_sheet", "draw_sheet"]

TILE: Size = (480, 190)
# A sheet that is too large when everything on it is small shows fewer cases.
FEWER = (1.0, 0.5, 0.25)


def contact_sheet(
    store: Store,
    entry_id: str,
    *,
    stage: Literal["volumes", "shards"] = "volumes",
    plan: str | None = None,
    most_cases: int = 12,
    tile: Size = TILE,
    most_bytes: int = 100_000,
) -> bytes:
    """PNG of the cases of an entry, each family as docs/previews.md says, with a legend of the classes.

    stage: `volumes` shows them as converted, `shards` as they went into the shards of `plan`. Of more than `most_cases`
    cases, evenly spaced ones are taken. tile: largest width and height of one image's slices in pixels; it shrinks, as
    do the number of greys and of cases, until the file has at most `most_bytes`. Equal stores give equal bytes.
    Raises StoreError[stage.not_built].
    """
    png = b""
    for share in FEWER:
        most = max(1, round(most_cases * share))
        found = cases_to_show(store, entry_id, stage=stage, plan=plan or "default", most_cases=most)
        png = _drawn(found, min(most, found.total), tile, most_bytes)
        if len(png) <= most_bytes or found.total <= 1:
            break
    return png


def draw_sheet(volumes: Iterable[Volume], *, tile: Size = TILE, most_bytes: int = 100_000, note: str = "") -> bytes:
    """PNG of volumes in canonical orientation, as `contact_sheet` describes it. note: printed before the convention."""
    shown = shown_cases(ShownCase(volume=volume) for volume in volumes)
    return sheet_png(shown, tile=tile, most_bytes=most_bytes, note=note)


def _drawn(found: ShownCases, shown: int, tile: Size, most_bytes: int) -> bytes:
    note = f"{shown} of {found.total} cases, evenly spaced. " if found.total > shown else ""
    return sheet_png(shown_cases(found.cases), tile=tile, most_bytes=most_bytes, note=note)
