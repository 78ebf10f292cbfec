"""`Volume` <-> canonical Zarr: a Zarr v3 group with OME-Zarr 0.5 metadata.

    zarr.json                     attributes "medshard": format_version, entry, case, patient, names in order
    images/<name>/                OME-Zarr multiscales group; "medshard": affine, rescale, modality, ...
    images/<name>/0               the array (c, z, y, x) or (t, c, z, y, x), in its own dtype
    labels/<layer>/, labels/<layer>/0   likewise, with OME image-label metadata
    meshes/<name>/vertices, faces

OME-Zarr 0.5 has a scale and a translation per axis. A plain OME reader therefore sees voxel size and the position of
the first voxel along Superior, Anterior and Right, which is exact for an axis-aligned volume in canonical orientation;
rotation, shear and flips of other volumes, the rescale and its unit, and which concepts were examined stand in our
attributes alone. Volumes are stored as given; `geometry.canonical_volume` comes first.

Equal volumes become equal bytes. An array is one file (a Zarr shard) and its `zarr.json`.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec
from zarr.storage import LocalStore

from medshard.converters.volume import Affine, Array, Image, LabelLayer, Mesh, Rescale, Volume, spacing_of
from medshard.errors import CaseError
from medshard.registry.store.objects import check_format_version

FORMAT_VERSION = 1
OME_VERSION = "0.5"

# (z, y, x) of what is decoded at once.
INNER_CHUNK = (64, 128, 128)
# Bit shuffle, measured on lung1 (CT, int16, 25 MB) and brain1 (MR, int16, 3.3 MB) of pyradiomics 3.0.1, in MB: zstd
# alone 12.1 and 2.01; blosc byte shuffle 10.7 and 1.70; blosc bit shuffle 10.4 and 1.68, and it was the fastest.
COMPRESSOR = BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def write_volume(volume: Volume, folder: Path) -> None:
    """Write a case into a new folder.

    Raises CaseError[canonical.bad_name] for a name that is no file name; FileExistsError when the folder is not empty.
    """
    _check_names(volume)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(folder)
    case = {
        "format_version": FORMAT_VERSION,
        "entry": volume.entry,
        "case": volume.case,
        "patient": volume.patient,
        "images": list(volume.images),
        "labels": list(volume.labels),
        "meshes": list(volume.meshes),
    }
    root = zarr.create_group(LocalStore(folder), zarr_format=3, attributes={"medshard": case})
    images = root.create_group("images")
    for name, image in volume.images.items():
        _write_image(images, name, image)
    if volume.labels:
        ome = {"version": OME_VERSION, "labels": list(volume.labels)}
        labels = root.create_group("labels", attributes={"ome": ome})
        for name, layer in volume.labels.items():
            _write_layer(labels, name, layer)
    if volume.meshes:
        meshes = root.create_group("meshes")
        for name, mesh in volume.meshes.items():
            _write_mesh(meshes, name, mesh)


def read_volume(folder: Path) -> Volume:
    """The case in a folder that `write_volume` wrote. Raises StoreError[store.format_version] for another format."""
    root = _open(folder)
    case = _medshard(root)
    return Volume(
        entry=case["entry"],
        case=case["case"],
        patient=case["patient"],
        images={name: _read_image(root[f"images/{name}"]) for name in case["images"]},
        labels={name: _read_layer(root[f"labels/{name}"]) for name in case["labels"]},
        meshes={name: _read_mesh(root[f"meshes/{name}"]) for name in case["meshes"]},
    )


def read_volume_image(folder: Path, name: str) -> Image:
    """One image of a case, without reading the rest. Raises KeyError when there is none of that name."""
    return _read_image(_open(folder)[f"images/{name}"])


def read_volume_layer(folder: Path, name: str) -> LabelLayer:
    """One label layer of a case, without reading the rest. Raises KeyError when there is none of that name."""
    return _read_layer(_open(folder)[f"labels/{name}"])


def _write_image(parent: Any, name: str, image: Image) -> None:
    facts = {
        "affine": image.affine.tolist(),
        "rescale": asdict(image.rescale),
        "modality": image.modality,
        "sequence": image.sequence,
        "trusted_geometry": image.trusted_geometry,
    }
    ome = {"version": OME_VERSION, "multiscales": [_multiscale(name, image.array, image.affine)]}
    group = parent.create_group(name, attributes={"ome": ome, "medshard": facts})
    _write_array(group, "0", image.array, _axis_names(image.array))


def _read_image(group: Any) -> Image:
    facts = _medshard(group)
    return Image(
        array=group["0"][...],
        affine=np.array(facts["affine"], np.float64),
        rescale=_rescale(facts["rescale"]),
        modality=facts["modality"],
        sequence=facts["sequence"],
        trusted_geometry=facts["trusted_geometry"],
    )


def _write_layer(parent: Any, name: str, layer: LabelLayer) -> None:
    facts = {
        "affine": layer.affine.tolist(),
        "rescale": asdict(layer.rescale),
        "kind": layer.kind,
        "classes": {str(value): concept for value, concept in sorted(layer.classes.items())},
        "examined": list(layer.examined),
        "rater": layer.rater,
    }
    ome: dict[str, Any] = {"version": OME_VERSION, "multiscales": [_multiscale(name, layer.array, layer.affine)]}
    if layer.kind != "soft":
        # OME image-label is for arrays of integers whose values name objects; a soft layer is an image to it.
        ome["image-label"] = _image_label(layer)
    group = parent.create_group(name, attributes={"ome": ome, "medshard": facts})
    _write_array(group, "0", layer.array, _axis_names(layer.array))


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
    )


def _write_mesh(parent: Any, name: str, mesh: Mesh) -> None:
    group = parent.create_group(name, attributes={"medshard": {"unit": mesh.unit}})
    _write_array(group, "vertices", mesh.vertices, ("vertex", "xyz"))
    _write_array(group, "faces", mesh.faces, ("face", "corner"))


def _read_mesh(group: Any) -> Mesh:
    return Mesh(vertices=group["vertices"][...], faces=group["faces"][...], unit=_medshard(group)["unit"])


def _write_array(group: Any, name: str, array: Array, axes: tuple[str, ...]) -> None:
    """One array, as one Zarr shard where it has more than one chunk. Empty chunks (all zero) take no space."""
    chunks, shards = chunk_shapes(array.shape, spatial="z" in axes)
    stored = group.create_array(
        name,
        shape=array.shape,
        dtype=array.dtype,
        chunks=chunks,
        shards=shards,
        compressors=COMPRESSOR,
        fill_value=0,
        dimension_names=axes,
    )
    stored[...] = array


def chunk_shapes(shape: tuple[int, ...], *, spatial: bool) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Inner chunks and the shard of an array; the shard is None where one chunk holds everything."""
    wanted = (1,) * (len(shape) - 3) + INNER_CHUNK if spatial else shape
    chunks = tuple(max(1, min(side, n)) for side, n in zip(wanted, shape, strict=True))
    shard = tuple(-(-n // side) * side for side, n in zip(chunks, shape, strict=True))
    return chunks, None if shard == chunks else shard


def _multiscale(name: str, array: Array, affine: Affine) -> dict[str, Any]:
    """OME multiscales metadata of one array at one scale."""
    leading = array.ndim - 3
    axes: list[dict[str, str]] = [{"name": "t", "type": "time"}] if leading == 2 else []
    axes += [{"name": "c", "type": "channel"}]
    axes += [{"name": axis, "type": "space", "unit": "millimeter"} for axis in "zyx"]
    # World coordinates in the order Superior, Anterior, Right: what z, y and x are in canonical orientation.
    first_voxel = [float(affine[row, 3]) for row in (2, 1, 0)]
    transforms = [
        {"type": "scale", "scale": [1.0] * leading + list(spacing_of(affine))},
        {"type": "translation", "translation": [0.0] * leading + first_voxel},
    ]
    return {"name": name, "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": transforms}]}


