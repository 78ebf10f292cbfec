"""A MONAI datalist: NIfTI files and one JSON in the form of the Medical Segmentation Decathlon, with folds.

Source: `monai.data.load_decathlon_datalist` of MONAI 1.6 and http://medicaldecathlon.com.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.volume import Image, LabelLayer
from medshard.errors import CaseError
from medshard.pipelines.exporting.cases import Chosen, ExportCase
from medshard.pipelines.exporting.channels import Channel, OnOneGrid, channels_of, on_one_grid
from medshard.pipelines.exporting.label_map import (
    Meaning,
    Numbering,
    Seen,
    first_readings,
    meaning_of,
    number_concepts,
    same_grid,
)
from medshard.pipelines.exporting.names import safe_names
from medshard.pipelines.exporting.nifti_file import write_nifti
from medshard.pipelines.exporting.papers import Report, case_facts, citation_of, write_json, write_papers
from medshard.pipelines.exporting.permission import check_permission
from medshard.pipelines.exporting.request import ExportRequest
from medshard.pipelines.exporting.target import new_folder

DATALIST = "datalist.json"
LISTS = {"train": "training", "val": "validation", "test": "test"}
UNLABELLED = "unlabelled"
# In a mask of one concept, where several masks take the place of a map.
IGNORED_IN_MASKS = 255


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What holds for all cases. lists: name -> its items. modalities: number of a channel -> what it shows."""

    folder: Path
    request: ExportRequest
    numbering: Numbering
    report: Report
    lists: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    modalities: dict[str, list[str]] = field(default_factory=dict)


def export_monai(request: ExportRequest) -> Path:
    """Write images, labels and `datalist.json` into the output folder. Returns the path of the datalist.

    Raises MedshardError[export.licence | export.not_empty].
    """
    check_permission(request.entry, for_own_use=request.for_own_use)
    chosen = request.choose()
    report = Report(form="MONAI", entry=request.entry.id)
    with new_folder(request.output) as folder:
        job = _Job(folder=folder, request=request, numbering=_numbering(request, chosen, report), report=report)
        for case in chosen.cases:
            try:
                _export_case(job, case, chosen)
            except CaseError as error:
                report.left_out[case.case] = f"{error.code}: {error.problem}"
            if request.tell:
                request.tell(case.case)
        write_json(folder / DATALIST, _datalist(job))
        report.changes.append(f"label layers put together with consecutive numbers (`{DATALIST}`)")
        write_papers(folder, request.store, request.entry, chosen, report, for_own_use=request.for_own_use)
    return request.output / DATALIST


def _numbering(request: ExportRequest, chosen: Chosen, report: Report) -> Numbering:
    """Of all cases, since a number means one concept in the whole data set."""
    seen = Seen()
    for case in chosen.cases:
        layers, left_out = first_readings(case.read_layers())
        for name, why in left_out.items():
            report.note(f"layer {name}: left out where {why}")
        for group in _by_grid(list(layers.values())):
            seen.add(group, meaning_of(group, request.wanted, where=case.case))
    if request.wanted:
        seen.stated &= request.wanted
    return number_concepts(seen, request.concepts or request.entry.concepts)


def _by_grid(layers: Sequence[LabelLayer]) -> list[list[LabelLayer]]:
    groups: list[list[LabelLayer]] = []
    for layer in layers:
        known = (some for some in groups if same_grid(some[0].shape, some[0].affine, layer.shape, layer.affine))
        group = next(known, None)
        if group is None:
            groups.append([layer])
        else:
            group.append(layer)
    return groups


def _export_case(job: _Job, case: ExportCase, chosen: Chosen) -> None:
    volume = case.read()
    readings, _ = first_readings({name: volume.labels[name] for name in case.layer_names})
    grid = on_one_grid(volume, readings)
    asked = job.request.images
    channels = [channel for channel in grid.channels if not asked or channel.name in asked] if grid else []
    if grid is None or not channels:
        raise CaseError("export.no_image", where=case.case, problem="no image asked for lies on the grid of its labels")
    files: dict[str, Any] = {}
    item: dict[str, Any] = {"image": _one_or_all(_write_channels(job, case, channels, files))}
    for name in grid.elsewhere:
        if not asked or name in asked:
            paths = _write_channels(job, case, channels_of({name: volume.images[name]}), files)
            item[f"image_{name}"] = _one_or_all(paths)
            job.report.note(f"image {name}: under a key of its own where it lies on another grid than the labels")
    for name in grid.other_layers:
        job.report.note(f"layer {name}: left out where no image has its grid")
    if grid.layers:
        item |= _labels(job, case, grid, files)
    item |= {"case": case.case, "patient": case.patient}
    item |= {"fold": case.fold} if case.fold is not None else {}
    item |= {"synthetic": True} if case.synthetic else {}
    job.lists.setdefault(_list_of(case, chosen, item), []).append(item)
    job.report.cases[case.case] = case_facts(case, files=files)
    for number, channel in enumerate(channels):
        shown = job.modalities.setdefault(str(number), [])
        if (modality := channel.image.modality or case.modality) not in shown:
            shown.append(modality)


