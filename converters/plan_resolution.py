"""From what an entry declares and what its volumes look like to a frozen plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medshard.converters.fingerprint import Facts, merge_foregrounds, rounded
from medshard.converters.plan import FrameRule, IntensityRule, Plan, Shape, TileRule, Triple, declaration_digest
from medshard.errors import CatalogError

TILE_KEYS = ("tile_size", "microns_per_pixel", "least_tissue")
FRAME_KEYS = ("frames_hz", "most_frames")
KEYS = (
    *("channels", "spacing_mm", "kernel", "antialias", "patch_size", "inner_chunk", "shard_mib"),
    *TILE_KEYS,
    *FRAME_KEYS,
)
KERNELS = ("cubic", "linear", "nearest")
SPACING_DECIMALS = 4

# An axis is treated as slices when its voxels are this many times longer and fewer than those of the other axes
# (Isensee et al., "nnU-Net", Nature Methods 2021, supplementary note 2).
ANISOTROPY = 3.0
SLICE_PERCENTILE = 10.0


def resolve_plan(name: str, entry: str, declaration: Mapping[str, Any], fingerprints: Mapping[str, Facts]) -> Plan:
    """The plan that a declaration becomes on the volumes of an entry.

    declaration: any of channels, spacing_mm ("median", "native" or three numbers (z, y, x)), kernel, antialias,
        patch_size, inner_chunk and shard_mib; what is left out, or None, follows from the fingerprints. Its digest is
        the plan's `recipe_digest`.
    fingerprints: case -> facts of `fingerprint_volume`.

    channels: without a declaration the first image name that all cases with images share, else the most common.
    spacing_mm: see `median_spacing`; None (native) where no case has trusted geometry and more than one slice.
    patch_size, inner_chunk: (32, 96, 96) and (16, 32, 32); (1, 256, 256) and (1, 64, 64) where all images are 2-D.
    tiles, frames: where the first channel is a slide or a video; a patch is one tile, or 256 x 256 of one frame.
    intensity: CT in HU gets the scheme `dataset`: clip to the 0.5th and 99.5th percentile of the foreground, then its
        mean and standard deviation. Foreground are the labelled voxels of the cases that have labels, else those above
        -500 HU. Everything else gets the scheme `case`.

    Numbers are rounded, spacing to 4 decimals and intensities to 6 significant digits, so that plans are stable.
    Raises CatalogError[plan.unknown_key] and CatalogError[plan.wrong_value].
    """
    where = f"{entry} plans.{name}"
    given = {key: value for key, value in declaration.items() if value is not None}
    _check_declaration(given, where)
    channels = tuple(given.get("channels") or _default_channels(fingerprints))
    references = _images(fingerprints, channels[:1])
    tiles = _tile_rule(given) if _are(channels, "slides", fingerprints) else None
    frames = _frame_rule(given) if _are(channels, "videos", fingerprints) else None
    flat = frames is not None or (bool(references) and all(image["shape"][0] == 1 for image in references))
    patch, chunk = ((1, 256, 256), (1, 64, 64)) if flat else ((32, 96, 96), (16, 32, 32))
    if tiles is not None:
        patch = chunk = (1, tiles.size, tiles.size)
    spacing = given.get("spacing_mm", "median")
    return Plan(
        name=name,
        entry=entry,
        recipe_digest=declaration_digest(declaration),
        channels=channels,
        spacing_mm=_resolve_spacing(spacing, references),
        kernel=given.get("kernel", "cubic"),
        antialias=given.get("antialias", True),
        patch_size=_shape(given.get("patch_size", patch)),
        inner_chunk=_shape(given.get("inner_chunk", chunk)),
        shard_bytes=int(given.get("shard_mib", 512)) << 20,
        intensity=_intensity_rules(_images(fingerprints, channels)),
        tiles=tiles,
        frames=frames,
    )


def median_spacing(spacings: Sequence[Sequence[float]], shapes: Sequence[Sequence[int]]) -> Triple:
    """Median voxel size per axis (z, y, x), with nnU-Net's rule for thick slices.

    When the coarsest axis is more than 3 times the next coarsest and has fewer than a third of its voxels, it takes the
    10th percentile of its spacings instead, so that thin slices are not thrown away; but it never gets finer than the
    other axes (Isensee et al., Nature Methods 2021, supplementary note 2).
    """
    table = np.array(spacings, np.float64)
    target = np.median(table, axis=0)
    voxels = np.median(np.array(shapes, np.float64), axis=0)
    worst = int(np.argmax(target))
    others = [axis for axis in range(3) if axis != worst]
    next_coarsest = float(target[others].max())
    if target[worst] > ANISOTROPY * next_coarsest and voxels[worst] * ANISOTROPY < voxels[others].min():
        target[worst] = max(float(np.percentile(table[:, worst], SLICE_PERCENTILE)), next_coarsest)
    z, y, x = (round(float(step), SPACING_DECIMALS) for step in target)
    return z, y, x


def _check_declaration(given: Mapping[str, Any], where: str) -> None:
    unknown = sorted(set(given) - set(KEYS))
    if unknown:
        raise CatalogError(
            "plan.unknown_key",
            where=where,
            problem=f"a plan has no field {', '.join(unknown)}",
            details={"fields": ", ".join(KEYS)},
        )
    spacing = given.get("spacing_mm", "median")
    wrong = {
        "channels": not given.get("channels", ("any",)) or isinstance(given.get("channels"), str),
        "spacing_mm": spacing not in ("median", "native")
        if isinstance(spacing, str)
        else not _positive_triple(spacing),
        "kernel": given.get("kernel", "cubic") not in KERNELS,
        "antialias": not isinstance(given.get("antialias", True), bool),
        "patch_size": not _positive_triple(given.get("patch_size", (1, 1, 1)), whole=True),
        "inner_chunk": not _positive_triple(given.get("inner_chunk", (1, 1, 1)), whole=True),
        "shard_mib": not given.get("shard_mib", 1) >= 1,
        "tile_size": not given.get("tile_size", 1) >= 1,
        "microns_per_pixel": not given.get("microns_per_pixel", 1) > 0,
        "least_tissue": not 0 <= given.get("least_tissue", 0) <= 1,
        "frames_hz": given.get("frames_hz", 1) != "all" and not given.get("frames_hz", 1) > 0,
        "most_frames": not given.get("most_frames", 1) >= 1,
    }
    if any(wrong.values()):
        key = next(key for key, is_wrong in wrong.items() if is_wrong)
        raise CatalogError(
            "plan.wrong_value",
            where=f"{where}.{key}",
            problem=f"{given[key]!r} is no value for {key}",
            details={"expected": _EXPECTED[key]},
        )


_EXPECTED = {
    "channels": "a list of one or more image names",
    "spacing_mm": '"median", "native" or three positive numbers (z, y, x)',
    "kernel": " | ".join(KERNELS),
    "antialias": "true or false",
    "patch_size": "three positive integers (z, y, x)",
    "inner_chunk": "three positive integers (z, y, x)",
    "shard_mib": "a size of at least 1",
    "tile_size": "pixels, at least 1",
    "microns_per_pixel": "a positive number",
    "least_tissue": "a share between 0 and 1",
    "frames_hz": 'frames per second, or "all"',
    "most_frames": "at least 1",
}


def _positive_triple(value: Any, *, whole: bool = False) -> bool:
    return (
        isinstance(value, tuple | list)
        and len(value) == 3
        and all(step > 0 and (not whole or step == int(step)) for step in value)
    )


def _default_channels(fingerprints: Mapping[str, Facts]) -> tuple[str, ...]:
    orders = [facts["image_order"] for _, facts in sorted(fingerprints.items()) if facts["image_order"]]
    # A Counter keeps the order of first sight, and so do ties of `most_common`.
    counts = Counter(name for order in orders for name in order)
    return tuple(name for name, _ in counts.most_common(1))


def _are(channels: Sequence[str], kind: str, fingerprints: Mapping[str, Facts]) -> bool:
    """Whether the first channel is a slide or a video."""
    return bool(channels) and any(channels[0] in facts.get(kind, {}) for facts in fingerprints.values())


def _tile_rule(given: Mapping[str, Any]) -> TileRule:
    names = {"tile_size": "size", "microns_per_pixel": "microns_per_pixel", "least_tissue": "least_tissue"}
    return TileRule(**{names[key]: given[key] for key in TILE_KEYS if key in given})


def _frame_rule(given: Mapping[str, Any]) -> FrameRule:
    rate = given.get("frames_hz", FrameRule.rate_hz)
    return FrameRule(rate_hz=None if rate == "all" else rate, most=given.get("most_frames", FrameRule.most))


def _images(fingerprints: Mapping[str, Facts], channels: Sequence[str]) -> list[Facts]:
    return [
        facts["images"][name]
        for _, facts in sorted(fingerprints.items())
        for name in channels
        if name in facts["images"]
    ]


def _resolve_spacing(spacing: Any, references: Sequence[Facts]) -> Triple | None:
    if spacing == "native":
        return None
    if not isinstance(spacing, str):
        z, y, x = (round(float(step), SPACING_DECIMALS) for step in spacing)
        return z, y, x
    known = [image for image in references if image["trusted_geometry"] and image["shape"][0] > 1]
    if not known:
        return None
    return median_spacing([image["spacing_mm"] for image in known], [image["shape"] for image in known])


def _intensity_rules(images: Sequence[Facts]) -> dict[str, IntensityRule]:
    return {
        modality: _intensity_rule(modality, [image for image in images if image["modality"] == modality])
        for modality in sorted({image["modality"] for image in images})
    }


def _intensity_rule(modality: str, images: Sequence[Facts]) -> IntensityRule:
    in_hu = modality == "CT" and all(image["unit"] == "HU" for image in images)
    foreground = merge_foregrounds(image["foreground"] for image in images) if in_hu else None
    if foreground is None or foreground["std"] == 0.0:
        return IntensityRule(scheme="case")
    return IntensityRule(
        scheme="dataset",
        clip=(foreground["p0_5"], foreground["p99_5"]),
        mean=rounded(foreground["mean"]),
        std=rounded(foreground["std"]),
    )


def _shape(value: Sequence[int]) -> Shape:
    z, y, x = (int(n) for n in value)
    return z, y, x
