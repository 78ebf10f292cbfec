"""What canonical Zarr says of images and label layers, and how its groups are opened (`canonical`, `stacked`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.canonical_contents import CONTENTS as FURTHER
from medshard.converters.volume import Array, Image, LabelLayer, LeadingAxis, Rescale, Volume
from medshard.converters.zarr_nodes import Shuffle
from medshard.errors import CaseError, StoreError

# 2: leading axis, acquisition attributes, further concepts, ignored values, colours; one shard for every array.
# 3: slides, videos, signals, tables, texts and annotations; labels on meshes.
FORMAT_VERSION = 3

# What a case may have, in the order in which it is written.
CONTENTS = ("images", "labels", *FURTHER)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

IMAGE_SHUFFLE: Shuffle = "bitshuffle"


def layer_shuffle(layer: LabelLayer) -> Shuffle:
    return "bitshuffle" if layer.kind == "soft" else "shuffle"


def image_document(image: Image) -> dict[str, Any]:
    """What an image means, as plain JSON; with its array all of it."""
    leading = image.leading
    return {
        "affine": image.affine.tolist(),
        "rescale": _rescale_document(image.rescale),
        "modality": image.modality,
        "sequence": image.sequence,
        "trusted_geometry": image.trusted_geometry,
        "leading": None if leading is None else {"kind": leading.kind, "values": _listed(leading.values)},
        "attributes": dict(sorted(image.attributes.items())),
    }


def image_of(array: Array, facts: Mapping[str, Any]) -> Image:
    """The image that has this document."""
    leading = facts["leading"]
    return Image(
        array=array,
        affine=np.array(facts["affine"], np.float64),
        rescale=_rescale(facts["rescale"]),
        modality=facts["modality"],
        sequence=facts["sequence"],
        trusted_geometry=facts["trusted_geometry"],
        leading=None if leading is None else LeadingAxis(kind=leading["kind"], values=_tupled(leading["values"])),
        attributes={
            name: tuple(value) if isinstance(value, list) else value for name, value in facts["attributes"].items()
        },
    )


def layer_document(layer: LabelLayer) -> dict[str, Any]:
    """What a label layer means, as plain JSON; with its array all of it."""
    return {
        "affine": layer.affine.tolist(),
        "rescale": _rescale_document(layer.rescale),
        "kind": layer.kind,
        "classes": {str(value): concept for value, concept in sorted(layer.classes.items())},
        "examined": list(layer.examined),
        "rater": layer.rater,
        "also": {str(value): list(concepts) for value, concepts in sorted(layer.also.items())},
        "ignore": list(layer.ignore),
        "colours": {str(value): colour for value, colour in sorted(layer.colours.items())},
    }


def layer_of(array: Array, facts: Mapping[str, Any]) -> LabelLayer:
    """The label layer that has this document."""
    return LabelLayer(
        array=array,
        affine=np.array(facts["affine"], np.float64),
        kind=facts["kind"],
        classes={int(value): concept for value, concept in facts["classes"].items()},
        examined=tuple(facts["examined"]),
        rater=facts["rater"],
        rescale=_rescale(facts["rescale"]),
        also={int(value): tuple(concepts) for value, concepts in facts["also"].items()},
        ignore=tuple(facts["ignore"]),
        colours={int(value): colour for value, colour in facts["colours"].items()},
    )


def read_image_node(group: Any) -> Image:
    return image_of(group["0"][...], medshard_of(group))


def read_layer_node(group: Any) -> LabelLayer:
    return layer_of(group["0"][...], medshard_of(group))


def open_case(folder: Path) -> Any:
    """The Zarr group of a case or a stack. Raises StoreError[store.format_version] for another format."""
    import zarr  # noqa: PLC0415 - a fifth of a worker's start, and what writes alone does not need it
    from zarr.storage import LocalStore  # noqa: PLC0415

    root = zarr.open_group(LocalStore(folder, read_only=True), mode="r", zarr_format=3)
    found = medshard_of(root).get("format_version")
    if found != FORMAT_VERSION:
        raise StoreError(
            "store.format_version",
            where=str(folder),
            problem="the case was written in another version of the format",
            details={"expected": FORMAT_VERSION, "found": found},
            action="Build the entry's volumes again, or install the medshard that wrote them.",
        )
    return root


def medshard_of(group: Any) -> dict[str, Any]:
    facts: dict[str, Any] = group.attrs["medshard"]
    return facts


def check_names(volume: Volume) -> None:
    """Raise CaseError[canonical.bad_name] for a name that is no file name."""
    names: Iterable[str] = (name for kind in CONTENTS for name in getattr(volume, kind))
    bad = [name for name in names if not NAME.fullmatch(name)]
    if bad:
        raise CaseError(
            "canonical.bad_name",
            where=f"{volume.entry}/{volume.case}",
            problem="what a case holds needs names of letters, digits, '.', '_' and '-'",
            details={"found": ", ".join(map(repr, bad))},
            action="Rename them in the entry's layout.",
        )


def _rescale_document(rescale: Rescale) -> dict[str, Any]:
    """Numbers per slice as a list, or, where they are all equal, as one number and how often it stands there."""
    return {
        "slope": _compact(rescale.slope),
        "intercept": _compact(rescale.intercept),
        "unit": rescale.unit,
    }


def _rescale(document: dict[str, Any]) -> Rescale:
    return Rescale(
        slope=_expanded(document["slope"]), intercept=_expanded(document["intercept"]), unit=document["unit"]
    )


def _compact(numbers: tuple[float, ...]) -> list[float] | dict[str, float]:
    if len(numbers) > 1 and len(set(numbers)) == 1:
        return {"value": numbers[0], "times": len(numbers)}
    return list(numbers)


def _expanded(stored: Any) -> tuple[float, ...]:
    return (stored["value"],) * stored["times"] if isinstance(stored, dict) else tuple(stored)


def _listed(values: tuple[float, ...] | None) -> list[float] | None:
    return None if values is None else list(values)


def _tupled(values: list[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values)
