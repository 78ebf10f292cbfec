"""A split as a frozen table: one line of JSON about how it was made, then a line for each case.

    {"format_version": 2, "fractions": ..., "folds": ..., "seed": ..., "stratify": ..., "notes": ..., "balance": ...}
    {"entry": ..., "case": ..., "patient": ..., "component": ..., "part": ..., "fold", "shipped", "synthetic"}
    {"entry": ..., "case": ..., "patient": ..., "component": ..., "left_out": code, "reason": ..., "was": part}

A row leaves out `fold`, `shipped` and `synthetic` where they are null or false. A table without the first line is of
format 1, which had the first five fields only; it reads as a table of which nothing more is known.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from medshard.errors import SplitError
from medshard.registry.store.digests import canonical_json, sha256_bytes

FORMAT_VERSION = 2
SUFFIX = ".split.jsonl"

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
# Why a case is in no part; docs/splits.md explains them.
LeftOutCode = Literal["joined", "tied", "synthetic", "leak"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitRow:
    """A case and its part. fold: the fold in which it is validated on; None where it never is.

    shipped: the part that its makers put it in (a `SplitName`), which may be another one. synthetic: made by a program.
    """

    entry: str
    case: str
    patient: str
    component: str
    part: Part
    fold: int | None = None
    shipped: str | None = None
    synthetic: bool = False

    @property
    def name(self) -> tuple[str, str]:
        return self.entry, self.case

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "entry": self.entry,
            "case": self.case,
            "patient": self.patient,
            "component": self.component,
            "part": self.part,
        }
        if self.fold is not None:
            document["fold"] = self.fold
        if self.shipped is not None:
            document["shipped"] = self.shipped
        if self.synthetic:
            document["synthetic"] = True
        return document


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOutCase:
    """A case in no part: in training it would leak. was: the part that it had in the previous split."""

    entry: str
    case: str
    patient: str
    component: str
    left_out: LeftOutCode
    reason: str
    was: Part | None = None

    @property
    def name(self) -> tuple[str, str]:
        return self.entry, self.case

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, kw_only=True)
class Making:
    """How a split was made.

    fractions: part -> share of the labelled components. notes: what a reader has to know, such as entries that are
    never held out. balance: `kind:value` -> part (or `fold 0` ...) -> number of the components that were dealt and
    have it. Which split this one goes on from is not part of it: making a split again changes nothing.
    """

    fractions: Mapping[str, float] = field(default_factory=dict)
    folds: int = 0
    seed: int = 0
    stratify: tuple[str, ...] = ()
    shipped: bool = False
    notes: tuple[str, ...] = ()
    balance: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "fractions": dict(self.fractions),
            "folds": self.folds,
            "seed": self.seed,
            "stratify": list(self.stratify),
            "shipped": self.shipped,
            "notes": list(self.notes),
            "balance": {label: dict(counts) for label, counts in self.balance.items()},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Making:
        fields = {name: value for name, value in document.items() if name != "format_version"}
        fields["stratify"], fields["notes"] = tuple(fields["stratify"]), tuple(fields["notes"])
        return cls(**fields)


@dataclass(frozen=True)
class Split:
    """A frozen table case -> part. Its digest names it."""

    rows: tuple[SplitRow, ...]
    left_out: tuple[LeftOutCase, ...] = ()
    making: Making = field(default_factory=Making)

    def to_bytes(self) -> bytes:
        """JSON lines, sorted by entry and case."""
        documents = [
            self.making.to_json(),
            *(row.to_json() for row in sorted(self.rows, key=_name_of)),
            *(case.to_json() for case in sorted(self.left_out, key=_name_of)),
        ]
        return b"".join(canonical_json(document) + b"\n" for document in documents)

    @classmethod
    def from_bytes(cls, data: bytes) -> Split:
        """Raises SplitError[split.unreadable] and [split.format_version]."""
        making, rows, left_out = Making(), [], []
        try:
            for number, line in enumerate(data.splitlines()):
                document = json.loads(line)
                if number == 0 and "format_version" in document:
                    _check_version(document)
                    making = Making.from_json(document)
                elif "left_out" in document:
                    left_out.append(LeftOutCase(**document))
                else:
                    rows.append(SplitRow(**document))
        except (ValueError, TypeError, KeyError) as error:
            if isinstance(error, SplitError):
                raise
            raise SplitError(
                "split.unreadable",
                where="split table",
                problem="this is not a split table",
                details={
                    "expected": "one JSON object per line with entry, case, patient, component, part",
                    "found": error,
                },
                action="Make it with `medshard split make`.",
            ) from error
        return cls(tuple(rows), tuple(left_out), making)

    @cached_property
    def digest(self) -> str:
        return sha256_bytes(self.to_bytes())

    def part_of(self, entry: str, case: str) -> Part | None:
        return self._parts.get((entry, case))

    def counts(self) -> dict[str, int]:
        return {part: sum(row.part == part for row in self.rows) for part in PARTS}

    def rows_of(self, part: str, fold: int | None = None) -> tuple[SplitRow, ...]:
        """The rows of a part, as they are in one fold of a cross-validation where one is given.

        Raises SplitError[split.part] for a part that is unknown or empty, and [split.fold] for a fold not there.
        """
        if fold is not None and not 0 <= fold < self.making.folds:
            raise SplitError(
                "split.fold",
                where=f"fold {fold}",
                problem="the split has no such fold",
                details={"folds": self.making.folds},
                action="Make a split with --folds, or name one of its folds, from 0.",
            )
        chosen = tuple(row for row in self.rows if part_in_fold(row, fold) == part)
        if not chosen:
            found = sorted({part_in_fold(row, fold) for row in self.rows})
            raise SplitError(
                "split.part",
                where="split",
                problem=f"the split has no part {part!r}",
                details={"parts": ", ".join(found)},
            )
        return chosen

    @cached_property
    def _parts(self) -> Mapping[tuple[str, str], Part]:
        return {row.name: row.part for row in self.rows}


def part_in_fold(row: SplitRow, fold: int | None) -> Part:
    """The part of a row; in a fold, the rows of that fold are val, and test stays test."""
    return "val" if fold is not None and row.fold == fold else row.part


def check_no_leak(split: Split) -> None:
    """Raise SplitError when a component has cases in more than one part or fold, or a synthetic case is held out."""
    places: dict[str, set[str]] = defaultdict(set)
    made: list[str] = []
    for row in split.rows:
        # Synthetic cases and unlabelled ones of a component go with it: one component, one fold.
        places[row.component].add(row.part if row.fold is None else f"{row.part} fold {row.fold}")
        if row.synthetic and (row.part != "train" or row.fold is not None):
            made.append(f"{row.entry}/{row.case} in {row.part}")
    torn = {component: sorted(found) for component, found in places.items() if len(found) > 1}
    if torn:
        raise SplitError(
            "split.leak",
            where="split",
            problem="a patient is on both sides of the split",
            details={component: " and ".join(found) for component, found in sorted(torn.items())[:10]},
            action="Make the split with medshard; do not edit its table.",
        )
    if made:
        raise SplitError(
            "split.synthetic",
            where="split",
            problem="cases that a program made are held out; scores on them say nothing of patients",
            details={"cases": ", ".join(sorted(made)[:10])},
            action="Make the split with medshard; do not edit its table.",
        )


def in_order(rows: Iterable[SplitRow]) -> tuple[SplitRow, ...]:
    return tuple(sorted(rows, key=_name_of))


def _name_of(row: SplitRow | LeftOutCase) -> tuple[str, str]:
    return row.entry, row.case


def _check_version(document: Mapping[str, Any]) -> None:
    if document["format_version"] != FORMAT_VERSION:
        raise SplitError(
            "split.format_version",
            where="split table",
            problem="written by another version of the format",
            details={"expected": f"{FORMAT_VERSION}, or 1 without a first line", "found": document["format_version"]},
            action="Install the medshard that wrote it, or make the split again.",
        )