def _labels(job: _Job, case: ExportCase, grid: OnOneGrid, files: dict[str, Any]) -> dict[str, Any]:
    layers = list(grid.layers.values())
    meaning = meaning_of(layers, job.request.wanted, where=case.case)
    paths = _write_labels(job, case, meaning, grid.channels[0].image, files)
    return {
        "label": _one_or_all(paths),
        "examined": sorted({concept for layer in layers for concept in layer.examined}),
    }


def _write_channels(job: _Job, case: ExportCase, channels: Sequence[Channel], files: dict[str, Any]) -> list[str]:
    """A file for each channel: MONAI stacks a list of files as channels."""
    paths = []
    for channel in channels:
        image = channel.image
        path = f"images/{case.name}_{channel.name}{f'_{channel.number}' if channel.of > 1 else ''}.nii.gz"
        written = write_nifti(
            job.folder / path,
            channel.array,
            image.affine,
            rescale=image.rescale,
            leading=image.leading,
            trusted=image.trusted_geometry,
            exact=job.request.exact,
            where=case.case,
        )
        files[path] = {"image": channel.name, "channel": channel.number, **written.to_json()}
        paths.append(path)
    return paths


def _write_labels(job: _Job, case: ExportCase, meaning: Meaning, image: Image, files: dict[str, Any]) -> list[str]:
    """One map; or, where concepts overlap, a mask for each concept, in the order of the datalist's `labels`."""
    maps: Mapping[str, Any] = {f"labels/{case.name}.nii.gz": job.numbering.apply(meaning)}
    if job.numbering.overlapping:
        maps = _masks(job.numbering, meaning, case.name)
    for path, array in maps.items():
        written = write_nifti(
            job.folder / path, array[None], image.affine, trusted=image.trusted_geometry, exact=job.request.exact
        )
        files[path] = written.to_json()
    return list(maps)


def _masks(numbering: Numbering, meaning: Meaning, name: str) -> dict[str, Any]:
    together = numbering.apply(meaning)
    names = safe_names(numbering.labels)
    masks = {}
    for concept, numbers in numbering.labels.items():
        mask = np.isin(together, numbers).astype(np.uint8)
        if numbering.ignore is not None:
            mask[together == numbering.ignore] = IGNORED_IN_MASKS
        masks[f"labels/{name}_{names[concept]}.nii.gz"] = mask
    return masks


def _one_or_all(paths: list[str]) -> str | list[str]:
    return paths[0] if len(paths) == 1 else paths


def _list_of(case: ExportCase, chosen: Chosen, item: Mapping[str, Any]) -> str:
    """In a cross-validation every case that is not tested is in `training`, with its fold."""
    if "label" not in item and case.part != "test":
        return UNLABELLED
    return "training" if chosen.folds and case.part != "test" else LISTS[case.part]


def _datalist(job: _Job) -> dict[str, Any]:
    """Empty lists are left out: MONAI cannot read them."""
    entry, numbering, lists = job.request.entry, job.numbering, job.lists
    if numbering.overlapping:
        labels = {str(number): concept for number, concept in enumerate(numbering.labels)}
        job.report.note("concepts overlap: `label` is a list of masks, and `labels` names them by their place in it")
    else:
        labels = {"0": "background", **{str(numbers[0]): concept for concept, numbers in numbering.labels.items()}}
    if numbering.ignore is not None:
        value = IGNORED_IN_MASKS if numbering.overlapping else numbering.ignore
        labels[str(value)] = "ignore"
        job.report.note(f"voxels that nobody judged are {value}")
    return {
        "name": entry.title,
        "description": " ".join(entry.description.split()),
        "reference": citation_of(entry),
        "licence": entry.licence.id,
        "release": entry.version,
        "modality": {number: " or ".join(sorted(shown)) for number, shown in job.modalities.items()},
        "labels": labels,
        "numTraining": len(lists.get("training", ())),
        "numTest": len(lists.get("test", ())),
        **{name: lists[name] for name in (*LISTS.values(), UNLABELLED) if name in lists},
    }
