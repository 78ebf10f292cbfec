"""Annotations that are no voxels: classes, boxes, points, transforms, texts. One model per kind.

`path` is a template over the fields of the case group, like the path of a mask; a table that serves all cases has a
plain path, and `key` says under which word of `key_column` a case stands in it. docs/row-annotations.md tells how rows
are read.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from medshard.registry.schema.model import Model, Template, Text

Role = Literal[
    "word",
    "rater",
    "frame",
    "score",
    "part",
    "x",
    "y",
    "z",
    "x_min",
    "y_min",
    "z_min",
    "x_max",
    "y_max",
    "z_max",
    "x_centre",
    "y_centre",
    "z_centre",
    "width",
    "height",
    "depth",
    "diameter",
    "radius",
    "corners",
    "box",
    "point",
    "points",
    "outline",
    "run_lengths",
    "orientation",
    "topic",
    "language",
    "options",
]
"""What a column is for. corners: a list x1, y1, x2, y2; box: a list x, y, width, height; point: a list x, y, z;
points: a list of points, or x and y in turn; outline: the number of the polygon that a corner belongs to; run_lengths:
a mask as runs; orientation: letters of the axes that the points count along; part: what a score is about."""

State = Literal["present", "absent", "uncertain", "not-judged"]


class Annotation(Model):
    """What all kinds share.

    values: the source's own word -> concept. also: word -> further concepts that it means at once. unmapped: word ->
    why it stands for no concept. examined: concepts that were looked for in every case; all of `values` when not given.
    unread: why a build leaves the annotation out, though its files are there.
    """

    values: dict[str, str] = {}
    also: dict[str, tuple[str, ...]] = {}
    unmapped: dict[str, Text] = {}
    examined: tuple[str, ...] | None = None
    rater: str | None = None
    optional: bool = False
    unread: Text | None = None
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
    """What stands in a table (csv, tsv, xlsx, json, txt, xml, mat, npz or a text file): one row or more per case.

    key: what the case is called in `key_column`; in it `{case}` may be the name of the case. A path with all fields of
    the key is a file of the case's own, of which every row counts.
    rows: where the rows lie in a nested file: dotted names (JSON, `*` for each; MATLAB, npz and HDF5 arrays, comma
    between them), the path of the elements (XML). sheet: of a spreadsheet, where it is not the first.
    header: whether the first row names the columns; without, they are called 0, 1, 2. comment: what lines to skip begin
    with. lines: pattern that the lines to read begin with. delimiter: where the file does not show it.
    each: columns that hold lists of one length; every step through them is a row of its own.
    columns: what a column is for -> its name, dotted where it lies deeper; the usual names need no word.
    """

    path: Template
    key: Template = "{case}"
    key_column: str | None = None
    rows: Text | None = None
    sheet: Text | None = None
    header: bool = True
    comment: Text | None = None
    lines: Text | None = None
    delimiter: Literal["comma", "semicolon", "tab", "bar", "blank"] | None = None
    each: tuple[str, ...] = ()
    columns: dict[Role, Text] = {}

    @field_validator("lines")
    @classmethod
    def _lines_is_a_pattern(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"`lines` is no regular expression: {error}") from error
        return pattern


class PlacedRows(RowAnnotation):
    """Rows that say where on an image something is.

    space: what places count: pixels (voxels) of the image as stored, fractions of its width and height, or millimetres
    in the patient. Pixels where nothing is said, but for formats that say it themselves.
    first: the number of the first pixel. at: whether that number means the pixel's outer corner or its centre: the
    corner for boxes, the centre for points, where nothing is said. y_up: y counts from the lower edge.
    """

    space: Literal["pixel", "fraction", "lps-mm", "ras-mm"] | None = None
    first: Literal[0, 1] | None = None
    at: Literal["corner", "centre"] | None = None
    y_up: bool = False


class ClassFolder(Annotation):
    """The class is the name of a folder, or another part of the path: field `field` of the first image's path."""

    kind: Literal["class-folder"]
    field: Text
    values: Annotated[dict[str, str], Field(min_length=1)]


