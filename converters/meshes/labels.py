"""Numbers on the vertices or faces of a surface that stand in a file of their own.

`json`   lists `labels` and `instances`, as Teeth3DS has them, or one plain list; nothing else of the file is kept
`csv`    one column, with or without a line of names above it; `txt`: a number on each line
`npy`    one axis
`gifti`  every array with one number for each vertex: `.label.gii`, `.shape.gii`, `.func.gii`
`curv`   FreeSurfer's measures of vertices: `lh.curv`, `lh.thickness`, `lh.sulc`

There must be as many as the surface has vertices or faces, as its file states them: nothing is spread over welded
vertices or cut. Source of `curv`: FreeSurfer wiki, "Curvature file format".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medshard.converters.formats.faults import bad_file, errors_of_case, refuse_no_files
from medshard.converters.formats.format import Files, first_bytes
from medshard.converters.formats.mesh_gifti import LABELS, POINTS, TRIANGLES, gifti_arrays, label_names
from medshard.converters.formats.mesh_text import decimal
from medshard.converters.formats.numpy_files import npy_header
from medshard.converters.meshes.welding import welded_faces
from medshard.converters.volume import Array, Mesh, MeshLabel
from medshard.errors import CaseError

CURV_MAGIC = b"\xff\xff\xff"
CURV_HEADER = 15
INT32 = np.iinfo(np.int32)

# Name -> numbers, and name of a class -> number where the file has a table of its own.
Found = tuple[dict[str, Array], Mapping[str, int]]


def read_mesh_labels(
    files: Files,
    mesh: Mesh,
    *,
    where: str,
    format: str,  # noqa: A002 (the entry's own word)
    per: Literal["vertex", "face"],
    classes: Mapping[str, str],
) -> dict[str, MeshLabel]:
    """Name -> numbers of a surface: `labels` of kind `semantic`, `instances`, and floats of kind `scalar`.

    format: as above. per: what the numbers are of. classes: the source's number, or of GIFTI also the name in its
    table, -> concept.
    Raises CaseError[mesh.labels_count | read.unreadable | read.truncated | read.unsupported | read.no_files |
    read.several_images].
    """
    refuse_no_files(files, where)
    with errors_of_case(files, f"mesh-labels {format}" if format in READERS else "mesh-labels", where):
        if len(files) > 1:
            raise bad_file("read.several_images", files[0], "several files are given for the labels of one surface")
        if format not in READERS:
            details: dict[str, object] = {"read": ", ".join(READERS)}
            raise bad_file("read.unsupported", files[0], "labels of a surface in this format", details=details)
        arrays, named = READERS[format](files[0])
        expected = len(mesh.vertices) if per == "vertex" else len(mesh.faces)
        for name, array in arrays.items():
            if len(array) != expected:
                raise _other_count(files[0], mesh, name, per, len(array))
    numbers = {word: named[word] if word in named else _number(word) for word in classes}
    known = {number: classes[word] for word, number in numbers.items() if number is not None}
    return {name: _label(name, array, per, known) for name, array in arrays.items()}


def unknown_values(label: MeshLabel) -> tuple[int, ...]:
    """The numbers other than 0 that stand for no class of a semantic label."""
    if label.kind != "semantic":
        return ()
    return tuple(sorted({*np.unique(label.array).tolist()} - {0, *label.classes}))


def _label(name: str, array: Array, per: Literal["vertex", "face"], classes: Mapping[int, str]) -> MeshLabel:
    if array.dtype.kind == "f":
        return MeshLabel(array=array, per=per, kind="scalar")
    if name == "instances":
        return MeshLabel(array=array, per=per, kind="instance")
    return MeshLabel(array=array, per=per, classes=dict(classes), examined=tuple(dict.fromkeys(classes.values())))


def _number(word: str) -> int | None:
    try:
        return int(word)
    except ValueError:
        return None


def _other_count(path: Path, mesh: Mesh, name: str, per: str, found: int) -> CaseError:
    details: dict[str, object] = {
        "numbers": found,
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "expected": f"one for each {per}",
    }
    action = "The case is excluded. Look whether file and surface belong together, or correct `per` in the entry."
    if per == "vertex" and found == len(np.unique(welded_faces(mesh)[1])):
        details["welded vertices"] = found
        action = "The case is excluded. The numbers are of merged vertices, whose order the surface does not state."
    return bad_file(
        "mesh.labels_count", path, f"{name} are not as many as the surface has", details=details, action=action
    )


def _json(path: Path) -> Found:
    content: Any = json.loads(path.read_bytes())
    lists = content if isinstance(content, dict) else {"labels": content}
    found = {name: _integers(path, lists[name]) for name in ("labels", "instances") if name in lists}
    if "labels" not in found:
        raise bad_file("read.unreadable", path, "the file has no list of labels", details={"expected": "labels"})
    return found, {}


def _integers(path: Path, values: Any) -> Array:
    # True is an int to Python, and no label.
    if not isinstance(values, list) or any(type(value) is not int for value in values):
        raise bad_file("read.unreadable", path, "labels are not one list of integers")
    return _int32(path, np.array(values, np.int64))


def _csv(path: Path) -> Found:
    lines = [words for line in path.read_bytes().splitlines() if (words := line.strip())]
    if any(separator in line for line in lines for separator in (b",", b";", b"\t", b" ")):
        raise bad_file("read.unsupported", path, "labels of a surface have one number on each line")
    try:
        values = _decimals(lines)
    except ValueError:
        # The first line may name the column. The next try says which of the others is no number.
        values = _decimals(lines[1:])
    return {"labels": _whole(path, values)}, {}


def _txt(path: Path) -> Found:
    return {"labels": _whole(path, _decimals(path.read_bytes().split(b"\n")))}, {}


def _decimals(lines: list[bytes]) -> Array:
    return np.array([decimal(line) for line in lines if line.strip()], np.float64)


def _npy(path: Path) -> Found:
    header = npy_header(path)
    if len(header.shape) != 1 or header.dtype.kind not in "iuf":
        details: dict[str, object] = {"axes": len(header.shape)}
        raise bad_file("read.unsupported", path, "labels are not one axis of numbers", details=details)
    return {"labels": _whole(path, np.fromfile(path, header.dtype, header.shape[0], offset=header.offset))}, {}


def _whole(path: Path, values: Array) -> Array:
    """Integers, of floats that hold nothing else too; other floats are refused, since no class has such a number."""
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.rint(values)).all()):
        raise bad_file("read.unreadable", path, "labels are not all integers")
    return _int32(path, values)


def _int32(path: Path, values: Array) -> Array:
    if len(values) and (values.min() < INT32.min or values.max() > INT32.max):
        raise bad_file("read.unreadable", path, "a label is larger than 32 bits hold")
    return values.astype(np.int32)


def _gifti(path: Path) -> Found:
    arrays = [each for each in gifti_arrays(path) if each.intent not in (POINTS, TRIANGLES) and each.array.ndim == 1]
    if not arrays:
        raise bad_file("read.unreadable", path, "the file has no array of one number for each vertex")
    labels = sum(each.intent == LABELS for each in arrays)
    found: dict[str, Array] = {}
    for number, each in enumerate(arrays, start=1):
        if each.intent == LABELS:
            name = "labels" if labels == 1 else f"labels_{number}"
            found[name] = _whole(path, each.array)
        else:
            found["data" if len(arrays) == 1 else f"data_{number}"] = each.array.astype(np.float32)
    return found, {name: number for number, name in label_names(path).items()}


def _curv(path: Path) -> Found:
    start = first_bytes(path, CURV_HEADER)
    if not start.startswith(CURV_MAGIC) or len(start) < CURV_HEADER:
        raise bad_file("read.unsupported", path, "the file is not FreeSurfer's newer kind of measures")
    vertices, values = (int.from_bytes(start[at : at + 4], "big") for at in (3, 11))
    if values != 1 or path.stat().st_size < CURV_HEADER + 4 * vertices:
        raise bad_file(
            "read.truncated", path, "the file holds fewer numbers than it counts", details={"counts": vertices}
        )
    return {"data": np.fromfile(path, ">f4", vertices, offset=CURV_HEADER).astype(np.float32)}, {}


READERS: Mapping[str, Callable[[Path], Found]] = {
    "json": _json,
    "csv": _csv,
    "txt": _txt,
    "npy": _npy,
    "gifti": _gifti,
    "curv": _curv,
}
