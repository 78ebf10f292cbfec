"""Declarations of plans as plain mappings, checked by the schema of the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from medshard.errors import CatalogError
from medshard.registry.schema.plans import PlanDeclaration

EXPECTED: Mapping[str, str] = {
    "kind": "volume | nnunet | isotropic | native | slices2d | tiles | frames | clips | pairs",
    "channels": "a list of one or more image names",
    "spacing_mm": '"median", "native" or three positive numbers (z, y, x); one number for the kind isotropic',
    "kernel": "cubic | linear | nearest",
    "antialias": "true or false",
    "patch_size": "three positive integers (z, y, x)",
    "inner_chunk": "three positive integers (z, y, x)",
    "shard_mib": "a size of at least 1",
    "slice_axis": "z | y | x",
    "tile_size": "pixels, at least 1",
    "microns_per_pixel": "a positive number",
    "least_tissue": "a share between 0 and 1",
    "frames_hz": 'frames per second, or "all"',
    "most_frames": "at least 1",
    "clip_frames": "at least 1",
    "clip_hz": "frames per second",
    "most_clips": "at least 1",
    "relation": "registration | views | grids",
}


def checked_declaration(declaration: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What a declaration says, without what is None, as plain JSON.

    Raises CatalogError[plan.unknown_key] and CatalogError[plan.wrong_value], which name the field.
    """
    given = {key: value for key, value in declaration.items() if value is not None}
    unknown = sorted(given.keys() - PlanDeclaration.model_fields.keys())
    if unknown:
        raise CatalogError(
            "plan.unknown_key",
            where=where,
            problem=f"a plan has no field {', '.join(unknown)}",
            details={"fields": ", ".join(PlanDeclaration.model_fields)},
        )
    try:
        return PlanDeclaration.model_validate(given).stated()
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        of_kind = fault["type"] == "plan_field"
        field = str(fault["ctx"]["field"] if of_kind else fault["loc"][0])
        raise CatalogError(
            "plan.wrong_value",
            where=f"{where}.{field}",
            problem=fault["msg"] if of_kind else f"{given[field]!r} is no value for {field}",
            details={"expected": EXPECTED[field], "found": given.get(field)},
        ) from error
