"""Many small cases of one form in one folder: one array for each image and label layer, the first axis the cases.

    zarr.json                     attributes "medshard": format_version, entry, `stack` (how many cases), names in order
    cases.jsonl                   one line a case: case, patient, and what differs from case to case
    images/<name>/                "medshard": what is the same in all cases, as in canonical Zarr
    images/<name>/0               the array (case, c, z, y, x), one inner chunk a case, one Zarr shard, one file
    labels/<layer>/, labels/<layer>/0   likewise
    annotations/<name>.parquet    the rows of all cases, with the column `case_row`

`read_stacked` gives each case as if it had been written alone. Equal cases in equal order have equal bytes. It is no
OME-Zarr: OME knows no axis of cases.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from medshard.converters.annotation_table import AnnotationTable
from medshard.converters.canonical_nodes import (
    CONTENTS,
    FORMAT_VERSION,
    IMAGE_SHUFFLE,
    check_names,
    image_document,
    image_of,
    layer_document,
    layer_of,
    layer_shuffle,
    medshard_of,
    open_case,
)
from medshard.converters.volume import Array, Volume
from medshard.converters.zarr_nodes import ArrayForm, write_array, write_group
from medshard.errors import CaseError, StoreError

Kind = Literal["images", "labels", "annotations"]

VOXELS: tuple[Kind, ...] = ("images", "labels")
STACKED: tuple[Kind, ...] = (*VOXELS, "annotations")
CASES = "cases.jsonl"
ROW = "case_row"
# From how many cases on a stack is read as a whole: a look-up of one takes as long as decoding many.
READ_WHOLE_FROM = 8


@dataclass(frozen=True, kw_only=True)
class Member:
    """A case that can be stacked. form: what the cases of one stack have in common.

    documents: kind -> name -> field -> its value as JSON text.
    """

    volume: Volume
    form: str
    documents: Mapping[Kind, Mapping[str, Mapping[str, str]]]


def stack_member(volume: Volume) -> Member | None:
    """The case as one of a stack; None for one that holds more than images, label layers and annotations.

    Raises CaseError[canonical.bad_name | canonical.not_finite], as `write_volume` does.
    """
    check_names(volume)
    if any(getattr(volume, kind) for kind in CONTENTS if kind not in STACKED):
        return None
    documents: dict[Kind, dict[str, dict[str, str]]] = {
        "images": {name: _texts(volume, image_document(image)) for name, image in volume.images.items()},
        "labels": {name: _texts(volume, layer_document(layer)) for name, layer in volume.labels.items()},
        "annotations": {name: _texts(volume, _rows_document(rows)) for name, rows in volume.annotations.items()},
    }
    form = {
        "images": [(name, str(image.array.dtype), image.array.shape) for name, image in volume.images.items()],
        "labels": [
            (name, str(layer.array.dtype), layer.array.shape, layer.kind) for name, layer in volume.labels.items()
        ],
        "annotations": [(name, rows.kind) for name, rows in volume.annotations.items()],
    }
    return Member(volume=volume, form=json.dumps(form), documents=documents)


def write_stack(members: Sequence[Member], folder: Path, *, threads: int | None = None) -> None:
    """Write cases of one form into a new folder; the number of a case in it is its row.

    threads: how many compress; None for every available core. The bytes do not depend on it.
    """
    first = members[0].volume
    if len({(member.form, member.volume.entry) for member in members}) > 1:
        raise ValueError("the cases of a stack have one form")
    names: dict[str, list[str]] = {kind: list(getattr(first, kind)) for kind in STACKED if getattr(first, kind)}
    stack = {"format_version": FORMAT_VERSION, "entry": first.entry, "stack": len(members), **names}
    write_group(folder, {"medshard": stack})
    shared: dict[Kind, dict[str, dict[str, str]]] = {
        kind: {name: _shared(members, kind, name) for name in getattr(first, kind)} for kind in STACKED
    }
    for kind in VOXELS:
        if shared[kind]:
            write_group(folder / kind)
        for name, facts in shared[kind].items():
            write_group(folder / kind / name, {"medshard": _parsed(facts)})
            arrays = [getattr(member.volume, kind)[name].array for member in members]
            shuffle = IMAGE_SHUFFLE if kind == "images" else layer_shuffle(first.labels[name])
            axes = ("case", "t", "c", "z", "y", "x") if arrays[0].ndim == 5 else ("case", "c", "z", "y", "x")
            form = ArrayForm(axes=axes, inner_chunk=(1, *arrays[0].shape), shuffle=shuffle)
            write_array(folder / kind / name / "0", np.stack(arrays), form, threads=threads)
    for name, facts in shared["annotations"].items():
        tables = [member.volume.annotations[name].table for member in members]
        _write_rows(folder / "annotations" / f"{name}.parquet", tables, _parsed(facts))
    lines = [json.dumps(_own(member, shared), ensure_ascii=False, separators=(",", ":")) for member in members]
    (folder / CASES).write_bytes("".join(f"{line}\n" for line in lines).encode(errors="surrogatepass"))


def read_stacked(folder: Path, rows: Sequence[int]) -> Iterator[Volume]:
    """The cases in these rows of a stack, one after the other.

    Raises StoreError[store.format_version] for another format, [stack.row] for a row that the stack does not have.
    """
    root = open_case(folder)
    stack = medshard_of(root)
    lines = (folder / CASES).read_bytes().splitlines() if "stack" in stack else []
    if missing := [row for row in rows if not 0 <= row < len(lines)]:
        raise _bad_row(folder, len(lines), missing[0])
    whole = len(rows) >= READ_WHOLE_FROM
    arrays: dict[tuple[str, str], Any] = {}
    shared: dict[tuple[str, str], dict[str, Any]] = {}
    for kind in VOXELS:
        for name in stack.get(kind, ()):
            group = root[f"{kind}/{name}"]
            shared[kind, name] = medshard_of(group)
            arrays[kind, name] = group["0"][...] if whole else group["0"]
    tables = {name: _read_rows(folder / "annotations" / f"{name}.parquet") for name in stack.get("annotations", ())}
    for row in rows:
        own = json.loads(lines[row])
        yield Volume(
            entry=stack["entry"],
            case=own["case"],
            patient=own["patient"],
            images={
                name: image_of(_one(arrays["images", name], row), shared["images", name] | own["images"][name])
                for name in stack.get("images", ())
            },
            labels={
                name: layer_of(_one(arrays["labels", name], row), shared["labels", name] | own["labels"][name])
                for name in stack.get("labels", ())
            },
            annotations={
                name: _annotation(table.of(row), table.facts | own["annotations"][name])
                for name, table in tables.items()
            },
        )


def refuse_stack(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Raise StoreError[stack.row] where a single case was expected."""
    if "stack" in attributes:
        raise _bad_row(folder, attributes["stack"], None)