class ClassTable(RowAnnotation):
    """A class per row, or one column per class.

    column: the column that holds the class; without one, `values` maps the columns themselves, each holding a state
    (several classes at once). separator: between several classes of one cell; `blank` for white space.
    states: cell -> what it says of its column's class, or of every class where `column` is given; the empty text is an
    empty cell. Without: 1, true and yes are present, 0, false and no are absent, an empty cell is not judged.
    one_hot: the cell is a list of 0 and 1 in the order of `values`. within: a word counts wherever it occurs in the
    cell, letter case ignored.
    """

    kind: Literal["class-table"]
    column: str | None = None
    separator: Text | None = None
    states: dict[str, State] = {}
    one_hot: bool = False
    within: bool = False


class ScoreTable(RowAnnotation):
    """A number per case: a grade, a measurement, a risk.

    scores: the columns, where there are several; those that `values` maps to concepts count as well.
    """

    kind: Literal["score-table"]
    column: str | None = None
    scores: tuple[str, ...] = ()
    unit: str | None = None


class Boxes(PlacedRows):
    """Rectangles, cuboids, and the boxes around circles and spheres. inclusive: the greater corner is a pixel inside.

    Of one class, a table needs no column for it.
    """

    kind: Literal["boxes"]
    format: Literal["coco", "voc", "yolo", "csv", "json", "txt"]
    inclusive: bool | None = None


class Landmarks(PlacedRows):
    kind: Literal["landmarks"]
    format: Literal["csv", "json", "fcsv", "xml", "txt", "mat"]


class Contours(PlacedRows):
    """Outlines: polygons in pixels or millimetres, run lengths, DICOM RTSTRUCT among them.

    runs: how run lengths count: `relative` to the end of the run before, or `absolute` starts; column by column.
    """

    kind: Literal["contours"]
    format: Literal["xml", "json", "geojson", "csv", "qvs", "rtstruct", "txt"]
    runs: Literal["relative", "absolute"] | None = None


class MeshLabels(Annotation):
    """A number per vertex or per face of the case's mesh."""

    kind: Literal["mesh-labels"]
    path: Template
    format: Literal["json", "csv", "txt"]
    per: Literal["vertex", "face"] = "vertex"


class Transforms(Annotation):
    """Camera poses, or the transform between two images of the case. Pictures of depth are images of the case.

    format: in words. layout: how the numbers lie, where the file does not show it: whole 4x4 matrices (their order of
    storage is `stored`), 3x4 as KITTI, `time x y z quaternion` as TUM, quaternions, a table with `columns` (frame,
    time_s, x, y, z, qx, qy, qz, qw -> name), an ITK transform. axes: which axis of the source becomes x, y and z.
    row: of a file that serves many cases, the frame that the case is.
    """

    kind: Literal["transforms"]
    path: Template
    format: Text
    layout: Literal["matrices", "kitti", "tum", "quaternions", "table", "itk"] | None = None
    stored: Literal["rows", "columns"] | None = None
    quaternion: Literal["xyzw", "wxyz"] = "xyzw"
    columns: dict[str, Text] = {}
    axes: tuple[Text, Text, Text] = ("x", "y", "z")
    handedness: Literal["right", "left"] = "right"
    direction: Literal["camera-to-world", "world-to-camera"] = "camera-to-world"
    unit: Text = "unknown"
    affine: bool = False
    first_frame: Annotated[int, Field(ge=0)] = 0
    row: Template | None = None


class ReportText(RowAnnotation):
    """Free text about the case: a report, its sections, or a caption.

    sections: columns, or headings within the text.
    """

    kind: Literal["report"]
    column: str | None = None
    sections: tuple[str, ...] = ()


class QuestionAnswers(RowAnnotation):
    """Questions and answers. options: a column for each choice; one that holds them all has that role in `columns`.

    first: where the answer is the number of a choice, the number of the first one. A letter counts from A.
    """

    kind: Literal["question-answers"]
    question: str | None = None
    answer: str | None = None
    options: tuple[str, ...] = ()
    first: Literal[0, 1] | None = None


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
