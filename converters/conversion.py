"""Files and folders of scans -> canonical Zarr, without a catalog: what lies there is found by its content.

The files of DICOM series are told apart by their headers, folder by folder; of other formats each header file is one
image. A file that cannot be read is reported and costs nothing else.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path

from medshard.converters.canonical import write_volume
from medshard.converters.companions import companions
from medshard.converters.formats import dicom
from medshard.converters.formats.format import ANY, Header, Request
from medshard.converters.geometry import canonical_volume
from medshard.converters.reading import is_known_format, read_all_dicom, read_header, read_image
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
class Findings:
    """images: sorted by name, each with a name of its own. unknown: files of folders that are of no known format."""

    images: tuple[Found, ...]
    unknown: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What became of one image. folder: the Zarr group, and header: of the source; or error: why there is none."""

    name: str
    files: tuple[Path, ...]
    folder: Path | None = None
    header: Header | None = None
    error: CaseError | None = None


def find_images(sources: Iterable[Path]) -> Findings:
    """What is to be read in files and folders. Links to folders are not followed."""
    found: list[Found] = []
    unknown: list[Path] = []
    for source in sources:
        if source.is_file():
            is_dicom = bool(source.stat().st_size) and dicom.sniff([source])
            found.append(Found(name=_name(source.name, source), files=(source,), is_dicom=is_dicom))
            continue
        for group in _group(sorted(path for path in source.rglob("*") if path.is_file()), source):
            if group.is_dicom or not group.files[0].stat().st_size or is_known_format(group.files):
                found.append(group)
            else:
                unknown += group.files
    return Findings(
        images=tuple(_told_apart(sorted(found, key=lambda group: (group.name, group.files)))), unknown=tuple(unknown)
    )


def convert_images(
    found: Iterable[Found], output: Path, *, request: Request = ANY, pyramid_levels: int = 0
) -> Iterator[Converted]:
    """Convert one after the other into `output/NAME.zarr`; a group that is there already is an error of its image."""
    for group in found:
        try:
            images = _read(group, request)
        except CaseError as error:
            yield Converted(name=group.name, files=group.files, error=error)
            continue
        several = len(images) > 1
        names = (f"{group.name}-{number}" if several else group.name for number in count(1))
        # Not a loop, whose variables would keep an image until the next one is there.
        yield from map(partial(_convert, group, output, pyramid_levels), names, images)


def _convert(
    group: Found, output: Path, pyramid_levels: int, name: str, item: tuple[Header, Image] | CaseError
) -> Converted:
    if isinstance(item, CaseError):
        return Converted(name=name, files=group.files, error=item)
    header, image = item
    folder = output / f"{name}.zarr"
    if folder.exists():
        error = CaseError(
            "convert.exists",
            where=name,
            problem="the output is there already, and is left as it is",
            details={"folder": folder},
            action="Remove it, or convert into another folder.",
        )
        return Converted(name=name, files=group.files, error=error)
    volume = Volume(entry="files", case=name, patient="", images={"image": image})
    try:
        write_volume(canonical_volume(volume), folder, pyramid_levels=pyramid_levels)
    except CaseError as error:
        return Converted(name=name, files=group.files, error=error)
    return Converted(name=name, files=group.files, folder=folder, header=header)


def _read(group: Found, request: Request) -> dicom.AllImages | list[tuple[Header, Image]]:
    """The images of DICOM files come one at a time, errors among them; other files hold one image."""
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


def _told_apart(found: Sequence[Found]) -> list[Found]:
    """With `_2`, `_3`, ... behind a name that several places make: `a b` and `a_b`, or equal ones of two sources."""
    taken = {group.name for group in found}
    seen: set[str] = set()
    named = []
    for group in found:
        numbered = (f"{group.name}_{number}" for number in count(2))
        name = group.name if group.name not in seen else next(name for name in numbered if name not in taken)
        seen.add(name)
        taken.add(name)
        named.append(replace(group, name=name))
    return named


def _name(place: str, root: Path) -> str:
    """A name for a folder of the output: the place below the source, without what file names may not hold."""
    name = UNFIT.sub("_", root.name if place == "." else place).strip("._-")
    return name or "image"
