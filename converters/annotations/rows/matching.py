"""Which rows of a table are a case's: its key is looked up in the key column, once for all cases."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from medshard.converters.annotations.rows.rows import Row, Rows, column_of, columns_of, has_column, nearest, word_of
from medshard.errors import CaseError
from medshard.registry.schema.annotations import RowAnnotation
from medshard.registry.templates import fill, template_fields

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".dcm", ".dicom", ".nii", ".gz"})


@dataclass(frozen=True, kw_only=True)
class IndexedRows:
    """by_key: the rows of each key that has any. column: where the keys stood. warnings: of the comparison alone."""

    by_key: Mapping[str, Sequence[Row]]
    column: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Way:
    """A way to compare keys: what both sides are turned into, and what is said when it was needed."""

    fold: Callable[[str], str]
    told: str


def is_own_file(annotation: RowAnnotation, *, case: str, anchor: str) -> bool:
    """Whether the file of a case is its own, so that all its rows are: its path has every field of the key.

    case, anchor: templates of the group. The file that finds the cases is a case's own as well.
    """
    if annotation.path == anchor:
        return True
    if annotation.key_column is not None:
        return False
    known = set(template_fields(annotation.path))
    wanted = set(template_fields(annotation.key))
    if "case" in wanted and "case" not in template_fields(anchor):
        wanted = (wanted - {"case"}) | set(template_fields(case))
    return bool(known) and wanted <= known


def key_of(template: str, *, fields: Mapping[str, str], case: str) -> str:
    """The key of a case; `{case}` is the field of that name, where the layout has one, else the name of the case."""
    return fill(template, {"case": case, **fields})


def index_rows(rows: Rows, keys: Collection[str], *, key_column: str | None, where: str) -> IndexedRows:
    """The rows of every key, in the order of the table. where: the entry, for messages.

    Keys are compared as they are, without blanks around them. Where both sides are whole numbers throughout, leading
    zeros mean nothing. Only where no key at all is found so, letter case and the suffix of a file name are left out.
    Raises CaseError[annotation.no_key_column | annotation.ambiguous_key].
    """
    wanted = {key: key.strip() for key in keys}
    column = _known_column(rows, key_column, where) if key_column else _best_column(rows, set(wanted.values()), where)
    words = [word_of(cell) for cell in column_of(rows.rows, column)]
    way = _way(words, wanted.values())
    places: dict[str, list[int]] = {}
    for place, word in enumerate(words):
        places.setdefault(way.fold(word), []).append(place)
    _refuse_ambiguous(way, set(words), where, column)
    _refuse_ambiguous(way, set(wanted.values()), where, column)
    found = {
        key: _picked(rows.rows, places[fold]) for key, word in wanted.items() if (fold := way.fold(word)) in places
    }
    found.pop("", None)
    warnings = (way.told.format(column=column),) if way.told and found else ()
    return IndexedRows(by_key=found, column=column, warnings=warnings)


@dataclass(frozen=True)
class _PickedRows(Sequence[Row]):
    rows: Sequence[Row]
    places: Sequence[int]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if isinstance(index, slice):
            return [self.rows[place] for place in self.places[index]]
        return self.rows[self.places[index]]


def _picked(rows: Sequence[Row], places: Sequence[int]) -> Sequence[Row]:
    return _PickedRows(rows, places)


def _same(word: str) -> str:
    return word


def _as_number(word: str) -> str:
    return word.lstrip("0") or "0" if word else ""


def _without_suffix(word: str) -> str:
    name = word.lower()
    while True:
        stem, point, suffix = name.rpartition(".")
        if not stem or f"{point}{suffix}" not in SUFFIXES:
            return name
        name = stem


AS_THEY_ARE = _Way(_same, "")
AS_NUMBERS = _Way(_as_number, "the keys are whole numbers and were compared without leading zeros")
IN_ANY_CASE = _Way(str.lower, "the keys differ from column {column} in letter case")
WITHOUT_SUFFIX = _Way(_without_suffix, "the keys differ from column {column} in the suffix of file names")


def _way(words: Iterable[str], keys: Iterable[str]) -> _Way:
    """The strictest way by which any key is found; leading zeros are the exception, they never mean anything."""
    there, wanted = set(words) - {""}, set(keys) - {""}
    strict = _strict(there, wanted)
    ways = (strict, IN_ANY_CASE, WITHOUT_SUFFIX) if strict is AS_THEY_ARE else (strict,)
    return next((way for way in ways if _count(way, there, wanted)), AS_THEY_ARE)


def _strict(there: AbstractSet[str], wanted: AbstractSet[str]) -> _Way:
    """As they are, or as numbers where both sides are whole numbers throughout and some key is not there as it is."""
    numbers = there and wanted and all(word.isdecimal() for word in there | wanted)
    return AS_NUMBERS if numbers and not wanted <= there else AS_THEY_ARE


def _count(way: _Way, there: AbstractSet[str], wanted: AbstractSet[str]) -> int:
    """How many keys are found."""
    if way is AS_THEY_ARE:
        return len(there & wanted)
    return len({way.fold(key) for key in wanted} & {way.fold(word) for word in there})


def _refuse_ambiguous(way: _Way, words: set[str], where: str, column: str) -> None:
    """Two different words that a loose comparison makes one."""
    if way is not AS_THEY_ARE and len({way.fold(word) for word in words}) < len(words):
        raise CaseError(
            "annotation.ambiguous_key",
            where=where,
            problem="keys that differ only in letter case, suffix or leading zeros belong to different rows or cases",
            details={"column": column},
            action="Give the annotation a `key` that is written as its `key_column` is.",
        )


def _known_column(rows: Rows, column: str, where: str) -> str:
    if not len(rows.rows) or column in rows.columns or has_column(rows.rows, column):
        return column
    raise CaseError(
        "annotation.no_key_column",
        where=where,
        problem="the table has no such column",
        details={"expected": column, **nearest(column, rows.columns)},
        action="Correct `key_column` of the entry's annotation.",
    )


def _best_column(rows: Rows, keys: set[str], where: str) -> str:
    """The column that has most of the keys. Raises CaseError as `index_rows` does."""
    columns = rows.columns or columns_of(rows.rows)
    wanted = keys - {""}
    words: dict[str, set[str]] = {}
    for column in columns:
        cells = {cell for cell in column_of(rows.rows, column) if not isinstance(cell, list | dict)}
        words[column] = {word_of(cell) for cell in cells} - {""}
    counts = {column: _count(_strict(there, wanted), there, wanted) for column, there in words.items()}
    for way in (IN_ANY_CASE, WITHOUT_SUFFIX):
        if not any(counts.values()):
            counts = {column: _count(way, there, wanted) for column, there in words.items()}
    most = max(counts.values(), default=0)
    best = [column for column, count in counts.items() if count == most]
    if not most or len(best) > 1:
        raise CaseError(
            "annotation.no_key_column" if not most else "annotation.ambiguous_key",
            where=where,
            problem="no column of the table has the keys of the cases"
            if not most
            else "several columns of the table have as many of the keys",
            details={"keys": len(keys), "columns": len(columns)},
            action="Name the column in `key_column` of the entry's annotation.",
        )
    return best[0]
