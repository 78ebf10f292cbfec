"""Tar files of samples for WebDataset: arrays, and a JSON that says what their numbers mean.

    KEY.image.NAME.npy     an image: (c, z, y, x) or (t, c, z, y, x), stored numbers
    KEY.label.LAYER.npy    a label layer: (c, z, y, x)
    KEY.json               affines, rescale, classes, examined concepts, patient, part, record

Source: the WebDataset format: files of a sample stand together and share their name up to the first point.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.volume import Affine, Array, Image, LabelLayer, LeadingAxis, Rescale
from medshard.errors import CaseError, StoreError
from medshard.loaders.sample_row import SampleRow
from medshard.loaders.shard_reader import SampleIndex
from medshard.pipelines.exporting.cases import ExportCase
from medshard.pipelines.exporting.names import safe_names
from medshard.pipelines.exporting.nifti_file import write_nifti
from medshard.pipelines.exporting.papers import Report, case_facts, write_json, write_papers
from medshard.pipelines.exporting.permission import check_permission
from medshard.pipelines.exporting.request import ExportRequest
from medshard.pipelines.exporting.tar_files import TarShards
from medshard.pipelines.exporting.target import new_folder
from medshard.registry.store.digests import canonical_json, sha256_bytes

SHARDS = "shards.json"
MEGABYTE = 1_000_000


@dataclass(frozen=True, kw_only=True)
class _Member:
    """An array of a sample. name: `image.ct`, `label.liver`. facts: what its numbers mean."""

    name: str
    array: Array
    affine: Affine
    facts: dict[str, Any]
    rescale: Rescale | None = None
    leading: LeadingAxis | None = None
    trusted: bool = True


def export_webdataset(request: ExportRequest) -> Path:
    """Write tar files and `shards.json` into the output folder, from volumes or from the shards of a plan.

    The order is that of a hash of the cases, so that neighbours are not of one site or patient. Returns the path of
    `shards.json`. Raises MedshardError[export.licence | export.not_empty], StoreError[stage.not_built].
    """
    check_permission(request.entry, for_own_use=request.for_own_use)
    chosen = request.choose("key")
    report = Report(form="WebDataset", entry=request.entry.id)
    members = _from_shards(request, report) if request.plan else _from_volume
    largest = int(request.largest_mb * MEGABYTE)
    with new_folder(request.output) as folder:
        shards: dict[str, TarShards] = {}
        with ExitStack() as stack:
            for case in sorted(chosen.cases, key=_shuffled):
                if case.part not in shards:
                    shards[case.part] = stack.enter_context(TarShards(folder=folder, prefix=case.part, largest=largest))
                _export_case(request, case, members, shards[case.part], report)
        _say_of_shards(folder, shards, largest, report)
        write_papers(folder, request.store, request.entry, chosen, report, for_own_use=request.for_own_use)
    return request.output / SHARDS


def _shuffled(case: ExportCase) -> str:
    return sha256_bytes(f"{case.record.entry}/{case.case}".encode(errors="surrogatepass"))


def _export_case(
    request: ExportRequest,
    case: ExportCase,
    members: Callable[[ExportCase], list[_Member]],
    shards: TarShards,
    report: Report,
) -> None:
    try:
        found = [member for member in members(case) if _is_wanted(member, request)]
        if not any(member.name.startswith("image.") for member in found):
            raise CaseError("export.no_image", where=case.case, problem="it has no image asked for")
        encoded = [_encoded(member, request, case) for member in found]
    except CaseError as error:
        report.left_out[case.case] = f"{error.code}: {error.problem}"
        return
    meaning = {
        "entry": request.entry.id,
        "version": request.entry.version,
        "licence": request.entry.licence.id,
        "case": case.case,
        "patient": case.patient,
        "part": case.part,
        "modality": case.modality,
        **({"fold": case.fold} if case.fold is not None else {}),
        **({"synthetic": True} if case.synthetic else {}),
        "record": case.record.ref.to_json(),
        "arrays": {member.name: facts for member, (_, _, facts) in zip(found, encoded, strict=True)},
    }
    files = [(extension, data) for extension, data, _ in encoded]
    tar = shards.add(case.name, [*files, ("json", canonical_json(meaning))])
    report.cases[case.case] = case_facts(case, tar=tar, members=[name for name, _ in files])
    if request.tell:
        request.tell(case.case)


def _is_wanted(member: _Member, request: ExportRequest) -> bool:
    return not request.images or not member.name.startswith("image.") or member.facts["name"] in request.images


def _encoded(member: _Member, request: ExportRequest, case: ExportCase) -> tuple[str, bytes, dict[str, Any]]:
    """(extension, bytes, facts)"""
    facts = {
        **member.facts,
        "shape": list(member.array.shape),
        "dtype": member.array.dtype.name,
        "affine_zyx": member.affine.tolist(),
    }
    if request.arrays == "npy":
        sink = io.BytesIO()
        array = np.ascontiguousarray(member.array)
        np.lib.format.write_array(sink, array.astype(array.dtype.newbyteorder("<"), copy=False), version=(1, 0))
        return f"{member.name}.npy", sink.getvalue(), facts
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "array.nii.gz"
        written = write_nifti(
            path,
            member.array,
            member.affine,
            rescale=member.rescale,
            leading=member.leading,
            trusted=member.trusted,
            exact=request.exact,
            where=case.case,
        )
        return f"{member.name}.nii.gz", path.read_bytes(), {**facts, "nifti": written.to_json()}


def _from_volume(case: ExportCase) -> list[_Member]:
    volume = case.read()
    images, layers = safe_names(volume.images, "key"), safe_names(volume.labels, "key")
    return [
        *(_image(f"image.{images[name]}", name, image) for name, image in volume.images.items()),
        *(
            _layer(f"label.{layers[name]}", name, layer)
            for name, layer in volume.labels.items()
            if name in case.layer_names
        ),
    ]


def _image(member: str, name: str, image: Image) -> _Member:
    leading = image.leading
    facts = {
        "name": name,
        "modality": image.modality,
        "sequence": image.sequence,
        "unit": image.rescale.unit,
        "slope": list(image.rescale.slope),
        "intercept": list(image.rescale.intercept),
        "trusted_geometry": image.trusted_geometry,
        "leading": {"kind": leading.kind, "values": list(leading.values or ())} if leading else None,
    }
    return _Member(
        name=member,
        array=image.array,
        affine=image.affine,
        facts=facts,
        rescale=image.rescale,
        leading=image.leading,
        trusted=image.trusted_geometry,
    )


def _layer(member: str, name: str, layer: LabelLayer) -> _Member:
    facts = {
        "name": name,
        "kind": layer.kind,
        "classes": {str(value): concept for value, concept in layer.classes.items()},
        "also": {str(value): list(concepts) for value, concepts in layer.also.items()},
        "ignore": list(layer.ignore),
        "examined": list(layer.examined),
        "rater": layer.rater,
        "slope": list(layer.rescale.slope),
        "intercept": list(layer.rescale.intercept),
    }
    return _Member(name=member, array=layer.array, affine=layer.affine, facts=facts, rescale=layer.rescale)


def _from_shards(request: ExportRequest, report: Report) -> Callable[[ExportCase], list[_Member]]:
    """Raises StoreError[stage.not_built] when the plan has no shards."""
    index = SampleIndex.open(request.store, request.entry.id, request.plan or "default")
    report.facts["plan"] = {"name": index.plan.name, "shards": sorted(index.shard_digests)}
    report.changes.append(f"resampled and stored as the plan `{index.plan.name}` says")

    def members(case: ExportCase) -> list[_Member]:
        try:
            row = index.find(case.case)
        except StoreError as error:
            if error.code != "sample.unknown":
                raise
            raise CaseError("export.no_sample", where=case.case, problem="the plan has no sample of it") from error
        return list(_row_members(index, row, with_labels=bool(case.layer_names)))

    return members


def _row_members(index: SampleIndex, row: SampleRow, *, with_labels: bool) -> Iterator[_Member]:
    if "image" in row.arrays:
        facts = {
            "name": "image",
            "modality": row.modality,
            "unit": row.unit,
            "slope": [row.slope],
            "intercept": [row.intercept],
            "quantisation_error": row.quantisation_error,
        }
        rescale = Rescale(slope=(row.slope,), intercept=(row.intercept,), unit=row.unit)
        array = index.read_array(row, "image")
        yield _Member(name="image.image", array=array, affine=row.affine, facts=facts, rescale=rescale)
    names = safe_names(row.labels, "key")
    for name, label in row.labels.items() if with_labels else ():
        facts = {
            "name": name,
            "kind": label.kind,
            "classes": {str(value): concept for value, concept in label.classes.items()},
            "also": {str(value): list(concepts) for value, concepts in label.also.items()},
            "ignore": list(label.ignore),
            "examined": list(label.examined),
        }
        array = index.read_array(row, f"labels/{name}")
        yield _Member(name=f"label.{names[name]}", array=array, affine=row.affine, facts=facts)


def _say_of_shards(folder: Path, shards: dict[str, TarShards], largest: int, report: Report) -> None:
    written = {part: shards[part].files for part in sorted(shards) if shards[part].files}
    for files in written.values():
        for facts in files:
            if facts["bytes"] > largest:
                report.note(f"{facts['file']} is larger than asked: its one sample is")
    write_json(folder / SHARDS, written)
