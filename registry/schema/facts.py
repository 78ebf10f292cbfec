"""What is known of a data set besides its files: what papers say, what the source has, splits, overlaps, defects."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from medshard.registry.schema.model import EntryId, Model, Text
from medshard.registry.vocabulary import Group, OverlapKind, PaperField, SplitName

GROUP_OF_TABLE = {
    11: Group.WHOLE_BODY,
    12: Group.BRAIN,
    13: Group.EYES,
    14: Group.THORAX,
    15: Group.ABDOMEN,
    16: Group.LESION,
    17: Group.HEAD_AND_NECK,
    18: Group.VESSEL,
    19: Group.SKELETON,
}
"""The platform has one table for each of its groups."""


class PaperRow(Model):
    """A row of the paper, word for word: tables 11-19 are the platform's, 2-4 the survey's.

    size, targets, format and the rest stay text, as printed.
    """

    table: Literal[2, 3, 4, 11, 12, 13, 14, 15, 16, 17, 18, 19]
    name: Text
    region: str | None = None
    dimension: str | None = None
    modality: str | None = None
    task: str | None = None
    targets: str | None = None
    size: str | None = None
    format: str | None = None

    @model_validator(mode="after")
    def _platform_rows_are_whole(self) -> Self:
        if self.group is not None:
            columns = ("dimension", "modality", "task", "targets", "size", "format")
            if missing := [column for column in columns if getattr(self, column) is None]:
                raise ValueError(f"a row of table {self.table} has {missing} as well")
            self.images  # noqa: B018  (raises when the size is no number)
        return self

    @property
    def group(self) -> Group | None:
        """The platform's group that the table stands for; None for a table of the survey."""
        return GROUP_OF_TABLE.get(self.table)

    @property
    def images(self) -> int:
        """The row's size as a number: `1,204` or `76*2`. Raises ValueError when it is none."""
        product = 1
        for factor in (self.size or "").replace(",", "").split("*"):
            if not factor.isdigit():
                raise ValueError(f"the size {self.size!r} is no number")
            product *= int(factor)
        return product


class Difference(Model):
    """One point where the paper's row and the source disagree, and how it is known."""

    field: PaperField
    note: Text


class SourceFacts(Model):
    """What the source has, as opposed to what a paper says it has. Not given: nobody knows.

    cases: scans, images or records, in `unit`. labelled: how many of them carry annotations that can be had. released:
    cases that can be downloaded at all. classes: labelled classes without background, over all layers.
    """

    cases: NonNegativeInt | None = None
    labelled: NonNegativeInt | None = None
    released: NonNegativeInt | None = None
    patients: NonNegativeInt | None = None
    classes: NonNegativeInt | None = None
    unit: str = "cases"
    formats: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _labelled_are_cases(self) -> Self:
        for name in ("labelled", "released"):
            part = getattr(self, name)
            if part is not None and self.cases is not None and part > self.cases:
                raise ValueError(f"{part} {name} of {self.cases} {self.unit}: more than there are")
        return self


class ShippedSplit(Model):
    """One part of the split as its makers shipped it. released: False for a hidden test set."""

    name: SplitName
    cases: NonNegativeInt | None = None
    labelled: bool | None = None
    released: bool = True
    note: str = ""


class Overlap(Model):
    """This entry and another one show the same people. Declared once, by either; the graph knows both directions.

    patients: our patient -> theirs, where the pairs are known; the splits use them.
    """

    entry: EntryId
    kind: OverlapKind
    evidence: Text
    patients: dict[str, str] = {}


class Defect(Model):
    """Something known to be wrong with cases (all of them when none is named), and what is done about it."""

    cases: tuple[str, ...] = ()
    problem: Text
    action: Literal["exclude", "repair-header", "accept"]

    def concerns(self, case: str) -> bool:
        return not self.cases or case in self.cases

    @model_validator(mode="after")
    def _excludes_by_name(self) -> Self:
        if not self.cases and self.action == "exclude":
            raise ValueError("name the `cases` that are to be excluded; an entry without good cases is no entry")
        return self


Triple = tuple[PositiveFloat, PositiveFloat, PositiveFloat]
ShapeTriple = tuple[PositiveInt, PositiveInt, PositiveInt]


class Expectations(Model):
    """What a build has to find, from the source's own words. Axis order is (z, y, x), spacing in millimetres.

    value_range: of the stored image in its unit (HU for CT). shape: typical array of one case, for planning.
    """

    spacing_mm_least: Triple | None = None
    spacing_mm_most: Triple | None = None
    shape: ShapeTriple | None = None
    value_range: tuple[float, float] | None = None
    bytes_unpacked: PositiveInt | None = None

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Self:
        if self.value_range is not None and self.value_range[0] >= self.value_range[1]:
            raise ValueError(f"the value range {list(self.value_range)} is empty")
        least, most = self.spacing_mm_least, self.spacing_mm_most
        if least is not None and most is not None and any(a > b for a, b in zip(least, most, strict=True)):
            raise ValueError(f"the least spacing {list(least)} is above the most {list(most)}")
        return self


Fraction = Annotated[float, Field(ge=0, le=1)]
