"""One case's files -> images and label layers as the catalog describes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medshard.converters.geometry import canonical_volume, match_label_to_image
from medshard.converters.reading import identify, read_header, read_image, read_mesh
from medshard.converters.volume import Array, Image, LabelLayer, Mesh, Rescale, Volume
from medshard.errors import CaseError
from medshard.registry.layout import CaseFiles
from medshard.registry.schema import CaseGroup, Entry, LabelSpec


@dataclass(frozen=True, kw_only=True)
class CasePayload:
    """What a worker needs to validate or convert one case. files: path in the raw tree -> place on disk."""

    entry: Entry
    group: CaseGroup
    case: CaseFiles
    files: Mapping[str, Path]

    @property
    def where(self) -> str:
        return f"{self.entry.id}/{self.case.case}"

    @property
    def repair_header(self) -> bool:
        """Whether the entry lists this case as one whose label header may be overwritten with the image's."""
        return any(
            defect.action == "repair-header" and defect.concerns(self.case.case) for defect in self.entry.known_defects
        )

    def locate(self, paths: tuple[str, ...]) -> list[Path]:
        return [self.files[path] for path in paths]


def read_case_image(payload: CasePayload, name: str) -> Image:
    """One image as it lies in the source, with the meaning that the catalog adds."""
    spec = payload.group.images[name]
    image = read_image(payload.locate(payload.case.images[name]), where=payload.where)
    modality = spec.modality or payload.group.modality
    unit = spec.unit or image.rescale.unit
    if unit == "arbitrary" and modality == "CT":
        unit = "HU"  # formats without a unit of their own; by convention CT is stored in Hounsfield units
    return replace(
        image,
        modality=modality.value,
        sequence=spec.sequence or image.sequence,
        rescale=replace(image.rescale, unit=unit),
    )


def read_case_label(payload: CasePayload, layer: str) -> tuple[LabelLayer, str | None]:
    """One label layer on the grid of the case's first image, and what was repaired for that.

    A case without images keeps the layer's own grid. Raises CaseError when it cannot be read, is no mask, or lies on
    another grid than the image.
    """
    label, trusted = _read_layer(payload, layer)
    paths = next(iter(payload.case.images.values()), None)
    if paths is None:
        return label, None
    image = read_header(payload.locate(paths), where=payload.where)
    return match_label_to_image(
        image,
        label,
        where=f"{payload.where} label {layer}",
        trusted_geometry=trusted,
        repair_header=payload.repair_header,
    )


def _read_layer(payload: CasePayload, layer: str) -> tuple[LabelLayer, bool]:
    """A mask, or the stacked maps of a soft layer, and whether its file states a geometry."""
    spec = payload.group.labels[layer]
    files = [payload.locate(paths) for paths in payload.case.labels[layer]]
    masks = [read_image(paths, where=f"{payload.where} label {layer}") for paths in files]
    if spec.kind == "soft":
        return _soft_layer(payload, layer, spec, masks), masks[0].trusted_geometry
    mask = masks[0]
    if mask.array.ndim != 4 or mask.array.shape[0] != 1 or not np.issubdtype(mask.array.dtype, np.integer):
        raise CaseError(
            "annotation.not_a_mask",
            where=f"{payload.where} label {layer}",
            problem="the file holds no integer mask of one channel",
            details={"found": f"{mask.array.dtype} {mask.array.shape}"},
            action="Declare the layer as `soft`, or mend the layout.",
        )
    label = LabelLayer(
        array=_label_values(mask, where=f"{payload.where} label {layer}"),
        affine=mask.affine,
        kind=spec.kind,
        classes=dict(spec.classes),
        examined=spec.examined_concepts,
        rater=spec.rater,
    )
    return label, mask.trusted_geometry


def read_case_mesh(payload: CasePayload, name: str) -> Mesh:
    """One surface; the unit of its vertices is the catalog's word where the format has none."""
    mesh = read_mesh(payload.locate(payload.case.meshes[name]), where=payload.where)
    return replace(mesh, unit=payload.group.meshes[name].unit or mesh.unit)


def read_case(payload: CasePayload, *, layers: Collection[str]) -> Volume:
    """The whole case in canonical orientation; labels on their image's grid. `layers` are those to be kept."""
    volume = Volume(
        entry=payload.entry.id,
        case=payload.case.case,
        patient=payload.case.patient,
        images={name: read_case_image(payload, name) for name in payload.case.images},
        labels={layer: read_case_label(payload, layer)[0] for layer in layers},
        meshes={name: read_case_mesh(payload, name) for name in payload.case.meshes},
    )
    return canonical_volume(volume)


def decoders(payload: CasePayload, *, layers: Collection[str]) -> dict[str, str]:
    """Library -> version, of everything that decodes the images, the meshes and these label layers of a case."""
    case = payload.case
    groups = [
        *case.images.values(),
        *case.meshes.values(),
        *(paths for layer in layers for paths in case.labels[layer]),
    ]
    found: dict[str, str] = {}
    for paths in groups:
        if paths:
            found |= identify(payload.locate(paths), payload.where).decoders()
    return dict(sorted(found.items()))


def _soft_layer(payload: CasePayload, layer: str, spec: LabelSpec, maps: list[Image]) -> LabelLayer:
    if any(image.array.ndim != 4 or image.array.shape[0] != 1 for image in maps):
        raise CaseError(
            "annotation.not_a_map",
            where=f"{payload.where} label {layer}",
            problem="a map of a soft layer has one channel and no time axis",
            details={soft.concept: str(image.array.shape) for soft, image in zip(spec.maps, maps, strict=True)},
        )
    shapes = {image.array.shape for image in maps}
    if len(shapes) > 1 or not all(np.allclose(image.affine, maps[0].affine, atol=1e-4) for image in maps):
        raise CaseError(
            "geometry.mismatch",
            where=f"{payload.where} label {layer}",
            problem="the maps of the layer lie on different grids",
            details={soft.concept: str(image.array.shape) for soft, image in zip(spec.maps, maps, strict=True)},
        )
    if len({soft.scale for soft in spec.maps}) > 1:
        raise CaseError(
            "annotation.scales",
            where=f"{payload.where} label {layer}",
            problem="the maps of one layer have different scales",
            action="Give all the same `scale`.",
        )
    array = np.concatenate([image.array for image in maps], axis=0)
    rescale = Rescale(slope=(spec.maps[0].scale,), unit="probability")
    return LabelLayer(
        array=array,
        affine=maps[0].affine,
        kind="soft",
        classes=spec.channels,
        examined=spec.examined_concepts,
        rater=spec.rater,
        rescale=rescale,
    )


def _label_values(mask: Image, *, where: str) -> Array:
    """The values of a mask in the smallest unsigned type; negative ones keep their type and fail validation.

    A mask with a scale factor in its header means the scaled values: they count when they are whole numbers.
    """
    array = mask.array
    if not mask.rescale.is_identity:
        scaled = mask.rescale.apply(array)
        if not np.array_equal(scaled, np.rint(scaled)):
            raise CaseError(
                "annotation.scaled",
                where=where,
                problem="the header scales the mask to values that are no whole numbers",
                details={"slope": mask.rescale.slope[0], "intercept": mask.rescale.intercept[0]},
                action="Repair the header at the source.",
            )
        array = scaled.astype(np.int64)
    low, high = int(array.min()), int(array.max())
    return array if low < 0 else array.astype(np.min_scalar_type(high))
