"""What an item has beside voxels: rows, texts, signals and meshes of the same case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medshard.converters.volume import Affine, Array
from medshard.errors import CatalogError
from medshard.loaders.needs import HasAnnotation, HasArray, Need
from medshard.loaders.row_places import placed_rows
from medshard.loaders.sample_row import SampleRow
from medshard.loaders.stream import Draw, pick

Item = dict[str, Any]
LANE = 1  # of the draw's further numbers: those of the views are in lane 0


@dataclass(frozen=True, kw_only=True)
class Piece:
    """An array of a case, or the part [start, stop) of it along its last axis."""

    name: str
    start: int = 0
    stop: int | None = None


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What a companion makes its part of the item of.

    arrays: those that it asked for, by name. affine: (4, 4) of the item's grid, or None for an item without voxels.
    number_of: concept -> its number among the classes of the data set, 0 for all others.
    """

    row: SampleRow
    drawn: Draw
    arrays: Mapping[str, Array]
    affine: Affine | None
    number_of: Callable[[str | None], int]


class Companion(Protocol):
    """Something that a case has. optional: cases without it stay in the data set, and their items lack the keys."""

    @property
    def optional(self) -> bool: ...

    @property
    def need(self) -> Need:
        """What a case has that has it."""

    def pieces(self, row: SampleRow, drawn: Draw, /) -> list[Piece]:
        """What has to be read."""

    def item(self, beside: Beside, /) -> Item:
        """The keys that it adds to the item."""


@dataclass(frozen=True)
class Rows:
    """The rows of `annotations/<name>`, `tables/<name>`, `texts/<name>` or `places`, as column -> values.

    Columns of numbers without gaps are arrays, others lists. Boxes, landmarks and outlines of an item with voxels are
    brought onto its grid: `box` float32 (n, 6), low and high edges, or `point` float32 (n, 3), in the order of the
    item's axes, instead of their columns; a voxel's centre has its index, so its edges lie half a voxel before and
    behind. `class` int64 (n,) is the number of the concept among the data set's classes, or 0.
    """

    name: str
    optional: bool = False

    @property
    def need(self) -> Need:
        return HasArray(self.name)

    def pieces(self, row: SampleRow, _drawn: Draw, /) -> list[Piece]:
        more = ["places"] if "places" in row.contents and self.name.startswith("annotations/") else []
        return [Piece(name=name) for name in (self.name, *more)]

    def item(self, beside: Beside, /) -> Item:
        rows = rows_of(beside.arrays[self.name])
        found: Item = {}
        if beside.affine is not None and {"z", "z_min"} & {*rows.column_names} and "frame" in rows.column_names:
            frames = rows_of(beside.arrays["places"]) if "places" in beside.arrays else None
            kept, places = placed_rows(beside.row, self.name.partition("/")[2], rows, frames, beside.affine)
            found["box" if places.shape[1] == 6 else "point"] = places.astype(np.float32)
            axes = {f"{axis}{end}" for axis in "zyx" for end in ("", "_min", "_max")}
            rows = rows.take(kept).select([name for name in rows.column_names if name not in axes])
        found |= {name: _values(rows[name]) for name in rows.column_names}
        if "concept" in rows.column_names:
            found["class"] = np.array([beside.number_of(each) for each in rows["concept"].to_pylist()], np.int64)
        return {self.name: found}


@dataclass(frozen=True)
class Text:
    """A text of the case: key `text`, and what else its kind has.

    source: `report`, `question-answers` or `classes`, the kind of an annotation; or `texts/<name>`. Of several reports,
    or questions, the draw takes one. sections: of a report, in this order; by default all.

    Questions add `question`, `answer` and `options`; classes add the lists `present`, `absent` and `uncertain`, and
    their text names what is present. Tokens are made by whoever knows the vocabulary.
    """

    source: str = "report"
    sections: tuple[str, ...] = ()
    optional: bool = False

    def __post_init__(self) -> None:
        if self.source not in _TEXTS and not self.source.startswith("texts/"):
            raise CatalogError(
                "dataset.text",
                where="Text",
                problem=f"{self.source!r} is no source of text",
                details={"expected": f"{', '.join(_TEXTS)} or texts/<name>"},
            )

    @property
    def need(self) -> Need:
        return HasAnnotation(self.source) if self.source in _TEXTS else HasArray(self.source)

    def pieces(self, row: SampleRow, drawn: Draw, /) -> list[Piece]:
        need = self.need
        names = need.names_in(row.contents) if isinstance(need, HasAnnotation) else [self.source]
        return [Piece(name=names[pick(float(drawn.fractions(1, lane=LANE)[0]), len(names))])]

    def item(self, beside: Beside, /) -> Item:
        (stored,) = (beside.arrays[piece.name] for piece in self.pieces(beside.row, beside.drawn))
        rows = rows_of(stored)
        if self.source in _TEXTS:
            return _TEXTS[self.source](rows, self.sections, float(beside.drawn.fractions(2, lane=LANE)[1]))
        return {"text": "\n".join(rows["text"].to_pylist())}


