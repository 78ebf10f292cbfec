"""Places in rows (boxes, landmarks, outlines) that follow their image when its axes are permuted and flipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from medshard.converters.annotation_table import PLACED, AnnotationTable
from medshard.converters.orientation import Orientation

AXES = "zyx"


def reorient_places(annotation: AnnotationTable, shape: Sequence[int], orientation: Orientation) -> AnnotationTable:
    """The rows after `reorient` of their image; `shape` is its (z, y, x) before it."""
    if orientation.is_identity or annotation.kind not in PLACED:
        return annotation
    old = annotation.table
    columns = {name: old[name] for name in old.schema.names}
    for new, (axis, flip) in enumerate(zip(orientation.axes, orientation.flipped, strict=True)):
        to, of, last = AXES[new], AXES[axis], shape[axis] - 1
        if annotation.kind == "boxes":
            low, high = (old[f"{of}_{end}"] for end in ("min", "max"))
            columns[f"{to}_min"] = _mirrored(high, last) if flip else low
            columns[f"{to}_max"] = _mirrored(low, last) if flip else high
        else:
            columns[to] = _mirrored(old[of], last) if flip else old[of]
    return replace(annotation, table=pa.table(columns, schema=old.schema))


def _mirrored(places: pa.ChunkedArray, last: int) -> pa.ChunkedArray:
    """Indices counted from the other end: voxel 0 becomes voxel `last`, and the edge -0.5 the edge last + 0.5."""
    return pc.subtract(pa.scalar(float(last)), places)
