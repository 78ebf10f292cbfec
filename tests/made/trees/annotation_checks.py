"""The annotations of a case against what its tree says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from trees.phantom import NOISE

from medshard.converters.annotation_table import AnnotationTable
from medshard.converters.volume import Volume

Row = Mapping[str, Any]
MOST_OF_A_BOX = 0.6
"""Share of a box that its structure fills: the phantom's structures are boxes without their last few voxels."""


def check_annotations(volume: Volume, wanted: Mapping[str, Any], where: str, *, aligned: bool) -> None:
    """Exactly these annotations, each with what it has to say: see `said`.

    aligned: whether a box lies around a structure of the phantom on its image.
    """
    assert set(volume.annotations) == set(wanted), where
    for name, value in wanted.items():
        table = volume.annotations[name]
        found = len(table.table) if isinstance(value, int) else said(table, value)
        assert found == _plain(value), f"{where} {name}"
        if table.kind == "boxes" and aligned:
            for row in table.table.to_pylist():
                check_box(volume, table, row, f"{where} {name}")


def said(table: AnnotationTable, wanted: Any) -> Any:
    """What a table says, in the form in which a tree states it.

    classes: a concept, or a list of those that are present, or {concept: state} of all rows. scores: {name: value}.
    boxes, landmarks, outlines: a list of concepts, with one for each. report: the text, or {section: text}.
    question-answers: a list of (question, answer). events: a list of (concept or word, onset in s). Any kind: a number
    of rows.
    """
    rows = table.table.to_pylist()
    if isinstance(wanted, Mapping) and table.kind in _AS_MAPPING:
        return dict(_AS_MAPPING[table.kind](row) for row in rows)
    assert table.kind in _AS_LIST, f"of {table.kind} a tree states the number of rows"
    return sorted(_AS_LIST[table.kind](rows))


def _named(row: Row) -> str:
    return str(row["concept"] if row["concept"] is not None else row["word"])


_AS_MAPPING: Mapping[str, Callable[[Row], tuple[str, Any]]] = {
    "classes": lambda row: (_named(row), row["state"]),
    "scores": lambda row: (row["name"], row["value"]),
    "report": lambda row: (row["section"], row["text"]),
}
_AS_LIST: Mapping[str, Callable[[list[Row]], Iterable[Any]]] = {
    "classes": lambda rows: [_named(row) for row in rows if row["state"] == "present"],
    "boxes": lambda rows: [_named(row) for row in rows],
    "landmarks": lambda rows: [_named(row) for row in rows],
    "outlines": lambda rows: [name for _, name in {(row["outline"], _named(row)) for row in rows}],
    "report": lambda rows: ["\n".join(row["text"] for row in rows)],
    "question-answers": lambda rows: [(row["question"], row["answer"]) for row in rows],
    "events": lambda rows: [(_named(row), row["onset_s"]) for row in rows],
}


def check_box(volume: Volume, table: AnnotationTable, row: Row, where: str) -> None:
    """Most voxels of a box are of one structure: boxes that are turned, shifted or exchanged in x and y are not."""
    image = volume.images.get(table.image or "")
    if image is None:
        return
    low = [max(0, round(row[f"{axis}_min"] + 0.5)) for axis in "zyx"]
    high = [max(start + 1, round(row[f"{axis}_max"] + 0.5)) for axis, start in zip("zyx", low, strict=True)]
    voxels = np.asarray(image.array, float).reshape(-1, *image.shape)[0]
    inside = voxels[tuple(slice(start, end) for start, end in zip(low, high, strict=True))]
    assert inside.size, f"{where}: a box lies outside its image"
    middle = np.median(inside)
    share = float((abs(inside - middle) <= 2 * NOISE).mean())
    assert share >= MOST_OF_A_BOX, f"{where}: of a box only {share:.0%} are of one structure"


def _plain(value: Any) -> Any:
    """As `said` gives it."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Iterable) and not isinstance(value, Mapping):
        return sorted(value)
    return value
