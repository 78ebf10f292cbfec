"""`Volume` <-> canonical Zarr: a Zarr v3 group with OME-Zarr 0.5 metadata.

    zarr.json                     attributes "medshard": format_version, entry, case, patient, names in order
    images/<name>/                OME-Zarr multiscales group; "medshard": affine, rescale, modality, leading axis, ...
    images/<name>/0               the array (c, z, y, x) or (t, c, z, y, x), in its own dtype; 1, 2, ... smaller copies
    labels/<layer>/, labels/<layer>/0   likewise, with OME image-label metadata
    meshes/, slides/, videos/, signals/, tables/, texts/, annotations/    as `canonical_contents` says

What OME-Zarr has no place for stands in our attributes alone: rotation, shear and flips, the rescale and its unit, what
the leading axis counts, which concepts were examined. Volumes are stored as given, views and spooled arrays without a
copy; `geometry.canonical_volume` comes first. Smaller copies are made on request (`pyramid`); they are not read back.

Equal volumes become equal bytes. An array is one file (a Zarr shard) and its `zarr.json`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.canonical_contents import CONTENTS as FURTHER
from medshard.converters.canonical_contents import read_contents, write_contents
from medshard.converters.ome_metadata import OME_VERSION, image_label, multiscale
from medshard.converters.pyramid import Level, Reduction, halved, pyramid_plan
from medshard.converters.spooling import IN_MEMORY, Spool, is_spooled
from medshard.converters.volume import Array, Image, LabelLayer, LeadingAxis, Rescale, Volume, spacing_of
from medshard.converters.zarr_nodes import Shuffle, voxel_form, write_array, write_group
from medshard.errors import CaseError, StoreError

# 2: leading axis, acquisition attributes, further concepts, ignored values, colours; one shard for every array.
# 3: slides, videos, signals, tables, texts and annotations; labels on meshes.
FORMAT_VERSION = 3

# What a case may have, in the order in which it is written.
CONTENTS = ("images", "labels", *FURTHER)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def write_volume(volume: Volume, folder: Path, *, pyramid_levels: int = 0, threads: int | None = None) -> None:
    """Write a case into a new folder.

    pyramid_levels: how many smaller copies each image and label layer gets at most.
    threads: how many compress; None for every available core. The bytes do not depend on it.
    Raises CaseError[canonical.bad_name] for a name that is no file name, [canonical.not_finite] for numbers that JSON
    does not have; FileExistsError when the folder is not empty.
    """
    _check_names(volume)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(folder)
    case = {
        "format_version": FORMAT_VERSION,
        "entry": volume.entry,
        "case": volume.case,
        "patient": volume.patient,
        **{kind: list(getattr(volume, kind)) for kind in CONTENTS if getattr(volume, kind)},
    }
    write_group(folder, {"medshard": case})
    if volume.images:
        write_group(folder / "images")
    for name, image in volume.images.items():
        _write_image(folder / "images", name, image, levels=pyramid_levels, threads=threads)
    if volume.labels:
        write_group(folder / "labels", {"ome": {"version": OME_VERSION, "labels": list(volume.labels)}})
    for name, layer in volume.labels.items():
        source = _image_on_grid(volume, layer)
        _write_layer(folder / "labels", name, layer, source=source, levels=pyramid_levels, threads=threads)
    write_contents(volume, folder, threads=threads)


def read_volume(folder: Path) -> Volume:
    """The case in a folder that `write_volume` wrote. Raises StoreError[store.format_version] for another format."""
    root = _open(folder)
    case = _medshard(root)
    return Volume(
        entry=case["entry"],
        case=case["case"],
        patient=case["patient"],
        images={name: _read_image(root[f"images/{name}"]) for name in case.get("images", ())},
        labels={name: _read_layer(root[f"labels/{name}"]) for name in case.get("labels", ())},
        **read_contents(root, folder, case),
    )


def read_volume_image(folder: Path, name: str) -> Image:
    """One image of a case, without reading the rest. Raises KeyError when there is none of that name."""
    return _read_image(_open(folder)[f"images/{name}"])


def read_volume_layer(folder: Path, name: str) -> LabelLayer:
    """One label layer of a case, without reading the rest. Raises KeyError when there is none of that name."""
    return _read_layer(_open(folder)[f"labels/{name}"])


def _write_image(parent: Path, name: str, image: Image, *, levels: int, threads: int | None) -> None:
    leading = image.leading
    facts = {
        "affine": image.affine.tolist(),
        "rescale": _rescale_document(image.rescale),
        "modality": image.modality,
        "sequence": image.sequence,
        "trusted_geometry": image.trusted_geometry,
        "leading": None if leading is None else {"kind": leading.kind, "values": _listed(leading.values)},
        "attributes": dict(sorted(image.attributes.items())),
    }
    plan = pyramid_plan(image.shape, image.spacing_mm, levels, keep_z=image.rescale.per_slice)
    scales = multiscale(name, image.affine, dimensions=image.array.ndim, levels=plan, leading=leading)
    write_group(parent / name, {"ome": {"version": OME_VERSION, "multiscales": [scales]}, "medshard": facts})
    _write_levels(parent / name, image.array, plan, reduction="mean", shuffle="bitshuffle", threads=threads)


def _read_image(group: Any) -> Image:
    facts = _medshard(group)
    leading = facts["leading"]
    return Image(
        array=group["0"][...],
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


def _write_layer(
    parent: Path, name: str, layer: LabelLayer, *, source: str | None, levels: int, threads: int | None
) -> None:
    facts = {
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
    soft = layer.kind == "soft"
    reduction: Reduction = "mean" if soft else "mode"
    plan = pyramid_plan(layer.shape, spacing_of(layer.affine), levels, keep_z=layer.rescale.per_slice)
    scales = multiscale(name, layer.affine, dimensions=layer.array.ndim, levels=plan, reduction=reduction)
    # OME image-label is for arrays of integers whose values name objects; a soft layer is an image to it.
    named = {} if soft else {"image-label": image_label(layer, source)}
    ome = {"version": OME_VERSION, "multiscales": [scales], **named}
    write_group(parent / name, {"ome": ome, "medshard": facts})
    shuffle: Shuffle = "bitshuffle" if soft else "shuffle"
    _write_levels(parent / name, layer.array, plan, reduction=reduction, shuffle=shuffle, threads=threads)


def _read_layer(group: Any) -> LabelLayer:
    facts = _medshard(group)
    return LabelLayer(
        array=group["0"][...],
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


def _write_levels(
    folder: Path, array: Array, plan: Sequence[Level], *, reduction: Reduction, shuffle: Shuffle, threads: int | None
) -> None:
    """The array and its smaller copies, of which those of a spooled array are spooled too."""
    write_array(folder / "0", array, voxel_form(array, shuffle), threads=threads)
    spool = Spool(folder=folder) if is_spooled(array) else IN_MEMORY
    for number, level in enumerate(plan, start=1):
        array = halved(array, level.halved, reduction, spool)
        write_array(folder / str(number), array, voxel_form(array, shuffle), threads=threads)


def _image_on_grid(volume: Volume, layer: LabelLayer) -> str | None:
    """Path from a layer's folder to the first image on its grid."""
    for name, image in volume.images.items():
        if image.shape == layer.shape and np.array_equal(image.affine, layer.affine):
            return f"../../images/{name}"
    return None


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


def _open(folder: Path) -> Any:
    import zarr  # noqa: PLC0415 - a fifth of a worker's start, and what writes alone does not need it
    from zarr.storage import LocalStore  # noqa: PLC0415

    root = zarr.open_group(LocalStore(folder, read_only=True), mode="r", zarr_format=3)
    found = _medshard(root).get("format_version")
    if found != FORMAT_VERSION:
        raise StoreError(
            "store.format_version",
            where=str(folder),
            problem="the case was written in another version of the format",
            details={"expected": FORMAT_VERSION, "found": found},
            action="Build the entry's volumes again, or install the medshard that wrote them.",
        )
    return root


def _medshard(group: Any) -> dict[str, Any]:
    facts: dict[str, Any] = group.attrs["medshard"]
    return facts


def _check_names(volume: Volume) -> None:
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
