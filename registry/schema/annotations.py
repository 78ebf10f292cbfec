"""Annotations that are no voxels: classes, boxes, points, transforms, texts. One model per kind.

`path` is a template over the fields of the case group, like the path of a mask; a table that serves all cases has a
plain path, and `key` says under which word of `key_column` a case stands in it.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from medshard.registry.schema.model import Model, Template, Text


class Annotation(Model):
    """What all kinds share.

    values: the source's own word -> concept. also: word -> further concepts that it means at once. unmapped: word ->
    why it stands for no concept. examined: concepts that were looked for in every case; all of `values` when not given.
    """

    values: dict[str, str] = {}
    also: dict[str, tuple[str, ...]] = {}
    unmapped: dict[str, Text] = {}
    examined: tuple[str, ...] | None = None
    rater: str | None = None
    optional: bool = False
    note: str = ""

    @model_validator(mode="after")
    def _values_are_told_once(self) -> Self:
        if both := sorted(set(self.values) & set(self.unmapped)):
            raise ValueError(f"{both} stand in `values` and in `unmapped`")
        if unknown := sorted(set(self.also) - set(self.values)):
            raise ValueError(f"`also` speaks of {unknown}, which `values` does not have")
        return self

    @property
    def concepts(self) -> tuple[str, ...]:
        further = (concept for concepts in self.also.values() for concept in concepts)
        return tuple(dict.fromkeys((*self.values.values(), *further)))

    @property
    def examined_concepts(self) -> tuple[str, ...]:
        return self.concepts if self.examined is None else self.examined


class RowAnnotation(Annotation):
    """What stands in a table (csv, tsv, xlsx, json, txt, mat, npz or a text file): a row per case.

    key: what the case is called in `key_column`; in it `{case}` may be the name of the case.
    """

    path: Template
    key: Template = "{case}"
    key_column: str | None = None


class ClassFolder(Annotation):
    """The class is the name of a folder, or another part of the path: field `field` of the first image's path."""

    kind: Literal["class-folder"]
    field: Text
    values: Annotated[dict[str, str], Field(min_length=1)]


class ClassTable(RowAnnotation):
    """A class per row.

    column: the column that holds the class; without one, `values` maps the columns themselves, each holding 0 or 1
    (several classes at once).
    """

    kind: Literal["class-table"]
    column: str | None = None


class ScoreTable(RowAnnotation):
    """A number per case: a grade, a measurement, a risk."""

    kind: Literal["score-table"]
    column: str | None = None
    unit: str | None = None


class Boxes(Annotation):
    kind: Literal["boxes"]
    path: Template
    format: Literal["coco", "voc", "yolo", "csv", "json", "txt"]


class Landmarks(Annotation):
    kind: Literal["landmarks"]
    path: Template
    format: Literal["csv", "json", "fcsv", "xml", "txt", "mat"]


class Contours(Annotation):
    """Outlines: polygons in pixels or millimetres, DICOM RTSTRUCT among them."""

    kind: Literal["contours"]
    path: Template
    format: Literal["xml", "json", "geojson", "csv", "qvs", "rtstruct", "txt"]


class MeshLabels(Annotation):
    """A number per vertex or per face of the case's mesh."""

    kind: Literal["mesh-labels"]
    path: Template
    format: Literal["json", "csv", "txt"]
    per: Literal["vertex", "face"] = "vertex"


class Transforms(Annotation):
    """Camera poses, depth, or the transform between two images of the case."""

    kind: Literal["transforms"]
    path: Template
    format: Text


class ReportText(RowAnnotation):
    """Free text about the case: a report, its sections, or a caption."""

    kind: Literal["report"]
    column: str | None = None
    sections: tuple[str, ...] = ()


class QuestionAnswers(RowAnnotation):
    kind: Literal["question-answers"]
    question: str | None = None
    answer: str | None = None


class Events(Annotation):
    """Marks on the time axis of a signal or a video."""

    kind: Literal["events"]
    path: Template
    format: Text


FileAnnotation = (
    ClassTable
    | ScoreTable
    | Boxes
    | Landmarks
    | Contours
    | MeshLabels
    | Transforms
    | ReportText
    | QuestionAnswers
    | Events
)
"""Annotations that stand in files of their own."""

AnyAnnotation = Annotated[ClassFolder | FileAnnotation, Field(discriminator="kind")]
