"""Everything that a preview shows of one case, family by family."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

from medshard.errors import MedshardError
from medshard.pipelines.reporting.mesh_views import shown_meshes
from medshard.pipelines.reporting.planes import shown_images
from medshard.pipelines.reporting.previews.cases import ShownCase
from medshard.pipelines.reporting.previews.kept import shown_slides, shown_videos
from medshard.pipelines.reporting.previews.marks import judged_words
from medshard.pipelines.reporting.previews.passages import shown_tables, shown_texts
from medshard.pipelines.reporting.previews.shown import Shown
from medshard.pipelines.reporting.previews.signals import shown_signals

MOST_OF_A_KIND = 8


def shown_case(case: ShownCase) -> list[Shown]:
    """At most `MOST_OF_A_KIND` things of each kind. What has text begins a line, so that text stands beside it."""
    volume = case.volume
    found: list[Shown] = []
    for kind in (
        shown_images(volume, places=case.places),
        shown_meshes(volume),
        shown_slides(volume, case.files),
        shown_videos(volume, case.files),
        shown_signals(volume),
    ):
        found += _bounded(kind, volume.case)
    texts = _bounded(shown_texts(volume), volume.case)
    if found and texts:
        found[-1] = replace(found[-1], first=True)
    found += texts
    found += _bounded(shown_tables(volume), volume.case)
    if not found and (words := judged_words(volume.annotations, None, of_case=True)):
        found.append(Shown(caption=(volume.case,), words=words))
    return found


def _bounded(shown: Iterator[Shown], case: str) -> list[Shown]:
    """The first of them. Where one cannot be shown the sheet says why, and shows the others of the entry."""
    kept: list[Shown] = []
    try:
        kept += islice(shown, MOST_OF_A_KIND)
        if next(shown, None) is not None:
            last = kept[-1]
            kept[-1] = replace(last, caption=(*last.caption, f"The case has more; {MOST_OF_A_KIND} are shown."))
    except MedshardError as error:
        kept.append(Shown(caption=(case, f"cannot be shown: {error.code}: {error.problem}")))
    return kept


def shown_cases(cases: Iterable[ShownCase]) -> list[Shown]:
    return [each for case in cases for each in shown_case(case)]
