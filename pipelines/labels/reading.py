"""The files of one label part as an image, as segments or as outlines; a picture for each slice becomes one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medshard.converters.annotations.segments import OutlineSet, SegmentedImage
from medshard.converters.geometry import pixel_grid_affine
from medshard.converters.grid_verdict import Grid
from medshard.converters.reading import identify, read_annotation, read_header, read_image, read_opacity
from medshard.converters.volume import Image
from medshard.errors import CaseError
from medshard.pipelines.labels.parts import LabelPart, natural_key
from medshard.pipelines.labels.placing import LabelTask, request_of
from medshard.registry.schema import LabelSpec

PICTURES = "raster"
ON_A_SLICE = 0.1
"""In slices: how far from one the position in a file of the image may lie."""


@dataclass(frozen=True, kw_only=True)
class ReadLabel:
    """image: whose files the pictures are called after. warnings: what the file's header leaves in doubt, and how
    pictures found their slices."""

    found: Image | SegmentedImage | OutlineSet
    image: str | None = None
    warnings: tuple[str, ...] = ()


def read_label(task: LabelTask, spec: LabelSpec, part: LabelPart) -> ReadLabel:
    """Raises CaseError as `read_annotation` does, and [annotation.slices]."""
    files = task.payload.locate(part.files)
    if len(files) > 1 and all(identify([path], task.where).name == PICTURES for path in files):
        return _read_pictures(task, part.files)
    if spec.drawn_in == "alpha":
        return ReadLabel(found=read_opacity(files, where=task.where, request=request_of(task, spec)))
    request = request_of(task, spec)
    found = read_annotation(files, where=task.where, request=request)
    if spec.drawn_in == "red" and isinstance(found, Image):
        found = replace(found, array=found.array[:1])
    if isinstance(found, Image) and len(files) == 1:
        return ReadLabel(found=found, warnings=read_header(files, where=task.where, request=request).warnings)
    return ReadLabel(found=found)


def _read_pictures(task: LabelTask, names: Sequence[str]) -> ReadLabel:
    """A stack of pictures. A picture says nothing of its place: it belongs to the slice of an image's file.

    Files pair by their names without the suffix, else both in natural order of their names, which is said. Where no
    image has a file for each picture, the pictures lie one after the other along z, which is said too.
    """
    by_stem = {Path(name).stem: name for name in names}
    files = task.payload.case.images
    alike = [name for name in task.images if len(files[name]) == len(names)]
    namesakes = [name for name in alike if by_stem.keys() == {Path(file).stem for file in files[name]}]
    paired = next(iter(namesakes or alike), None)
    ordered = sorted(names, key=natural_key)
    if paired is None:
        note = f"{len(names)} pictures lie along z in the order of their names; nothing in them says so"
        return ReadLabel(found=_stacked(task, task.payload.locate(tuple(ordered))), warnings=(note,))
    slices = files[paired]
    notes: tuple[str, ...] = ()
    if paired in namesakes:
        pairs = [(name, by_stem[Path(name).stem]) for name in slices]
    else:
        pairs = list(zip(sorted(slices, key=natural_key), ordered, strict=True))
        notes = (f"{len(names)} pictures belong to the files of {paired} in the order of their names; no name says so",)
    places = _places(task, task.images[paired], [name for name, _ in pairs])
    sorted_pictures = [picture for _, (_, picture) in sorted(zip(places, pairs, strict=True))]
    stack = _stacked(task, task.payload.locate(tuple(sorted_pictures)))
    return ReadLabel(found=stack, image=paired if namesakes else None, warnings=notes)


def _places(task: LabelTask, grid: Grid, names: Sequence[str]) -> list[int]:
    """The slice of the image that each of its files holds."""
    headers = [read_header(task.payload.locate((name,)), where=task.where) for name in names]
    positions = np.array([header.affine[:3, 3] for header in headers])
    along = np.linalg.solve(grid.affine[:3, :3], (positions - grid.affine[:3, 3]).T)[0]
    places = [round(float(place)) for place in along]
    if sorted(places) != list(range(grid.shape[0])) or np.abs(along - places).max() > ON_A_SLICE:
        raise CaseError(
            "annotation.slices",
            where=task.where,
            problem="there is a picture for each file of the image, and the files are not one slice each",
            details={"files": len(names), "slices": grid.shape[0]},
            action="The case is excluded. Convert the pictures to one mask with geometry.",
        )
    return places


def _stacked(task: LabelTask, files: Sequence[Path]) -> Image:
    first = read_image([files[0]], where=task.where).array
    stack = task.spool.empty((first.shape[0], len(files), *first.shape[2:]), first.dtype)
    for z, path in enumerate(files):
        picture = read_image([path], where=task.where).array
        if picture.shape != first.shape or picture.dtype != first.dtype:
            raise CaseError(
                "annotation.slices",
                where=task.where,
                problem="the pictures of one mask differ in size or kind",
                details={
                    "first": f"{first.dtype} {first.shape}",
                    "other": f"{picture.dtype} {picture.shape}",
                    "file": path.name,
                },
                action="The case is excluded. Repair the source.",
            )
        stack[:, z] = picture[:, 0]
    return Image(array=stack, affine=pixel_grid_affine(), trusted_geometry=False)
