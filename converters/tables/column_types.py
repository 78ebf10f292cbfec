"""What columns of text hold, and their conversion.

Without a declaration a column of text becomes numbers only where the text can be formed again from them: every value
of the file is an integer of at most 18 digits without a leading zero or plus, or every value is such an integer or a
decimal that does not end in a zero (but for `.0`, unless plain integers stand beside it) and is the shortest one of
its float64.
`007`, `+1`, `1e5`, `0x1F`, `1.10`, `1,5` and `NA` keep their column a text. A declared column is converted strictly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from medshard.converters.tables.table_format import ARROW_TYPES

INTEGER = r"^(?:0|-?[1-9][0-9]{0,17})$"
DECIMAL = r"^-?(?:0|[1-9][0-9]{0,14})\.(?:[0-9]{0,19}[1-9]|0)$"
ROUNDED = r"^-?[0-9]+\.[0-9]*0$"
SAFE_DIGITS = 15
# In a column that is declared to hold something else than text, these stand for a missing value.
NULL_WORDS = pa.array(["NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null", "None"])

_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
# How a value of a declared type may be written.
WRITTEN: Mapping[str, str] = {
    "integer": r"^[+-]?[0-9]{1,19}(?:\.0*)?$",
    "number": r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?$",
    "boolean": r"^(?:[01]|(?i:true|false|t|f|yes|no|y|n))$",
    "date": rf"^(?:{_DAY}(?:[ T]00:00(?::00(?:\.0+)?)?)?|[0-9]{{8}})$",
    "timestamp": rf"^{_DAY}(?:[ T][0-9]{{2}}:[0-9]{{2}}(?::[0-9]{{2}}(?:\.[0-9]{{1,6}})?)?)?$",
}
TRUE_WORDS = pa.array(["1", "true", "t", "yes", "y"])


class Misfit(Exception):  # noqa: N818  a message to the reader of the file, which knows the line
    """row: the first one of an array whose value does not fit."""

    def __init__(self, row: int) -> None:
        super().__init__(row)
        self.row = row


@dataclass(kw_only=True)
class Survey:
    """What all values of a column so far have in common."""

    seen: bool = False
    integers: bool = True
    numbers: bool = True
    plain: bool = False
    pointed: bool = False
    long: bool = False
    rounded: bool = False

    def add(self, values: pa.Array) -> None:
        values = values.drop_null()
        if not len(values):
            return
        self.seen = True
        if not self.numbers and not self.integers:
            return
        whole = pc.match_substring_regex(values, INTEGER)
        some = pc.any(whole).as_py()
        self.plain = self.plain or some
        if some and not self.long:
            digits = pc.utf8_length(pc.utf8_ltrim(values.filter(whole), "-"))
            self.long = pc.max(digits).as_py() > SAFE_DIGITS
        if pc.all(whole).as_py():
            return
        self.integers = False
        self._add_decimals(values.filter(pc.invert(whole)))

    def _add_decimals(self, values: pa.Array) -> None:
        fits = pc.and_(pc.match_substring_regex(values, DECIMAL), _is_shortest(values))
        self.pointed = self.pointed or pc.any(pc.and_(fits, pc.ends_with(values, ".0"))).as_py()
        if not pc.all(fits).as_py():
            self.numbers = False
            self.rounded = pc.all(pc.or_(fits, pc.match_substring_regex(values, ROUNDED))).as_py()

    def add_integers(self, digits: int) -> None:
        """Values that are known to be integers, of at most so many digits."""
        self.seen = self.plain = True
        self.long = self.long or digits > SAFE_DIGITS

    @property
    def kind(self) -> str:
        if not self.seen:
            return "string"
        if self.integers:
            return "integer"
        return "number" if self.numbers and not (self.plain and self.pointed) and not self.long else "string"

    @property
    def looks_rounded(self) -> bool:
        """Whether only zeros at the ends of decimals kept a column from being numbers."""
        return self.kind == "string" and (self.rounded or (self.numbers and self.plain and self.pointed))


def survey_together(surveys: Sequence[Survey], columns: Sequence[pa.Array]) -> None:
    """`Survey.add` for very many columns of one length: most are integers, which one search finds for all of them."""
    rows = len(columns[0])
    together = pa.concat_arrays(columns)
    whole = pc.fill_null(pc.match_substring_regex(together, INTEGER), False).to_numpy(zero_copy_only=False)
    digits = pc.fill_null(pc.utf8_length(pc.utf8_ltrim(together, "-")), 0).to_numpy(zero_copy_only=False)
    are_whole = whole.reshape(len(columns), rows).all(axis=1)
    longest = digits.reshape(len(columns), rows).max(axis=1, initial=0)
    for survey, values, is_whole, most in zip(surveys, columns, are_whole, longest, strict=True):
        if is_whole and rows:
            survey.add_integers(int(most))
        else:
            survey.add(values)


def _is_shortest(values: pa.Array) -> pa.Array:
    """Whether decimals are what their float64 is printed as. All of at most 15 digits are."""
    short = pc.less_equal(pc.utf8_length(pc.utf8_ltrim(values, "-")), SAFE_DIGITS + 1)
    if pc.all(short).as_py():
        return short
    decimals = pc.if_else(pc.match_substring_regex(values, DECIMAL), values, "0")
    return pc.or_(short, pc.equal(pc.cast(pc.cast(decimals, pa.float64()), pa.string()), values))


def converted(values: pa.Array, kind: str) -> pa.Array:
    """An array of text as a declared type. Raises Misfit at the first value that is not written as `WRITTEN` has it."""
    if kind == "string":
        return values
    values = pc.if_else(pc.fill_null(pc.is_in(values, NULL_WORDS), False), pa.scalar(None, pa.string()), values)
    if kind == "category":
        return pc.cast(values.dictionary_encode(), ARROW_TYPES[kind])
    written = pc.fill_null(pc.match_substring_regex(values, WRITTEN[kind]), True)
    if not pc.all(written, min_count=0).as_py():
        raise Misfit(written.index(False).as_py())
    try:
        return _CONVERTERS[kind](values)
    except pa.ArrowInvalid:
        raise Misfit(_first_bad(values, _CONVERTERS[kind])) from None


def null_words(values: pa.Array) -> int:
    """How many values are words for a missing one."""
    return int(pc.sum(pc.is_in(values, NULL_WORDS)).as_py() or 0)


def _integers(values: pa.Array) -> pa.Array:
    return pc.cast(pc.replace_substring_regex(values, r"^\+|\.0*$", ""), pa.int64())


def _numbers(values: pa.Array) -> pa.Array:
    return pc.cast(pc.replace_substring_regex(values, r"^\+", ""), pa.float64())


def _booleans(values: pa.Array) -> pa.Array:
    there = pc.is_valid(values)
    return pc.if_else(there, pc.is_in(pc.utf8_lower(values), TRUE_WORDS), pa.scalar(None, pa.bool_()))


def _dates(values: pa.Array) -> pa.Array:
    days = pc.replace_substring_regex(values, r"^([0-9]{4})([0-9]{2})([0-9]{2})$", r"\1-\2-\3")
    return pc.cast(pc.utf8_slice_codeunits(days, 0, 10), pa.date32())


def _timestamps(values: pa.Array) -> pa.Array:
    return pc.cast(values, pa.timestamp("us"))


_CONVERTERS: Mapping[str, Callable[[pa.Array], pa.Array]] = {
    "integer": _integers,
    "number": _numbers,
    "boolean": _booleans,
    "date": _dates,
    "timestamp": _timestamps,
}


def _first_bad(values: pa.Array, convert: Callable[[pa.Array], pa.Array]) -> int:
    """The first row that a conversion fails on, found by halves."""
    start, length = 0, len(values)
    while length > 1:
        half = length // 2
        try:
            convert(values.slice(start, half))
        except pa.ArrowInvalid:
            length = half
        else:
            start, length = start + half, length - half
    return start