def _image_label(layer: LabelLayer) -> dict[str, Any]:
    values = sorted(layer.classes)
    return {
        "colors": [{"label-value": value, "rgba": _colour(value)} for value in values],
        "properties": [{"label-value": value, "concept": layer.classes[value]} for value in values],
    }


def _colour(value: int) -> list[int]:
    """A colour for a label value; neighbours differ, since steps of the golden ratio spread hues evenly."""
    red, green, blue = colorsys.hsv_to_rgb(value * 0.618033988749895 % 1.0, 0.75, 0.95)
    return [round(255 * red), round(255 * green), round(255 * blue), 255]


def _axis_names(array: Array) -> tuple[str, ...]:
    return ("t", "c", "z", "y", "x")[5 - array.ndim :]


def _rescale(document: dict[str, Any]) -> Rescale:
    return Rescale(slope=tuple(document["slope"]), intercept=tuple(document["intercept"]), unit=document["unit"])


def _open(folder: Path) -> Any:
    root = zarr.open_group(LocalStore(folder, read_only=True), mode="r", zarr_format=3)
    check_format_version(_medshard(root), where=str(folder))
    return root


def _medshard(group: Any) -> dict[str, Any]:
    facts: dict[str, Any] = group.attrs["medshard"]
    return facts


def _check_names(volume: Volume) -> None:
    names: Iterable[str] = (*volume.images, *volume.labels, *volume.meshes)
    bad = [name for name in names if not NAME.fullmatch(name)]
    if bad:
        raise CaseError(
            "canonical.bad_name",
            where=f"{volume.entry}/{volume.case}",
            problem="images, label layers and meshes need names of letters, digits, '.', '_' and '-'",
            details={"found": ", ".join(map(repr, bad))},
            action="Rename them in the entry's layout.",
        )
