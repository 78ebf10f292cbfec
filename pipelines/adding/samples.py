"""What a few files of a family hold: grids and numbers of images, values and colours of masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medshard.converters.annotations.segments import OutlineSet, SegmentedImage
from medshard.converters.formats.format import Header
from medshard.converters.reading import read_annotation, read_header, read_image
from medshard.converters.volume import Array, Image
from medshard.errors import MedshardError
from medshard.pipelines.adding.keys import STAR, Family, Row, ending, spread
from medshard.pipelines.adding.walk import FoundFiles

MOST_BYTES = 256 << 20
"""A larger image is described by its header alone."""
MASKS_READ = 4
HEADERS_READ = 3
FEW_VALUES = 24
MOST_COLOURS = 64
_WHERE = "add"
_LOSSY = (".jpg", ".jpeg")
_SLICES_READ = 8


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """headers: of the sampled images, without those that failed. ranges: (least, most) of each that was read whole.

    failed: code of what could not be read, for each file that failed.
    """

    headers: tuple[Header, ...] = ()
    ranges: tuple[tuple[float, float], ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[float, float] | None:
        """Over all samples."""
        if not self.ranges:
            return None
        return min(least for least, _ in self.ranges), max(most for _, most in self.ranges)


@dataclass(frozen=True, kw_only=True)
class MaskFacts:
    """values: value -> voxels, over all samples. in_files: value -> samples that have it. files: samples read.

    colours: `#rrggbb` -> pixels, of masks that are colour pictures. lossy: stored with loss. fractional: values between
    whole numbers, or many greys. names: number -> what the file itself calls it. failed: codes of what was not read.
    shapes: (z, y, x) of the samples.
    """

    values: Mapping[int, int] = field(default_factory=dict)
    in_files: Mapping[int, int] = field(default_factory=dict)
    files: int = 0
    colours: Mapping[str, int] = field(default_factory=dict)
    lossy: bool = False
    fractional: bool = False
    names: Mapping[int, str] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    shapes: tuple[tuple[int, int, int], ...] = ()

    @property
    def foreground(self) -> tuple[int, ...]:
        return tuple(value for value in sorted(self.values) if value != 0)

    @property
    def is_binary(self) -> bool:
        return self.files > 0 and not self.colours and (len(self.foreground) <= 1 or self.needs_threshold)

    @property
    def needs_threshold(self) -> bool:
        """Greys of a mask that was stored with loss, near 0 and near 255."""
        return self.lossy and not self.colours and len(self.values) > 2 and max(self.values) > 200


def files_of(row: Row, found: FoundFiles) -> list[Path]:
    """The file of a row; of a series all files of its folder."""
    path = found.at(row.path)
    if row.parts[-1].key[0] != STAR:
        return [path]
    suffix = ending(path.name)
    siblings = (one for one in path.parent.iterdir() if one.is_file() and ending(one.name) == suffix)
    return sorted(siblings)


def image_facts(family: Family, found: FoundFiles) -> ImageFacts:
    """Headers of a few images, and the range of values of those that are not too large."""
    headers, ranges, failed = [], [], []
    for row in _one_per_folder(family, HEADERS_READ):
        files = files_of(row, found)
        try:
            header = read_header(files, where=_WHERE)
            headers.append(header)
            if header.voxel_bytes <= MOST_BYTES and header.vertices == 0:
                ranges.append(_range(read_image(files, where=_WHERE)))
        except (MedshardError, OSError) as error:
            failed.append(error.code if isinstance(error, MedshardError) else "read.unreadable")
    return ImageFacts(
        headers=tuple(headers), ranges=tuple(one for one in ranges if one is not None), failed=tuple(failed)
    )


def grid_asker(found: FoundFiles) -> Callable[[str, str], bool]:
    """Whether two image files have one shape (z, y, x); headers are read once."""
    shapes: dict[str, tuple[int, int, int] | None] = {}

    def shape(path: str) -> tuple[int, int, int] | None:
        if path not in shapes:
            try:
                shapes[path] = read_header([found.at(path)], where=_WHERE).shape
            except (MedshardError, OSError):
                shapes[path] = None
        return shapes[path]

    return lambda one, other: shape(one) is not None and shape(one) == shape(other)


def is_flat(family: Family, found: FoundFiles) -> bool:
    """Whether the first file holds a few whole numbers and mostly one of them, as masks do and scans do not."""
    if family.name[0] == STAR:
        return False
    try:
        files = [found.at(family.rows[0].path)]
        if read_header(files, where=_WHERE).voxel_bytes > MOST_BYTES:
            return False
        array = read_image(files, where=_WHERE).array
    except (MedshardError, OSError):
        return False
    if len(array) not in {1, 3}:
        return False
    values, counts = np.unique(_some_slices(array).reshape(len(array), -1), axis=1, return_counts=True)
    whole = np.array_equal(values, np.round(values))
    return whole and 1 < values.shape[1] <= FEW_VALUES and bool(counts.max() > counts.sum() // 4)


def mask_facts(family: Family, found: FoundFiles) -> MaskFacts:
    """What a few masks hold, the first, the last and some between."""
    values: Counter[int] = Counter()
    in_files: Counter[int] = Counter()
    colours: Counter[str] = Counter()
    names: dict[int, str] = {}
    shapes, failed = [], []
    fractional = False
    rows = _one_per_folder(family, MASKS_READ)
    for row in rows:
        try:
            read = read_annotation(files_of(row, found), where=_WHERE)
        except (MedshardError, OSError) as error:
            failed.append(error.code if isinstance(error, MedshardError) else "read.unreadable")
            continue
        if isinstance(read, OutlineSet):
            names.update({region.number: region.name for region in read.regions})
            continue
        shapes.append(read.shape)
        if isinstance(read, SegmentedImage):
            names.update({segment.number: segment.name for segment in read.segments})
            continue
        here, shades, between = _contents(read.array)
        fractional |= between
        values.update(here)
        colours.update(shades)
        in_files.update(here.keys())
    return MaskFacts(
        values=dict(sorted(values.items())),
        in_files=dict(sorted(in_files.items())),
        files=len(rows) - len(failed),
        colours=dict(sorted(colours.items(), key=lambda item: (-item[1], item[0]))),
        lossy=ending(family.rows[0].path.rpartition("/")[2]).lower() in _LOSSY,
        fractional=fractional,
        names=dict(sorted(names.items())),
        failed=tuple(failed),
        shapes=tuple(shapes),
    )


def _contents(array: Array) -> tuple[dict[int, int], dict[str, int], bool]:
    """Values -> voxels, colours -> pixels where the channels differ, and whether it is no mask of whole numbers."""
    if array.ndim == 5:
        array = array[0]
    if array.shape[0] >= 3 and array.dtype == np.uint8 and not np.array_equal(array[0], array[1]):
        packed = (array[0].astype(np.uint32) << 16) | (array[1].astype(np.uint32) << 8) | array[2]
        shades, counts = np.unique(packed, return_counts=True)
        most = np.argsort(-counts, kind="stable")[: MOST_COLOURS + 1]
        return {}, {f"#{int(shades[place]):06x}": int(counts[place]) for place in most}, False
    shown = array[:1] if array.shape[0] >= 3 and array.dtype == np.uint8 else array
    values, counts = np.unique(shown, return_counts=True)
    if not np.array_equal(values, np.round(values)) or not bool(np.isfinite(values).all()):
        return {}, {}, True
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}, {}, False


def _one_per_folder(family: Family, count: int) -> list[Row]:
    """Sampled rows; of the slices of a series one for each folder."""
    if family.name[0] != STAR:
        return spread(family.rows, count)
    firsts = {row.path.rpartition("/")[0]: row for row in reversed(family.rows)}
    return spread([firsts[folder] for folder in sorted(firsts)], count)


def _some_slices(array: Array) -> Array:
    """Every n-th slice: enough to tell a mask from a scan."""
    step = max(1, array.shape[-3] // _SLICES_READ)
    return array[..., ::step, :, :]


def _range(image: Image) -> tuple[float, float] | None:
    """Least and most physical value, where there is one rescale for all slices."""
    array = _some_slices(image.array)
    least, most = float(np.nanmin(array)), float(np.nanmax(array))
    if image.rescale.per_slice:
        return None
    ends = sorted(image.rescale.slope[0] * value + image.rescale.intercept[0] for value in (least, most))
    return ends[0], ends[1]
