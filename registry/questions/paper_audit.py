"""Where the paper's rows and the sources disagree: computed where both state something, explained where we know why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from medshard.registry.catalog.entry_checks import PAPER_MODALITIES
from medshard.registry.schema import Entry, PaperRow
from medshard.registry.vocabulary import PaperField


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """One row of the audit. paper, source: what each of them says, as text.

    differs: the two figures are unlike. Where they are alike, the note says what the figure hides, such as hidden test
    cases in a count. note: why, where somebody knows.
    """

    entry: str
    table: int | None
    name: str
    field: PaperField
    paper: str
    source: str
    differs: bool
    note: str

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class PaperTotals:
    """The platform's images on paper: every name and modality counted once, although the lesion table repeats rows."""

    names: int
    images_3d: int
    images_2d: int


def audit_paper(entries: Iterable[Entry]) -> tuple[Disagreement, ...]:
    """All disagreements, by entry and field."""
    found = [item for entry in entries for item in _of_entry(entry)]
    return tuple(sorted(found, key=lambda item: (item.entry, item.field, item.table or 0)))


def paper_totals(entries: Iterable[Entry]) -> PaperTotals:
    rows = {(row.name, row.modality, row.dimension): row.images for row in platform_rows(entries)}
    return PaperTotals(
        names=len({name for name, _, _ in rows}),
        images_3d=sum(images for (_, _, dimension), images in rows.items() if dimension == "3D"),
        images_2d=sum(images for (_, _, dimension), images in rows.items() if dimension == "2D"),
    )


def platform_rows(entries: Iterable[Entry]) -> Iterator[PaperRow]:
    return (row for entry in entries for row in entry.paper if row.group is not None)


def _of_entry(entry: Entry) -> Iterator[Disagreement]:
    notes = {difference.field: difference.note for difference in entry.differences}
    rows = [row for row in entry.paper if row.group is not None]
    first = next(iter(rows or entry.paper), None)  # a survey's row counts where the platform has none
    computed = {field: row for row in reversed(rows) for field in _computed(entry, row)}  # the first row counts
    for field in sorted({*computed, *notes}):
        row = computed.get(field, first)
        paper, source = _stated(entry, row, field)
        yield Disagreement(
            entry=entry.id,
            table=row.table if row is not None else None,
            name=row.name if row is not None else entry.title,
            field=field,
            paper=paper,
            source=source,
            differs=field in computed,
            note=notes.get(field, ""),
        )


def _computed(entry: Entry, row: PaperRow) -> Iterator[PaperField]:
    """The fields in which row and entry state different things."""
    for field in (PaperField.SIZE, PaperField.TARGETS, PaperField.FORMAT, PaperField.MODALITY, PaperField.DIMENSION):
        _, source = _stated(entry, row, field)
        if source and not _agree(entry, row, field):
            yield field


def _agree(entry: Entry, row: PaperRow, field: PaperField) -> bool:
    if field is PaperField.SIZE:
        return row.images == entry.source.cases
    if field is PaperField.TARGETS:
        return not str(row.targets).isdigit() or int(str(row.targets)) == entry.source.classes
    if field is PaperField.FORMAT:
        return _formats(row.format or "") <= _formats(" ".join(entry.source.formats))
    if field is PaperField.DIMENSION:
        return int(str(row.dimension)[0]) in entry.dimensions
    return bool(PAPER_MODALITIES[row.modality or ""] & set(entry.modalities))


def _stated(entry: Entry, row: PaperRow | None, field: PaperField) -> tuple[str, str]:
    """What row and source say, as text; empty where one of them says nothing."""
    source = entry.source
    says = {
        PaperField.SIZE: "" if source.cases is None else f"{source.cases:,}",
        PaperField.TARGETS: "" if source.classes is None else str(source.classes),
        PaperField.FORMAT: ", ".join(source.formats),
        PaperField.MODALITY: ", ".join(entry.modalities),
        PaperField.DIMENSION: ", ".join(f"{dimension}D" for dimension in entry.dimensions),
        PaperField.TASK: ", ".join(entry.tasks),
        PaperField.GROUP: ", ".join(entry.groups),
    }.get(field, "")
    columns = {PaperField.IDENTITY: "name", PaperField.OTHER: "name"}
    paper = getattr(row, columns.get(field, field.value), None) if row is not None else None
    return str(paper or ""), says


_SAME_FORMAT = {"dicom": "dcm", "jpeg": "jpg", "tiff": "tif", "hdr": "analyze", "img": "analyze", "tgz": "gz"}


def _formats(text: str) -> set[str]:
    """Extensions as a set, with one spelling for each format."""
    words = re.findall(r"[a-z0-9]+(?:\.[a-z0-9]+)*", text.casefold())
    return {_SAME_FORMAT.get(word, word) for word in words}
