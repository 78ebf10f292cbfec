"""The annotations of a case against what its tree says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from trees.phantom import NOISE

from medshard.converters.annotation_table import AnnotationTable
from medshard.converters.volume import MeshLabel, Volume

Row = Mapping[str, Any]
MOST_OF_A_BOX = 0.6
"""Share of a box that its structure fills: the phantom's structures are boxes without their last few voxels."""


def check_annotations(volume: Volume, wanted: Mapping[str, Any], where: str, *, aligned: bool) -> None:
    """Exactly these annotations, each with what it has to say: see `said`.

    The numbers on a surface are stated as {concept: vertices or faces}, or as {"instances": how many}.
    aligned: whether boxes lie around structures of the phantom on their image, points in the masks of their concept.
    """
    on_surfaces = {name: label for mesh in volume.meshes.values() for name, label in mesh.labels.items()}
    assert set(volume.annotations) | set(on_surfaces) == set(wanted), where
    for name, label in on_surfaces.items():
        assert surface_counts(label) == wanted[name], f"{where} {name}"
    for name, table in volume.annotations.items():
        value = wanted[name]
        found = len(table.table) if isinstance(value, int) else said(table, value)
        assert found == _plain(value), f"{where} {name}"
        if table.kind == "boxes" and aligned:
            for row in table.table.to_pylist():
                check_box(volume, table, row, f"{where} {name}")
        if table.kind == "landmarks" and aligned:
            for row in table.table.to_pylist():
                check_point(volume, table, row, f"{where} {name}")


def surface_counts(label: MeshLabel) -> dict[str, int]:
    """concept -> vertices or faces that have its number; of a count of instances, how many there are."""
    if label.kind == "instance":
        return {"instances": len(np.unique(label.array[label.array > 0]))}
    counts = dict.fromkeys(label.classes.values(), 0)
    for value, concept in label.classes.items():
        counts[concept] += int((label.array == value).sum())
    return {concept: count for concept, count in counts.items() if count}


def said(table: AnnotationTable, wanted: Any) -> Any:
    """What a table says, in the form in which a tree states it.

    classes: a concept, or a list of those that are present, or {concept: state} of all rows. scores: {name: value}.
    boxes, landmarks, outlines: a list of concepts, with one for each; of boxes also (concept, place) with the place as
    `Phantom.box` gives it, which is compared exactly. report: the text, or {section: text}.
    question-answers: a list of (question, answer). events: a list of (concept or word, onset in s). Any kind: a number
    of rows.
    """
    rows = table.table.to_pylist()
    if isinstance(wanted, Mapping) and table.kind in _AS_MAPPING:
        return dict(_AS_MAPPING[table.kind](row) for row in rows)
    if table.kind == "boxes" and (axes := _axes_of_places(wanted)):
        return sorted((_named(row), _place(row, axes)) for row in rows)
    assert table.kind in _AS_LIST, f"of {table.kind} a tree states the number of rows"
    return sorted(_AS_LIST[table.kind](rows))


def _named(row: Row) -> str:
    return str(row["concept"] if row["concept"] is not None else row["word"])


def _axes_of_places(wanted: Any) -> str:
    """The axes of the places that boxes are stated with; none where only concepts are."""
    places = [one[1] for one in wanted if isinstance(one, tuple)] if isinstance(wanted, Iterable) else []
    return "zyx"[-len(places[0]) :] if places else ""


def _place(row: Row, axes: str) -> tuple[tuple[float, float], ...]:
    """(first, last + 1) along each axis: borders lie between pixels, whose middles are the whole numbers."""
    return tuple((round(row[f"{axis}_min"] + 0.5, 3), round(row[f"{axis}_max"] + 0.5, 3)) for axis in axes)


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


def check_point(volume: Volume, table: AnnotationTable, row: Row, where: str) -> None:
    """A point that is about a structure lies in the masks of that structure, where the case has any of its image."""
    image = volume.images.get(table.image or "")
    for layer in volume.labels.values():
        values = [value for value, concept in layer.classes.items() if concept == row["concept"]]
        if image is None or layer.shape != image.shape or layer.kind == "soft" or not values:
            continue
        at = tuple(round(row[axis]) for axis in "zyx")
        there = int(layer.array[(0, *at)])
        is_inside = there > 0 if layer.kind == "instance" else there in values
        assert is_inside, f"{where}: the point {at} of {row['concept']} lies in {there}"


def _plain(value: Any) -> Any:
    """As `said` gives it."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Iterable) and not isinstance(value, Mapping):
        return sorted(value)
    return value
