"""Which file of a label is which part of it: a class, an instance, a rater's word."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from medshard.pipelines.stages.case_payload import CasePayload
from medshard.registry.layout import label_templates
from medshard.registry.schema import LabelSpec
from medshard.registry.templates import fill, match_template, template_fields

CONTOURS = "contours"


@dataclass(frozen=True, kw_only=True)
class LabelPart:
    """Files that are one mask. value: of its class, where each has a file. instance, rater: as in the path."""

    files: tuple[str, ...]
    value: int | None = None
    instance: str | None = None
    rater: str | None = None


def label_sources(payload: CasePayload) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Name of a label of the layout -> its groups of files: the label layers, and annotations that are outlines.

    Those of a whole slide are not drawn: they stay polygons, which are no label layer.
    """
    outlines = {
        name: (payload.case.others.get(f"annotation {name}", ()),)
        for name, annotation in payload.group.annotations.items()
        if annotation.kind == CONTOURS and annotation.unread is None and not payload.slides
    }
    return {**payload.case.labels, **outlines}


def label_paths(payload: CasePayload, source: str) -> tuple[str, ...]:
    """The templates of the groups of files of `label_sources`, in their order."""
    spec = payload.group.labels.get(source)
    if spec is not None:
        return label_templates(spec)
    return tuple(path for name, path in payload.group.other_files.items() if name == f"annotation {source}")


def label_parts(payload: CasePayload, source: str) -> tuple[LabelPart, ...]:
    """The parts of a label that have files: raters in natural order, then classes as listed, then instances."""
    spec = payload.group.labels[source]
    groups = payload.case.labels[source]
    values: list[int | None] = list(spec.classes) if spec.per_class else [None]
    fields = payload.case.fields
    parts = [part for value, files in zip(values, groups, strict=True) for part in _split(spec, value, files, fields)]
    order = {value: number for number, value in enumerate(values)}
    return tuple(
        sorted(
            parts, key=lambda part: (natural_key(part.rater), order[part.value], natural_key(part.instance), part.files)
        )
    )


def _split(spec: LabelSpec, value: int | None, files: tuple[str, ...], fields: Mapping[str, str]) -> list[LabelPart]:
    template = spec.path or ""
    counted = {"instance", "rater"} & set(template_fields(template))
    if not counted:
        return [LabelPart(files=files, value=value)] if files else []
    named = fill(template, {**fields, **({"class": spec.names[value]} if value is not None else {})})
    groups: dict[tuple[str | None, str | None], list[str]] = {}
    for path in sorted(files):
        found = match_template(named, path) or match_template(template, path) or {}
        groups.setdefault((found.get("rater"), found.get("instance")), []).append(path)
    return [
        LabelPart(files=tuple(paths), value=value, rater=rater, instance=instance)
        for (rater, instance), paths in groups.items()
    ]


def natural_key(text: str | None) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts 2 before 10."""
    pieces = re.split(r"(\d+)", text or "")
    return tuple((0, int(piece), piece) if piece.isdecimal() else (1, 0, piece) for piece in pieces if piece)
