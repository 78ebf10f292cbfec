"""Annotations that are rows: classes, scores, boxes, landmarks, outlines, transforms, reports, questions, events.

One table per annotation of a case, with the columns of its kind (`COLUMNS`). Places are indices (z, y, x) of the image
that the annotation is on, continuous, with the centre of the first voxel at (0, 0, 0); a box runs from edge to edge, so
that a box over the voxels 3, 4 and 5 is 2.5..5.5. `canonical_volume` moves them along with their image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

AnnotationKind = Literal[
    "classes", "scores", "boxes", "landmarks", "outlines", "transforms", "report", "question-answers", "events"
]

_NAMED = [("concept", pa.string()), ("word", pa.string())]
_JUDGED = [("frame", pa.int32()), ("rater", pa.string()), ("score", pa.float64())]
_PLACE = [(name, pa.float64()) for name in ("z", "y", "x")]

COLUMNS: dict[AnnotationKind, pa.Schema] = {
    # state: "present", "absent" or "uncertain". One row for each concept that was judged; what has no row was not.
    "classes": pa.schema([*_NAMED, ("state", pa.string())]),
    # name: what was measured or graded; value: NaN never, a missing one has no row.
    "scores": pa.schema([("name", pa.string()), ("value", pa.float64()), ("unit", pa.string())]),
    # frame: of a video or a time axis. score: of a machine's or a rater's confidence.
    "boxes": pa.schema(
        [*_NAMED, *((f"{axis}_{end}", pa.float64()) for end in ("min", "max") for axis in "zyx"), *_JUDGED]
    ),
    "landmarks": pa.schema([*_NAMED, *_PLACE, *_JUDGED]),
    # One row for each corner. outline: number of the polygon; hole: whether it is cut out of the others.
    "outlines": pa.schema([*_NAMED, ("outline", pa.int32()), ("hole", pa.bool_()), *_PLACE, *_JUDGED]),
    # matrix: 16 numbers, row by row, of the (4, 4) that maps a point (x, y, z, 1) of `origin` into `target`.
    "transforms": pa.schema(
        [
            ("frame", pa.int32()),
            ("time_s", pa.float64()),
            ("origin", pa.string()),
            ("target", pa.string()),
            ("unit", pa.string()),
            ("matrix", pa.list_(pa.float64(), 16)),
        ]
    ),
    # section: "" for the whole text.
    "report": pa.schema([("section", pa.string()), ("text", pa.string())]),
    "question-answers": pa.schema(
        [
            ("question", pa.string()),
            ("answer", pa.string()),
            ("options", pa.list_(pa.string())),
            ("topic", pa.string()),
            ("language", pa.string()),
        ]
    ),
    # channel: null for a mark on all of them.
    "events": pa.schema([*_NAMED, ("onset_s", pa.float64()), ("duration_s", pa.float64()), ("channel", pa.string())]),
}
"""kind -> its columns. `concept` is null where the catalog says that the word stands for none (`unmapped`); `word` is
the source's own, and null where it is not one that the catalog lists, unless the catalog lists none at all."""

PLACED: tuple[AnnotationKind, ...] = ("boxes", "landmarks", "outlines")


@dataclass(frozen=True, kw_only=True)
class AnnotationTable:
    """One annotation of a case.

    table: columns as `COLUMNS[kind]`. image: name of the image, slide or video that places refer to, else None.
    examined: the concepts that somebody looked for in this case. rater: who, where the entry says so.
    warnings: one sentence each, for the record of the case.
    """

    kind: AnnotationKind
    table: pa.Table
    examined: tuple[str, ...] = ()
    image: str | None = None
    rater: str | None = None
    warnings: tuple[str, ...] = ()


def rows_table(kind: AnnotationKind, rows: list[dict[str, Any]]) -> pa.Table:
    """Rows (column -> value; what is left out is null) as the table of a kind. Raises ValueError on a wrong column."""
    schema = COLUMNS[kind]
    if unknown := sorted({name for row in rows for name in row} - set(schema.names)):
        raise ValueError(f"{kind} has no columns {unknown}")
    return pa.Table.from_pylist(rows, schema=schema)
