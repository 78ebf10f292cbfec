"""The raw data set of nnU-Net version 2: one file per channel, one label map, `dataset.json`, `splits_final.json`.

Source: documentation/dataset_format.md, region_based_training.md, ignore_label.md and manual_data_splits.md of nnU-Net.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from medshard.converters.volume import Array
from medshard.errors import MedshardError
from medshard.pipelines.exporting.cases import Chosen, ExportCase
from medshard.pipelines.exporting.channels import Channel
from medshard.pipelines.exporting.label_map import Numbering, meaning_of, number_concepts
from medshard.pipelines.exporting.nifti_file import write_nifti
from medshard.pipelines.exporting.nnunet_survey import (
    ChannelKey,
    Survey,
    Surveyed,
    common_channels,
    survey_cases,
    usable,
)
from medshard.pipelines.exporting.papers import Report, case_facts, citation_of, write_json, write_papers
from medshard.pipelines.exporting.permission import check_permission
from medshard.pipelines.exporting.request import ExportRequest
from medshard.pipelines.exporting.target import new_folder
from medshard.registry.store.digests import sha256_bytes

# The numbers that nnU-Net's own examples and the decathlon leave free.
NUMBERS = range(500, 1000)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What holds for all cases. channels: (image, number) -> the name that nnU-Net has for it."""

    folder: Path
    request: ExportRequest
    survey: Survey
    channels: Mapping[ChannelKey, str]
    numbering: Numbering
    report: Report

    @property
    def ending(self) -> str:
        return ".png" if all(found.as_picture for found in self.survey.cases) else ".nii.gz"


def export_nnunet(request: ExportRequest) -> Path:
    """Write `DatasetNNN_Name` into the output folder, which may hold other data sets. Returns its path.

    Raises MedshardError[export.licence | export.not_empty | export.number_taken | export.mixed_modalities |
    export.no_channels | export.no_labels].
    """
    check_permission(request.entry, for_own_use=request.for_own_use)
    chosen = request.choose()
    target = request.output / _folder_name(request)
    report = Report(form="nnU-Net", entry=request.entry.id)
    with new_folder(target) as folder:
        survey = survey_cases(request, chosen, report)
        job = _Job(
            folder=folder,
            request=request,
            survey=survey,
            channels=common_channels(request, survey, report),
            numbering=number_concepts(survey.seen, request.concepts or request.entry.concepts),
            report=report,
        )
        trained = _write_cases(job)
        write_json(folder / "dataset.json", _dataset_json(job, len(trained)))
        _write_splits(folder, chosen, trained, report)
        _say_of_labels(job)
        write_papers(folder, request.store, request.entry, chosen, report, for_own_use=request.for_own_use)
    return target


def _folder_name(request: ExportRequest) -> str:
    number = request.number
    if number is None:
        number = NUMBERS[int(sha256_bytes(request.entry.id.encode())[:8], 16) % len(NUMBERS)]
    name = f"Dataset{number:03d}_" + re.sub(r"[^A-Za-z0-9]+", "_", request.entry.id).strip("_")
    taken = sorted(path.name for path in request.output.glob(f"Dataset{number:03d}_*") if path.name != name)
    if taken:
        raise MedshardError(
            "export.number_taken",
            where=str(request.output),
            problem=f"another data set has the number {number}",
            details={"found": ", ".join(taken)},
            action="Give another one with --number (1 to 999).",
        )
    return name


def _write_cases(job: _Job) -> list[ExportCase]:
    """Returns the cases to train on. Raises MedshardError[export.no_labels] when there are none."""
    trained = []
    for name in ("imagesTr", "labelsTr"):
        (job.folder / name).mkdir()
    for found in job.survey.cases:
        case = found.case
        missing = [f"{name}[{number}]" for name, number in job.channels if (name, number) not in found.channels]
        if missing:
            job.report.left_out[case.case] = f"lacks {', '.join(missing)} on the grid of its labels"
            continue
        if not found.labelled and case.part != "test":
            job.report.note("cases without usable labels are in imagesTs, whatever their part")
        trains = found.labelled and case.part != "test"
        job.report.cases[case.case] = case_facts(case, files=_write_case(job, found, "Tr" if trains else "Ts"))
        trained += [case] if trains else []
        if job.request.tell:
            job.request.tell(case.case)
    if not trained:
        raise MedshardError(
            "export.no_labels",
            where=job.request.entry.id,
            problem="no case has labels to train on",
            details=dict(list(job.report.left_out.items())[:5]),
        )
    return trained


