"""One case's files -> its volume in canonical orientation, with the labels that validation has found usable."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from medshard.converters.geometry import canonical_volume
from medshard.converters.reading import annotation_decoders, identify
from medshard.converters.spooling import IN_MEMORY, Spool
from medshard.converters.volume import Volume
from medshard.pipelines.labels.case_labels import label_sources, read_case_labels
from medshard.pipelines.labels.parts import label_parts
from medshard.pipelines.stages.case_images import present_images, read_case_image, read_case_mesh
from medshard.pipelines.stages.case_payload import CasePayload


def read_case(payload: CasePayload, *, layers: Collection[str], spool: Spool = IN_MEMORY) -> Volume:
    """The whole case; labels on their image's grid. `layers` are the names of those to be kept."""
    images = {name: read_case_image(payload, name, spool) for name in present_images(payload)}
    found = [
        label
        for source in label_sources(payload)
        if any(belongs(layer, source) for layer in layers)
        for label in read_case_labels(payload, source, images=images, spool=spool)
    ]
    volume = Volume(
        entry=payload.entry.id,
        case=payload.case.case,
        patient=payload.case.patient,
        images=images,
        labels={label.name: label.layer for label in found if label.name in layers},
        meshes={name: read_case_mesh(payload, name) for name in payload.case.meshes},
    )
    return canonical_volume(volume)


def belongs(layer: str, source: str) -> bool:
    """Whether a layer is made of a label of the layout: of its own name, or one rater's part of it."""
    return layer == source or layer.startswith(f"{source}-")


def decoders(payload: CasePayload, *, layers: Collection[str]) -> dict[str, str]:
    """Library -> version, of everything that decodes the images, the meshes and these label layers of a case."""
    case = payload.case
    found: dict[str, str] = {}
    for paths in (*case.images.values(), *case.meshes.values()):
        if paths:
            found |= identify(payload.locate(paths), payload.where).decoders()
    for source in label_sources(payload):
        if any(belongs(layer, source) for layer in layers):
            for paths in _files_of_label(payload, source):
                found |= annotation_decoders(payload.locate(paths), payload.where)
    return dict(sorted(found.items()))


def _files_of_label(payload: CasePayload, source: str) -> Iterator[tuple[str, ...]]:
    """The files of each mask of a label of the layout: those of one mask are read together."""
    spec = payload.group.labels.get(source)
    if spec is None or spec.kind == "soft":
        yield from (files for files in label_sources(payload)[source] if files)
    else:
        yield from (part.files for part in label_parts(payload, source))
