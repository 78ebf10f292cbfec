"""NRRD: `.nrrd` with its data, or `.nhdr` beside one or several data files.

Every axis gets a role. An axis whose kind is a list, a vector, a colour, a matrix and the like becomes the channels,
wherever it stands; the others are x, y, z in the order of the file, and one more becomes the leading axis. Oracle:
SimpleITK. Beyond it we read, by rules of our own:

- an axis without a direction and without a kind, in a file that states directions: the channels where it is the fastest
  axis, the leading axis elsewhere (SimpleITK refuses it);
- two axes with directions in a space of three: a single slice, whose normal is their cross product, 1 mm thick;
- `spacings` beside a `space`: spacing is known, orientation is assumed;
- gzip and bzip2 data whose checksum fails are refused, where SimpleITK stops reading at the last voxel.

A file that states no `space` has spacing at most, and no orientation. `measurement frame`, `content`, comments and
key/value pairs are not looked at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medshard.converters.formats.data_files import StoredVoxels, read_stored, require_capacity, require_named
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import (
    ANY,
    Files,
    Format,
    Header,
    Request,
    installed_versions,
    narrowed,
)
from medshard.converters.formats.nrrd_geometry import Geometry, directions, geometry_of
from medshard.converters.formats.nrrd_header import header_fields, is_nrrd, read_text_header
from medshard.converters.formats.nrrd_voxels import data_files_of, stated_sizes, stored_voxels
from medshard.converters.volume import Array, Image, LeadingAxis

__all__ = ["FORMAT", "data_file_names", "header_fields", "read", "read_header", "sniff"]

ASSUMED_ROLE = "an axis has no direction and no kind: channels if it is the fastest, else one image after the other"
UNSAID = ("???", "none")
SPATIAL_KINDS = ("domain", "space", "time", *UNSAID)

Role = Literal["space", "channel", "leading", "none"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a NRRD file holds. roles: of each axis, the fastest first, as the file counts them."""

    voxels: StoredVoxels
    roles: tuple[Role, ...]
    geometry: Geometry
    leading: LeadingAxis | None
    warnings: tuple[str, ...]

    def count(self, role: Role) -> int:
        """Steps along the axes of a role."""
        sizes = reversed(self.voxels.shape)
        return math.prod(size for size, found in zip(sizes, self.roles, strict=True) if found == role)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x)"""
        sizes = reversed(self.voxels.shape)
        x, y, z = ([size for size, role in zip(sizes, self.roles, strict=True) if role == "space"] + [1])[:3]
        return z, y, x


def sniff(files: Files) -> bool:
    return any(is_nrrd(path) for path in files)


def read_header(files: Files, request: Request = ANY) -> Header:
    """Header of a NRRD file."""
    path = _header_file(files)
    layout = _layout(path)
    require_named(files, path, data_file_names(path))
    require_capacity(path, layout.voxels)
    return Header(
        format=FORMAT.name,
        shape=layout.shape,
        channels=layout.count("channel"),
        timepoints=layout.count("leading"),
        affine=layout.geometry.affine,
        dtype=layout.voxels.dtype.name,
        trusted_geometry=layout.geometry.trusted,
        leading=layout.leading,
        warnings=layout.warnings,
    )


def read(files: Files, request: Request = ANY) -> Image:
    """The stored numbers, unscaled; (c, z, y, x), or (t, c, z, y, x)."""
    path = _header_file(files)
    layout = _layout(path)
    require_named(files, path, data_file_names(path))
    return Image(
        array=_arranged(layout, narrowed(read_stored(path, layout.voxels, request.spool), request.spool, reuse=True)),
        affine=layout.geometry.affine,
        trusted_geometry=layout.geometry.trusted,
        leading=layout.leading,
    )


def data_file_names(path: Path) -> tuple[str, ...]:
    """The data files that a header names, relative to its folder; none where it holds the voxels itself."""
    return data_files_of(path, read_text_header(path))


def _header_file(files: Files) -> Path:
    return next(path for path in files if is_nrrd(path))


def _arranged(layout: Layout, array: Array) -> Array:
    """A view, (c, z, y, x) or (t, c, z, y, x), of an array whose axes are those of the file, the slowest first."""
    roles = layout.roles[::-1]
    order = [axis for role in ("leading", "channel", "space") for axis, found in enumerate(roles) if found == role]
    order += [axis for axis, found in enumerate(roles) if found == "none"]
    channels, shape = layout.count("channel"), layout.shape
    steps = layout.count("leading")
    return array.transpose(order).reshape((steps, channels, *shape) if steps > 1 else (channels, *shape))


def _layout(path: Path) -> Layout:
    header = read_text_header(path)
    fields = header.fields
    sizes = stated_sizes(path, fields.get("dimension", ""), fields.get("sizes", ""))
    steps = directions(path, fields, len(sizes))
    kinds = _kinds(path, fields.get("kinds"), len(sizes))
    roles = _roles(path, kinds, steps, sizes)
    assumed = any(
        steps is not None and steps[axis] is None and kind in UNSAID and sizes[axis] > 1
        for axis, kind in enumerate(kinds)
    )
    spatial = [axis for axis, role in enumerate(roles) if role == "space"]
    geometry = geometry_of(path, fields, spatial, steps)
    return Layout(
        voxels=stored_voxels(path, header, sizes),
        roles=roles,
        geometry=geometry,
        leading=_leading(kinds, roles, sizes),
        warnings=(*geometry.warnings, *((ASSUMED_ROLE,) if assumed else ())),
    )


def _kinds(path: Path, text: str | None, count: int) -> tuple[str, ...]:
    if text is None:
        return ("???",) * count
    kinds = tuple(text.lower().split())
    if len(kinds) != count:
        raise bad_file(
            "read.unreadable",
            path,
            "kinds are not as many as axes",
            details={"expected": count, "found": len(kinds)},
        )
    if "complex" in kinds:
        raise bad_file("read.unsupported", path, "the voxels are complex numbers", details={"field": "kinds"})
    return kinds


def _roles(
    path: Path, kinds: tuple[str, ...], steps: tuple[tuple[float, ...] | None, ...] | None, sizes: tuple[int, ...]
) -> tuple[Role, ...]:
    """Raises CaseError[read.unsupported] unless the axes make two or three of space, one of channels, one leading."""
    roles: list[Role] = []
    for axis, (kind, size) in enumerate(zip(kinds, sizes, strict=True)):
        step = steps[axis] if steps is not None else None
        if step is not None and kind in (*SPATIAL_KINDS, "stub"):
            # An axis along the fourth component of a space with time alone is no axis of the body.
            roles.append("space" if any(step[:3]) or len(step) < 4 else "leading")
        elif step is not None:
            raise bad_file(
                "read.unreadable", path, "an axis of channels has a direction in space", details={"axis": axis}
            )
        elif kind not in SPATIAL_KINDS:
            roles.append("none" if kind == "stub" and size == 1 else "channel")
        elif steps is not None:
            roles.append("channel" if axis == 0 and kind in UNSAID else "leading")
        elif kind == "time" or roles.count("space") == 3:
            roles.append("leading")
        else:
            roles.append("space")
    if not 2 <= roles.count("space") <= 3 or roles.count("channel") > 1 or roles.count("leading") > 1:
        raise bad_file(
            "read.unsupported",
            path,
            "the axes are not two or three of space with at most one of channels and one of time",
            details={role: roles.count(role) for role in ("space", "channel", "leading")},
        )
    return tuple(roles)


def _leading(kinds: tuple[str, ...], roles: tuple[Role, ...], sizes: tuple[int, ...]) -> LeadingAxis | None:
    if "leading" not in roles or sizes[roles.index("leading")] == 1:
        return None
    return LeadingAxis(kind="time" if kinds[roles.index("leading")] == "time" else "other")


def decoders() -> dict[str, str]:
    return installed_versions("isal", "numpy")


FORMAT = Format(
    name="nrrd",
    kind="image",
    suffixes=(".nrrd", ".nhdr"),
    sniff=sniff,
    read_header=read_header,
    read=read,
    decoders=decoders,
)
