"""One case's surfaces: in the frame that the catalog says, with the numbers on them, and as masks where it asks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from medshard.converters.grid_verdict import Grid
from medshard.converters.meshes.frames import in_frame
from medshard.converters.meshes.labels import read_mesh_labels, unknown_values
from medshard.converters.meshes.validity import MM, mesh_report
from medshard.converters.meshes.voxelise import voxelise
from medshard.converters.reading import read_header, read_mesh
from medshard.converters.volume import LabelLayer, Mesh, MeshLabel
from medshard.errors import CaseError
from medshard.pipelines.stages.case_payload import CasePayload, require_files
from medshard.registry import inclusion
from medshard.registry.inclusion import Fault
from medshard.registry.schema.annotations import MeshLabels


def present_meshes(payload: CasePayload) -> tuple[str, ...]:
    """The meshes of the case that have a file; those that lack one have to be optional.

    Raises CaseError[mesh.missing].
    """
    for name, spec in payload.group.meshes.items():
        require_files(payload, "mesh", name, spec, payload.case.meshes[name])
    return tuple(name for name, files in payload.case.meshes.items() if files)


def read_case_mesh(payload: CasePayload, name: str, *, annotations: Collection[str] = ()) -> Mesh:
    """One surface, in mm where its unit is known and in RAS where the catalog says how it lies.

    annotations: those whose numbers per vertex or face it gets, if it is the first mesh of the case.
    Raises CaseError as `read_mesh`, `in_frame` and `read_mesh_labels` do.
    """
    spec, where = payload.group.meshes[name], f"{payload.where} mesh {name}"
    mesh = read_mesh(payload.locate(payload.case.meshes[name]), where=where)
    if name == present_meshes(payload)[0]:
        mesh = replace(mesh, labels={**mesh.labels, **_labels_of(payload, annotations, mesh)})
    unit = spec.unit or mesh.unit
    space = spec.space if "space" in spec.model_fields_set else mesh.space
    return in_frame(mesh, where=where, space=space, unit=unit) if unit in MM else replace(mesh, unit=unit)


def judge_mesh(payload: CasePayload, name: str) -> tuple[dict[str, Any], list[str]]:
    """Facts and warnings of one surface."""
    paths = payload.case.meshes[name]
    mesh = read_case_mesh(payload, name)
    report = mesh_report(mesh)
    facts: dict[str, Any] = {
        "files": len(paths),
        "bytes": sum(path.stat().st_size for path in payload.locate(paths)),
        "vertices": report.vertices,
        "faces": report.faces,
        "unit": report.unit,
        "watertight": report.watertight,
        "outward": report.outward,
        "components": report.components,
        "degenerate_faces": report.degenerate_faces,
        "duplicate_faces": report.duplicate_faces,
        "non_manifold_edges": report.non_manifold_edges,
    }
    header = read_header(payload.locate(paths), where=f"{payload.where} mesh {name}")
    return facts | {"format": header.format}, [f"mesh {name}: {doubt}" for doubt in (*header.warnings, *report.doubts)]


def judge_mesh_labels(payload: CasePayload) -> tuple[dict[str, Any], list[Fault]]:
    """Facts and faults of the annotations that are numbers on the first mesh."""
    facts: dict[str, Any] = {}
    faults: list[Fault] = []
    named = {
        name: item
        for name, item in payload.group.annotations.items()
        if isinstance(item, MeshLabels) and item.unread is None
    }
    if not named or not present_meshes(payload):
        return facts, faults
    first = present_meshes(payload)[0]
    mesh = read_mesh(payload.locate(payload.case.meshes[first]), where=payload.where)
    for name, annotation in named.items():
        try:
            labels = _read_labels(payload, name, annotation, mesh)
        except CaseError as error:
            facts[name] = {"present": True, "usable": False, "error": str(error)}
            faults.append(inclusion.bad_annotation(name, error.code, error.problem))
            continue
        unknown = sorted({value for label in labels.values() for value in unknown_values(label)})
        strict = payload.entry.inclusion.label_values_must_be_known
        if unknown and strict:
            faults.append(inclusion.unknown_words(name, [str(value) for value in unknown], annotation.values))
        counts = {label: _counts(found) for label, found in labels.items() if found.kind == "semantic"}
        facts[name] = {"present": bool(labels), "usable": bool(labels) and not (unknown and strict), "numbers": counts}
        faults += [] if labels or annotation.optional else [inclusion.missing_label(name, annotation.path)]
    return facts, faults


def _counts(label: MeshLabel) -> dict[str, int]:
    values, counts = np.unique(label.array, return_counts=True)
    return {str(value): int(count) for value, count in zip(values, counts, strict=True)}


def voxelised_layers(payload: CasePayload, images: Mapping[str, Grid]) -> dict[str, LabelLayer]:
    """A label layer for each mesh that the entry wants as a mask, on the grid of the first image.

    Raises CaseError[mesh.no_image | mesh.open | ...] as `voxelise` does.
    """
    layers = {}
    for name in present_meshes(payload):
        concept = payload.group.meshes[name].voxelise
        if concept is None:
            continue
        where = f"{payload.where} mesh {name}"
        mesh = read_case_mesh(payload, name)
        grid = next(iter(images.values()), None)
        if grid is None or not grid.trusted_geometry or mesh.space != "ras":
            raise CaseError(
                "mesh.no_image",
                where=where,
                problem="the mesh is wanted as a mask, and no image of the case shares its frame",
                action="State `space` of the mesh as `ras` or `lps`, or leave out `voxelise`.",
            )
        array = voxelise(mesh, grid.shape, grid.affine, where=where)
        layers[name] = LabelLayer(array=array, affine=grid.affine, classes={1: concept}, examined=(concept,))
    return layers


def _labels_of(payload: CasePayload, annotations: Collection[str], mesh: Mesh) -> dict[str, MeshLabel]:
    return {
        label: numbers
        for name, annotation in payload.group.annotations.items()
        if isinstance(annotation, MeshLabels) and name in annotations
        for label, numbers in _read_labels(payload, name, annotation, mesh).items()
    }


def _read_labels(payload: CasePayload, name: str, annotation: MeshLabels, mesh: Mesh) -> dict[str, MeshLabel]:
    """The numbers of one annotation: `<name>`, and `<name>-instances` and the like where the file has several."""
    files = payload.case.others.get(f"annotation {name}", ())
    if not files:
        return {}
    found = read_mesh_labels(
        payload.locate(files),
        mesh,
        where=f"{payload.where} annotation {name}",
        format=annotation.format,
        per=annotation.per,
        classes=annotation.values,
    )
    return {
        name if len(found) == 1 or kind == "labels" else f"{name}-{kind}": replace(
            label, examined=annotation.examined_concepts if label.kind == "semantic" else ()
        )
        for kind, label in found.items()
    }
