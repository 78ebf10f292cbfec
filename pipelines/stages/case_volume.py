"""One case's files -> its volume in canonical orientation, with the labels that validation has found usable."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

import numpy as np

from medshard.converters.annotations.rows.reading import is_row_contours
from medshard.converters.geometry import canonical_volume
from medshard.converters.mask_plausibility import content_suspicion
from medshard.converters.reading import annotation_decoders, identify
from medshard.converters.spooling import IN_MEMORY, Spool, release_pages
from medshard.converters.volume import Volume
from medshard.pipelines.labels.case_labels import label_readers, layer_files
from medshard.pipelines.labels.parts import label_sources
from medshard.pipelines.stages.case_annotations import Places, read_case_annotations
from medshard.pipelines.stages.case_contents import content_decoders, read_contents, with_slides
from medshard.pipelines.stages.case_images import present_images, read_case_image
from medshard.pipelines.stages.case_meshes import present_meshes, read_case_mesh, voxelised_layers
from medshard.pipelines.stages.case_payload import CasePayload
from medshard.registry.schema.annotations import Contours

# Larger images are not compared with their masks: voxels along the rim lie all over the file of a spooled one.
MOST_VOXELS_LOOKED_AT = 64_000_000


def read_case(
    payload: CasePayload, *, layers: Collection[str], annotations: Collection[str] = (), spool: Spool = IN_MEMORY
) -> Volume:
    """The whole case; labels on their image's grid. `layers` and `annotations` are the names of those to be kept."""
    payload = with_slides(payload)
    images = {name: read_case_image(payload, name, spool) for name in present_images(payload)}
    contents = read_contents(payload)
    places = Places(images=images, slides=contents.slides, videos=contents.videos)
    labels = {
        name: read().layer
        for source in _sources_of(payload, layers)
        for name, read in label_readers(payload, source, images=images, spool=spool).items()
        if name in layers
    }
    volume = replace(
        contents,
        images=images,
        labels={**labels, **voxelised_layers(payload, images)},
        meshes={name: read_case_mesh(payload, name, annotations=annotations) for name in present_meshes(payload)},
        annotations=read_case_annotations(payload, places, annotations),
    )
    return canonical_volume(volume)


def content_warnings(volume: Volume) -> tuple[str, ...]:
    """What the voxels say against each semantic layer and each image on its grid (`content_suspicion`)."""
    said = []
    for name, layer in volume.labels.items():
        for image_name, image in volume.images.items():
            on_its_grid = image.shape == layer.shape and np.array_equal(image.affine, layer.affine)
            if layer.kind != "semantic" or not on_its_grid or math.prod(image.shape) > MOST_VOXELS_LOOKED_AT:
                continue
            suspicion = content_suspicion(image.array, image.rescale, layer.array)
            release_pages(image.array)
            if suspicion is not None:
                said.append(f"label layer {name} on image {image_name}: {suspicion}")
    return tuple(said)


def _sources_of(payload: CasePayload, layers: Collection[str]) -> list[str]:
    """The labels of the layout that these layers are made of."""
    return [
        source for source in label_sources(payload) if any(layer in layers for layer in layer_files(payload, source))
    ]


def decoders(payload: CasePayload, *, layers: Collection[str]) -> dict[str, str]:
    """Library -> version, of everything that decodes the images, the meshes and these label layers of a case."""
    case = payload.case
    found: dict[str, str] = content_decoders(payload)
    images = [paths for name, paths in case.images.items() if name not in payload.slides]
    for paths in (*images, *case.meshes.values()):
        if paths:
            found |= identify(payload.locate(paths), payload.where).decoders()
    files = [
        item
        for source in label_sources(payload)
        if not _is_in_rows(payload, source)
        for item in layer_files(payload, source).items()
    ]
    for masks in (masks for layer, masks in files if layer in layers):
        for paths in masks:
            found |= annotation_decoders(payload.locate(paths), payload.where)
    return dict(sorted(found.items()))


def _is_in_rows(payload: CasePayload, source: str) -> bool:
    """Whether a layer is drawn from the rows of a table, which no decoder of images opens."""
    annotation = payload.group.annotations.get(source)
    return isinstance(annotation, Contours) and is_row_contours(annotation)
