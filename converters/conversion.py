"""Files and folders of scans -> canonical Zarr, without a catalog: what lies there is found by its content.

The files of DICOM series are told apart by their headers, folder by folder; of other formats each header file is one
image. A file that cannot be read is reported and costs nothing else.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medshard.converters.canonical import write_volume
from medshard.converters.companions import companions
from medshard.converters.formats import dicom
from medshard.converters.formats.format import ANY, Header, Request
from medshard.converters.geometry import canonical_volume
from medshard.converters.reading import read_all_dicom, read_header, read_image
from medshard.converters.volume import Image, Volume
from medshard.errors import CaseError

UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, kw_only=True)
class Found:
    """Files that are read together. name: of the output, made of their place below the source."""

    name: str
    files: tuple[Path, ...]
    is_dicom: bool


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What became of one image. folder: the Zarr group, and header: of the source; or error: why there is none."""

    name: str
    files: tuple[Path, ...]
    folder: Path | None = None
    header: Header | None = None
    error: CaseError | None = None


def find_images(sources: Iterable[Path]) -> list[Found]:
    """What is to be read in files and folders, sorted by name; links are not followed out of a folder."""
    found: list[Found] = []
    for source in sources:
        paths = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
        found += _group(paths, source if source.is_dir() else source.parent)
    return sorted(found, key=lambda group: group.name)


def convert_images(
    found: Sequence[Found], output: Path, *, request: Request = ANY, pyramid_levels: int = 0
) -> Iterator[Converted]:
    """Convert one after the other into `output/NAME.zarr`; a folder that is there already is not touched.

    Raises FileExistsError when a folder of that name has content.
    """
    for group in found:
        try:
            images = _read(group, request)
        except CaseError as error:
            yield Converted(name=group.name, files=group.files, error=error)
            continue
        for number, (header, image) in enumerate(images, start=1):
            name = group.name if len(images) == 1 else f"{group.name}-{number}"
            folder = output / f"{name}.zarr"
            volume = Volume(entry="files", case=name, patient="", images={"image": image})
            try:
                write_volume(canonical_volume(volume), folder, pyramid_levels=pyramid_levels)
            except CaseError as error:
                yield Converted(name=name, files=group.files, error=error)
                continue
            yield Converted(name=name, files=group.files, folder=folder, header=header)


def _read(group: Found, request: Request) -> list[tuple[Header, Image]]:
    if group.is_dicom:
        return read_all_dicom(group.files, where=group.name, request=request)
    header = read_header(group.files, where=group.name, request=request)
    image = read_image(group.files, where=group.name, request=request)
    if header.modality == "CT" and image.rescale.unit == "arbitrary":
        image = replace(image, rescale=replace(image.rescale, unit="HU"))
    return [(header, image)]


def _group(paths: Sequence[Path], root: Path) -> Iterator[Found]:
    """DICOM files by folder, other files with the data files that their header names."""
    known = {path.relative_to(root).as_posix(): path for path in paths}
    series: Mapping[Path, list[Path]] = defaultdict(list)
    claimed: set[str] = set()
    others: list[str] = []
    for name, path in known.items():
        if path.stat().st_size and dicom.sniff([path]):
            series[path.parent].append(path)
        else:
            others.append(name)
    belonging = {name: companions(name, known[name], known.keys()) for name in others}
    for data in belonging.values():
        claimed.update(data)
    for folder, slices in series.items():
        yield Found(name=_name(folder.relative_to(root).as_posix(), root), files=tuple(slices), is_dicom=True)
    for name in others:
        if name not in claimed:
            files = (known[name], *(known[other] for other in belonging[name]))
            yield Found(name=_name(name, root), files=files, is_dicom=False)


def _name(place: str, root: Path) -> str:
    """A name for a folder of the output: the place below the source, without what file names may not hold."""
    name = UNFIT.sub("_", root.name if place == "." else place).strip("._-")
    return name or "image"
