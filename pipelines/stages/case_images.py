"""One case's image and mesh files -> images and meshes as the catalog describes them."""

from __future__ import annotations

from dataclasses import replace

from medshard.converters.formats.format import Header, Request
from medshard.converters.reading import read_header, read_image
from medshard.converters.spooling import IN_MEMORY, Spool
from medshard.converters.volume import Image
from medshard.errors import CaseError
from medshard.pipelines.stages.case_payload import CasePayload, require_files
from medshard.registry.schema import ImageSpec
from medshard.registry.vocabulary import Modality

UNSTATED = "arbitrary"


def present_images(payload: CasePayload) -> tuple[str, ...]:
    """The images of the case that have files and are no whole slides; those that lack them have to be optional.

    Raises CaseError[image.missing].
    """
    for name, spec in payload.group.images.items():
        require_files(payload, "image", name, spec, payload.case.images[name])
    return tuple(name for name, files in payload.case.images.items() if files and name not in payload.slides)


def read_case_header(payload: CasePayload, name: str) -> Header:
    """The header of one image. Raises CaseError as `read_header` does."""
    spec = payload.group.images[name]
    return read_header(payload.locate(payload.case.images[name]), where=payload.where, request=_request(payload, spec))


def read_case_image(payload: CasePayload, name: str, spool: Spool = IN_MEMORY) -> Image:
    """One image as it lies in the source, with the meaning that the catalog adds.

    Raises CaseError as `read_image` does, and [image.channels | image.unit | image.scale].
    """
    spec = payload.group.images[name]
    files = payload.locate(payload.case.images[name])
    image = read_image(files, where=payload.where, request=replace(_request(payload, spec), spool=spool))
    image = _with_scale(spec, image, where=f"{payload.where} image {name}")
    modality = spec.modality or payload.group.modality
    unit = _unit(spec, image, modality, where=f"{payload.where} image {name}")
    image = replace(
        image,
        modality=modality.value,
        sequence=spec.sequence or image.sequence,
        rescale=replace(image.rescale, unit=unit),
    )
    return _with_channels(image, spec.channels, where=f"{payload.where} image {name}") if spec.channels else image


def _request(payload: CasePayload, spec: ImageSpec) -> Request:
    return Request(key=spec.key, select=spec.select, page=payload.page_of(spec))


def _with_scale(spec: ImageSpec, image: Image, *, where: str) -> Image:
    """The catalog's scale, for formats that have none of their own."""
    if spec.slope is None and spec.intercept is None:
        return image
    if not image.rescale.is_identity:
        raise CaseError(
            "image.scale",
            where=where,
            problem="the catalog gives the stored numbers a scale, and the source has its own",
            action="Leave `slope` and `intercept` out of the catalog entry.",
        )
    slope, intercept = (1.0 if spec.slope is None else spec.slope), spec.intercept or 0.0
    return replace(image, rescale=replace(image.rescale, slope=(slope,), intercept=(intercept,)))


def _unit(spec: ImageSpec, image: Image, modality: Modality, *, where: str) -> str:
    """The unit that the source states, else the catalog's, else HU for CT.

    Formats without a unit of their own are silent; by convention their CT is in Hounsfield units.
    """
    stated = image.rescale.unit
    if stated != UNSTATED and spec.unit is not None and spec.unit != stated:
        raise CaseError(
            "image.unit",
            where=where,
            problem=f"the catalog says that the numbers are {spec.unit}, the source states {stated}",
            action="Correct `unit` in the catalog entry; for SUVbw the record's warnings say what the series lacks.",
        )
    if stated != UNSTATED:
        return stated
    return spec.unit or ("HU" if modality == "CT" else UNSTATED)


def _with_channels(image: Image, names: tuple[str, ...], *, where: str) -> Image:
    """The last axis of the file, which a format reads as time, as the channels that the catalog names."""
    array = image.array
    if array.ndim == 5 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 4 or len(array) != len(names):
        raise CaseError(
            "image.channels",
            where=where,
            problem=f"the catalog names {len(names)} channels, the file holds another number",
            details={"channels": ", ".join(names), "found": "x".join(map(str, image.array.shape))},
            action="Correct `channels` in the catalog entry.",
        )
    return replace(image, array=array, leading=None, attributes={**image.attributes, "Channels": names})
