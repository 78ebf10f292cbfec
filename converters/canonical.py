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

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medshard.converters.canonical_contents import read_contents, write_contents
from medshard.converters.canonical_nodes import (
    CONTENTS,
    FORMAT_VERSION,
    IMAGE_SHUFFLE,
    check_names,
    image_document,
    layer_document,
    layer_shuffle,
    medshard_of,
    open_case,
    read_image_node,
    read_layer_node,
)
from medshard.converters.ome_metadata import OME_VERSION, image_label, multiscale
from medshard.converters.pyramid import Level, Reduction, halved, pyramid_plan
from medshard.converters.spooling import IN_MEMORY, Spool, is_spooled
from medshard.converters.stacked import read_stacked, refuse_stack
from medshard.converters.volume import Array, Image, LabelLayer, Volume, spacing_of
from medshard.converters.zarr_nodes import Shuffle, voxel_form, write_array, write_group


def write_volume(volume: Volume, folder: Path, *, pyramid_levels: int = 0, threads: int | None = None) -> None:
    """Write a case into a new folder.

    pyramid_levels: how many smaller copies each image and label layer gets at most.
    threads: how many compress; None for every available core. The bytes do not depend on it.
    Raises CaseError[canonical.bad_name] for a name that is no file name, [canonical.not_finite] for numbers that JSON
    does not have; FileExistsError when the folder is not empty.
    """
    check_names(volume)
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


def read_volume(folder: Path, row: int | None = None) -> Volume:
    """The case in a folder that `write_volume` wrote, or, with its row, out of a stack that `write_stack` wrote.

    Raises StoreError[store.format_version] for another format, [stack.row] for a row too many, one that is missing, or
    one that the stack does not have.
    """
    if row is not None:
        return next(read_stacked(folder, [row]))
    root = open_case(folder)
    case = medshard_of(root)
    refuse_stack(folder, case)
    return Volume(
        entry=case["entry"],
        case=case["case"],
        patient=case["patient"],
        images={name: read_image_node(root[f"images/{name}"]) for name in case.get("images", ())},
        labels={name: read_layer_node(root[f"labels/{name}"]) for name in case.get("labels", ())},
        **read_contents(root, folder, case),
    )


def read_volume_image(folder: Path, name: str) -> Image:
    """One image of a case, without reading the rest. Raises KeyError when there is none of that name."""
    return read_image_node(open_case(folder)[f"images/{name}"])


def read_volume_layer(folder: Path, name: str) -> LabelLayer:
    """One label layer of a case, without reading the rest. Raises KeyError when there is none of that name."""
    return read_layer_node(open_case(folder)[f"labels/{name}"])


def _write_image(parent: Path, name: str, image: Image, *, levels: int, threads: int | None) -> None:
    plan = pyramid_plan(image.shape, image.spacing_mm, levels, keep_z=image.rescale.per_slice)
    scales = multiscale(name, image.affine, dimensions=image.array.ndim, levels=plan, leading=image.leading)
    facts = image_document(image)
    write_group(parent / name, {"ome": {"version": OME_VERSION, "multiscales": [scales]}, "medshard": facts})
    _write_levels(parent / name, image.array, plan, reduction="mean", shuffle=IMAGE_SHUFFLE, threads=threads)


def _write_layer(
    parent: Path, name: str, layer: LabelLayer, *, source: str | None, levels: int, threads: int | None
) -> None:
    soft = layer.kind == "soft"
    reduction: Reduction = "mean" if soft else "mode"
    plan = pyramid_plan(layer.shape, spacing_of(layer.affine), levels, keep_z=layer.rescale.per_slice)
    scales = multiscale(name, layer.affine, dimensions=layer.array.ndim, levels=plan, reduction=reduction)
    # OME image-label is for arrays of integers whose values name objects; a soft layer is an image to it.
    named = {} if soft else {"image-label": image_label(layer, source)}
    ome = {"version": OME_VERSION, "multiscales": [scales], **named}
    write_group(parent / name, {"ome": ome, "medshard": layer_document(layer)})
    _write_levels(parent / name, layer.array, plan, reduction=reduction, shuffle=layer_shuffle(layer), threads=threads)


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
