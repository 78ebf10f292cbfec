"""Outlines in files that know pixels and no patient: LIDC-IDRI's XML, CASCADE's QVS, polygons in JSON.

Their points mean something on one image only, which the request's `grid` states; the outlines come in its index space.
"""

from __future__ import annotations

from medshard.converters.annotations import lidc_xml, outline_json, qvs
from medshard.converters.annotations.annotation_format import AnnotationFormat
from medshard.converters.annotations.segments import OutlineSet
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import ANY, Files, Request, installed_versions
from medshard.converters.volume import Affine


def read_lidc(files: Files, request: Request = ANY) -> OutlineSet:
    """Raises CaseError[annotation.no_image] without a grid, and what `lidc_xml.outlines` raises."""
    shape, affine = _grid(files, request)
    return lidc_xml.outlines(files, shape, affine)


def read_qvs(files: Files, request: Request = ANY) -> OutlineSet:
    """Raises CaseError[annotation.no_image] without a grid, and what `qvs.outlines` raises."""
    shape, _ = _grid(files, request)
    return qvs.outlines(files, shape)


def read_json(files: Files, request: Request = ANY) -> OutlineSet:
    """Raises what `outline_json.outlines` raises."""
    return outline_json.outlines(files)


def decoders() -> dict[str, str]:
    return installed_versions("numpy")


def _grid(files: Files, request: Request) -> tuple[tuple[int, int, int], Affine]:
    if request.grid is None:
        raise bad_file(
            "annotation.no_image",
            files[0],
            "the outlines are in pixels of an image, and the case has none",
            action="Give the case an image in the entry's layout.",
        )
    return request.grid


FORMATS = (
    AnnotationFormat(name="lidc-xml", suffixes=(".xml",), sniff=lidc_xml.sniff, read=read_lidc, decoders=decoders),
    AnnotationFormat(name="qvs", suffixes=(".QVS",), sniff=qvs.sniff, read=read_qvs, decoders=decoders),
    AnnotationFormat(
        name="outline-json", suffixes=(".json",), sniff=outline_json.sniff, read=read_json, decoders=decoders
    ),
)