@dataclass(frozen=True)
class Signal:
    """`signals/<name>` in its own units: key `signals/<name>`, float32 (c, t) or (trial, c, t).

    samples: how many of them, from a place that the draw chooses; None for all. A signal that is too short is followed
    by zeros. Adds `signals/<name>/start`, the first sample, and `signals/<name>/rate_hz` (NaN where nobody states it).
    """

    name: str
    samples: int | None = None
    optional: bool = False

    @property
    def _array(self) -> str:
        return f"signals/{self.name}"

    @property
    def need(self) -> Need:
        return HasArray(self._array)

    def pieces(self, row: SampleRow, drawn: Draw, /) -> list[Piece]:
        start, stop = self._part(row, drawn)
        return [Piece(name=self._array, start=start, stop=stop)]

    def item(self, beside: Beside, /) -> Item:
        facts = beside.row.contents["signals"][self.name]
        slope = np.asarray(facts["slope"], np.float64)[:, None]
        intercept = np.asarray(facts["intercept"], np.float64)[:, None]
        values = (beside.arrays[self._array].astype(np.float64) * slope + intercept).astype(np.float32)
        if self.samples is not None and values.shape[-1] < self.samples:
            missing = self.samples - values.shape[-1]
            values = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])
        rate = facts["rate_hz"]
        return {
            self._array: values,
            f"{self._array}/start": self._part(beside.row, beside.drawn)[0],
            f"{self._array}/rate_hz": float("nan") if rate is None else float(rate),
        }

    def _part(self, row: SampleRow, drawn: Draw) -> tuple[int, int]:
        length = row.arrays[self._array].shape[-1]
        if self.samples is None or length <= self.samples:
            return 0, length
        start = pick(float(drawn.fractions(3, lane=LANE)[2]), length - self.samples + 1)
        return start, start + self.samples


@dataclass(frozen=True)
class Surface:
    """`meshes/<name>`: `vertices` float32 (n, 3) x, y, z in RAS+ mm, `faces` int64 (m, 3), and `labels`, as numbered by
    the source; `points` float32 (n, 3) are the vertices as indices of the item, where it has voxels."""

    name: str
    optional: bool = False

    @property
    def _array(self) -> str:
        return f"meshes/{self.name}"

    @property
    def need(self) -> Need:
        return HasArray(f"{self._array}/vertices")

    def pieces(self, row: SampleRow, _drawn: Draw, /) -> list[Piece]:
        return [Piece(name=name) for name in row.arrays if name.startswith(f"{self._array}/")]

    def item(self, beside: Beside, /) -> Item:
        vertices = beside.arrays[f"{self._array}/vertices"]
        start = f"{self._array}/labels/"
        found: Item = {
            "vertices": vertices.astype(np.float32),
            "faces": beside.arrays[f"{self._array}/faces"].astype(np.int64),
            "labels": {
                name.removeprefix(start): numbers for name, numbers in beside.arrays.items() if name.startswith(start)
            },
        }
        if beside.affine is not None:
            inverse = np.linalg.inv(beside.affine)
            x, y, z = vertices.T
            found["points"] = np.column_stack(
                [row[0] * x + row[1] * y + row[2] * z + row[3] for row in inverse[:3]]
            ).astype(np.float32)
        return {self._array: found}


def companion_of(asked: str | Companion) -> Companion:
    """A companion by the name of its array. Raises CatalogError[dataset.with]."""
    if not isinstance(asked, str):
        return asked
    kind, _, name = asked.partition("/")
    if name and kind == "signals":
        return Signal(name)
    if name and kind == "meshes":
        return Surface(name)
    if (name and kind in ("annotations", "tables", "texts")) or asked == "places":
        return Rows(asked)
    raise CatalogError(
        "dataset.with",
        where="with_",
        problem=f"{asked!r} is nothing that a case has beside its voxels",
        details={"expected": "annotations/, tables/, texts/, signals/ or meshes/ and a name, or places"},
    )


def rows_of(stored: Array) -> pa.Table:
    """The rows that an array of bytes holds."""
    with pa.ipc.open_stream(pa.py_buffer(stored)) as reader:
        return reader.read_all()


def _values(column: pa.ChunkedArray) -> NDArray[Any] | list[Any]:
    numbers = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if numbers and column.null_count == 0:
        values: NDArray[Any] = column.to_numpy()
        return np.array(values)
    return list(column.to_pylist())


def _report(rows: pa.Table, sections: Sequence[str], _fraction: float) -> Item:
    texts = dict(zip(rows["section"].to_pylist(), rows["text"].to_pylist(), strict=True))
    wanted = [name for name in sections if name in texts] if sections else list(texts)
    return {"text": "\n".join(texts[name] for name in wanted)}


def _question(rows: pa.Table, _sections: Sequence[str], fraction: float) -> Item:
    if rows.num_rows == 0:
        return {"text": "", "question": "", "answer": "", "options": []}
    row = rows.slice(pick(fraction, rows.num_rows), 1).to_pylist()[0]
    question, answer = row["question"] or "", row["answer"] or ""
    return {
        "text": f"{question}\n{answer}",
        "question": question,
        "answer": answer,
        "options": list(row["options"] or ()),
    }


def _classes(rows: pa.Table, _sections: Sequence[str], _fraction: float) -> Item:
    states: dict[str, list[str]] = {"present": [], "absent": [], "uncertain": []}
    for concept, word, state in zip(
        rows["concept"].to_pylist(), rows["word"].to_pylist(), rows["state"].to_pylist(), strict=True
    ):
        states[state].append(concept or word or "")
    return {"text": ", ".join(states["present"]), **states}


_TEXTS: dict[str, Callable[[pa.Table, Sequence[str], float], Item]] = {
    "report": _report,
    "question-answers": _question,
    "classes": _classes,
}