def _write_case(job: _Job, found: Surveyed, end: str) -> dict[str, Any]:
    """The facts of its files. end: `Tr` or `Ts`."""
    case, exact = found.case, job.request.exact
    grid, layers = usable(case, job.request)
    by_key = {channel.key: channel for channel in grid.channels}
    wanted = [by_key[key] for key in job.channels]
    label = None
    if layers:
        label = job.numbering.apply(meaning_of(layers, job.request.wanted, where=case.case))
    place = f"labels{end}/{case.name}{job.ending}"
    if job.ending == ".png":
        files = _write_pictures(job.folder, f"images{end}/{case.name}", wanted)
        if label is not None:
            _write_picture(job.folder / place, label[0])
            files[place] = {"layers": list(grid.layers)}
        return files
    files = {}
    for number, channel in enumerate(wanted):
        path = f"images{end}/{case.name}_{number:04d}{job.ending}"
        image = channel.image
        written = write_nifti(
            job.folder / path,
            channel.array,
            grid.affine,
            rescale=image.rescale,
            trusted=image.trusted_geometry,
            exact=exact,
            where=case.case,
        )
        files[path] = {"image": channel.name, "channel": channel.number, **written.to_json()}
    if label is not None:
        trusted = wanted[0].image.trusted_geometry
        written = write_nifti(job.folder / place, label[None], grid.affine, trusted=trusted, exact=exact)
        files[place] = {"layers": list(grid.layers), **written.to_json()}
    return files


def _write_pictures(folder: Path, stem: str, channels: Sequence[Channel]) -> dict[str, Any]:
    """A colour picture is one file of three channels, which nnU-Net counts as three."""
    files: dict[str, Any] = {}
    images = {channel.name: channel.image for channel in channels}
    for number, (name, image) in enumerate(images.items()):
        path = f"{stem}_{number:04d}.png"
        array = image.array[:, 0]
        _write_picture(folder / path, array[0] if len(array) == 1 else np.moveaxis(array, 0, -1))
        files[path] = {"image": name, "shape": list(array.shape), "dtype": array.dtype.name}
    return files


def _write_picture(path: Path, pixels: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(np.ascontiguousarray(pixels)).save(path, format="PNG")


def _dataset_json(job: _Job, trained: int) -> dict[str, Any]:
    """In nnU-Net's order of keys: regions are matched with `regions_class_order` by their place."""
    entry, numbering = job.request.entry, job.numbering
    labels: dict[str, int | list[int]] = {"background": 0}
    for concept, numbers in numbering.labels.items():
        labels[concept] = numbers[0] if len(numbers) == 1 else list(numbers)
    if numbering.ignore is not None:
        labels["ignore"] = numbering.ignore
    # SimpleITK refuses grids whose axes are not perpendicular, and does not read NIfTI-2.
    by_nibabel = job.ending != ".png" and (job.request.exact or any(found.sheared for found in job.survey.cases))
    return {
        "channel_names": {str(number): name for number, name in enumerate(job.channels.values())},
        "labels": labels,
        **({"regions_class_order": list(numbering.order)} if numbering.overlapping else {}),
        "numTraining": trained,
        "file_ending": job.ending,
        **({"overwrite_image_reader_writer": "NibabelIO"} if by_nibabel else {}),
        "name": entry.title,
        "description": " ".join(entry.description.split()),
        "reference": citation_of(entry),
        "licence": entry.licence.id,
        "release": entry.version,
    }


def _write_splits(folder: Path, chosen: Chosen, trained: Sequence[ExportCase], report: Report) -> None:
    """`splits_final.json`: the folds of the split, or its one validation part. nnU-Net reads it beside its plans."""
    if chosen.folds:
        held = [[case for case in trained if case.fold == fold] for fold in range(chosen.folds)]
    else:
        held = [[case for case in trained if case.part == "val"]]
    folds = [_fold(cases, trained) for cases in held if 0 < len(cases) < len(trained)]
    if folds:
        write_json(folder / "splits_final.json", folds)
        report.note("copy splits_final.json to the folder of this data set in nnUNet_preprocessed before training")
    else:
        report.note("no case is validated on: nnU-Net will make folds of its own, which know no patients")


def _fold(held: Sequence[ExportCase], trained: Sequence[ExportCase]) -> dict[str, list[str]]:
    names = {case.name for case in held}
    return {"train": sorted(case.name for case in trained if case.name not in names), "val": sorted(names)}


def _say_of_labels(job: _Job) -> None:
    numbering, report = job.numbering, job.report
    report.facts["labels"] = {concept: list(numbers) for concept, numbers in numbering.labels.items()}
    report.changes.append("label layers put together in one map with consecutive numbers (`dataset.json`)")
    if numbering.absent:
        report.note(f"without any voxel and so without a number: {', '.join(numbering.absent)}")