def _one(array: Any, row: int) -> Array:
    """One case of an array in memory or on disk, as an array of its own."""
    found: Array = np.array(array[row])
    return found


def _bad_row(folder: Path, cases: int, row: int | None) -> StoreError:
    return StoreError(
        "stack.row",
        where=str(folder),
        problem="the folder is a stack of cases, and the row that is asked for is not in it",
        details={"cases": cases, "row": "none is given" if row is None else row},
        action="Take folder and row from one record: `output`, and `row` among its facts.",
    )


def _texts(volume: Volume, document: Mapping[str, Any]) -> dict[str, str]:
    try:
        return {field: json.dumps(value, allow_nan=False) for field, value in document.items()}
    except ValueError as error:
        raise CaseError(
            "canonical.not_finite",
            where=f"{volume.entry}/{volume.case}",
            problem="an affine, a rescale or an attribute is not a finite number",
            action="The case is excluded. Repair the header at the source.",
        ) from error


def _shared(members: Sequence[Member], kind: Kind, name: str) -> dict[str, str]:
    """The fields that are the same in all cases."""
    first, *others = (member.documents[kind][name] for member in members)
    return {field: text for field, text in first.items() if all(other[field] == text for other in others)}


def _own(member: Member, shared: Mapping[Kind, Mapping[str, Mapping[str, str]]]) -> dict[str, Any]:
    """The line of one case."""
    differing: dict[str, Any] = {
        kind: {
            name: _parsed({field: text for field, text in facts.items() if field not in shared[kind][name]})
            for name, facts in named.items()
        }
        for kind, named in member.documents.items()
    }
    return {"case": member.volume.case, "patient": member.volume.patient, **differing}


def _parsed(texts: Mapping[str, str]) -> dict[str, Any]:
    return {field: json.loads(text) for field, text in texts.items()}


def _rows_document(annotation: AnnotationTable) -> dict[str, Any]:
    return {
        "kind": annotation.kind,
        "examined": list(annotation.examined),
        "image": annotation.image,
        "rater": annotation.rater,
    }


def _annotation(table: pa.Table, facts: Mapping[str, Any]) -> AnnotationTable:
    return AnnotationTable(
        kind=facts["kind"],
        table=table,
        examined=tuple(facts["examined"]),
        image=facts["image"],
        rater=facts["rater"],
    )


def _write_rows(path: Path, tables: Sequence[pa.Table], facts: Mapping[str, Any]) -> None:
    counts = [table.num_rows for table in tables]
    numbers = pa.array(np.repeat(np.arange(len(tables), dtype=np.int32), counts))
    table = pa.concat_tables(tables).combine_chunks().add_column(0, ROW, numbers)
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = {b"medshard": json.dumps(facts, separators=(",", ":"))}
    pq.write_table(table.replace_schema_metadata(meta), path, compression="zstd")


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """The rows of all cases; numbers: sorted, the case of each."""

    table: pa.Table
    numbers: Array
    facts: dict[str, Any]

    def of(self, row: int) -> pa.Table:
        first, last = np.searchsorted(self.numbers, (row, row + 1))
        return self.table.slice(int(first), int(last - first))


def _read_rows(path: Path) -> _Rows:
    table = pq.read_table(path, use_threads=False)
    facts: dict[str, Any] = json.loads(table.schema.metadata[b"medshard"])
    return _Rows(
        table=table.drop_columns([ROW]).replace_schema_metadata(None), numbers=table[ROW].to_numpy(), facts=facts
    )
