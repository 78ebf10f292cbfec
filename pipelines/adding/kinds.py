"""What the files of a family are, by the content of a few of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from medshard.converters.companions import PAIRS
from medshard.converters.formats import dicom, raster
from medshard.converters.reading import ANNOTATION_FORMATS, identify, is_known_format
from medshard.converters.signals.reading import is_signal
from medshard.converters.slides.reading import is_slide
from medshard.converters.tables.reading import is_table
from medshard.converters.videos.reading import is_video
from medshard.errors import CaseError, MedshardError, MissingExtraError
from medshard.pipelines.adding.keys import STAR, Family, ending, spread
from medshard.pipelines.adding.samples import is_flat
from medshard.pipelines.adding.walk import FoundFiles

SAMPLES = 2
MOST_LOOKED_INTO = 60
FEWEST_SLICES = 3
_RADIOGRAPHS = frozenset({"CR", "DX", "MG", "XA", "RF"})
_PICTURE = raster.FORMAT.name


class Kind(StrEnum):
    VOLUME = "volume"
    PICTURE = "picture"
    SLIDE = "slide"
    VIDEO = "video"
    MESH = "mesh"
    SIGNAL = "signal"
    TABLE = "table"
    TEXT = "text"
    JSON = "json"
    XML = "xml"
    DATA = "data"
    OUTLINES = "outlines"
    OTHER = "other"


IMAGES = frozenset({Kind.VOLUME, Kind.PICTURE, Kind.SLIDE})
_ENDINGS = {
    ".json": Kind.JSON,
    ".xml": Kind.XML,
    ".csv": Kind.TABLE,
    ".tsv": Kind.TABLE,
    ".xlsx": Kind.TABLE,
    ".xls": Kind.TABLE,
    ".csv.gz": Kind.TABLE,
    ".tsv.gz": Kind.TABLE,
    ".parquet": Kind.TABLE,
    ".txt": Kind.TEXT,
    ".edf": Kind.SIGNAL,
    ".bdf": Kind.SIGNAL,
}
"""Where the name says enough, or the content of texts says little."""
_SAMPLES_OF_HEADER = (".dat", ".mat")
_HEADERS_OF = {
    "raw": ("mhd", "nhdr"),
    "zraw": ("mhd",),
    "dat": ("hea",),
    "atr": ("hea",),
    "mat": ("hea",),
}
_NO_DATA = frozenset(
    {".py", ".m", ".sh", ".ipynb", ".yaml", ".yml", ".pdf", ".docx", ".doc", ".html", ".cfg", ".ini", ".log"}
)
_SLIDE_ENDINGS = frozenset({".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".svslide", ".tif", ".tiff"})


@dataclass(frozen=True)
class KnownFamily:
    """A family and what it is.

    format: of volumes and meshes, as the reader calls it; of a WFDB header the ending of its samples.
    flat: its first file holds a few whole numbers, as masks do.
    """

    family: Family
    kind: Kind
    format: str = ""
    flat: bool = False


def with_kinds(families: Sequence[Family], found: FoundFiles) -> tuple[KnownFamily, ...]:
    """Each family with what its first files are; the data files of detached headers are marked."""
    names = {row.path for family in families for row in family.rows}
    known = [_known(family, found, names) for family in families]
    looked = 0
    for place, one in enumerate(known):
        if one.kind in {Kind.VOLUME, Kind.PICTURE} and looked < MOST_LOOKED_INTO:
            known[place] = replace(one, flat=is_flat(one.family, found))
            looked += 1
    return tuple(known)


def series_asker(found: FoundFiles) -> Callable[[str], bool]:
    """Whether `folder/*.dcm` are the slices of images: several DICOM files of a modality that comes in slices."""
    members: dict[str, list[str]] = {}
    for path in found.paths:
        folder, _, name = path.rpartition("/")
        members.setdefault(f"{folder}/*{ending(name)}", []).append(path)

    def is_series(place: str) -> bool:
        of_place = members[place]
        suffix = place.rpartition("*")[2].lower()
        if len(of_place) < FEWEST_SLICES or suffix not in {"", ".dcm", ".ima", ".dicom", ".img"}:
            return False
        files = [found.at(path) for path in (of_place[0], of_place[1], of_place[-1])]
        return all(dicom.FORMAT.sniff([file]) for file in files) and _are_slices(files)

    return is_series


def _are_slices(files: Sequence[Path]) -> bool:
    """Whether two of the files belong to one series: radiographs in one folder do not."""
    import pydicom  # noqa: PLC0415 - only where there is DICOM

    series = []
    for file in files:
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["SeriesInstanceUID", "Modality"])
        except Exception:
            return False
        if header.get("Modality") in _RADIOGRAPHS:
            return False
        series.append(str(header.get("SeriesInstanceUID", "")))
    return len(set(series)) < len(series)


def _known(family: Family, found: FoundFiles, names: set[str]) -> KnownFamily:
    if family.name[0] == STAR:
        return KnownFamily(family, Kind.VOLUME, dicom.FORMAT.name)
    first = family.rows[0].path
    suffix = ending(first.rpartition("/")[2]).lower()
    if _is_data_of_header(first, names):
        return KnownFamily(family, Kind.DATA)
    if suffix in _NO_DATA:
        return KnownFamily(family, Kind.OTHER)
    if suffix == ".hea":
        stem = first.removesuffix(suffix)
        data = next((ending for ending in _SAMPLES_OF_HEADER if stem + ending in names), None)
        return KnownFamily(family, Kind.SIGNAL, data) if data else KnownFamily(family, Kind.OTHER)
    if suffix in _ENDINGS:
        return KnownFamily(family, _ENDINGS[suffix])
    kinds = [_kind_of(found.at(row.path), suffix) for row in spread(family.rows, SAMPLES)]
    return KnownFamily(family, *max(kinds, key=lambda kind: kind[0] is not Kind.OTHER))


def _is_data_of_header(path: str, names: set[str]) -> bool:
    """The voxels or samples of a header that lies beside them under the same name."""
    stem, _, suffix = path.rpartition(".")
    headers = {"raw": ("mhd", "nhdr"), "zraw": ("mhd",), "dat": ("hea",), "atr": ("hea",), "mat": ("hea",)}.get(
        suffix.lower(), ()
    )
    if suffix.lower() == "gz":
        stem, _, suffix = stem.rpartition(".")
        headers = {"raw": ("nhdr",), "img": ("hdr",)}.get(suffix.lower(), ())
    if suffix.lower() in {ending[1:] for ending in PAIRS[".hdr"]}:
        headers = ("hdr",)
    return any(f"{stem}.{header}" in names for header in headers)


def _kind_of(path: Path, suffix: str) -> tuple[Kind, str]:
    files = [path]
    try:
        if suffix in _SLIDE_ENDINGS and _is_slide(files):
            return Kind.SLIDE, ""
        if _is_outlines(files):
            return Kind.OUTLINES, ""
        if is_known_format(files):
            found = identify(files, "add")
            kind = Kind.MESH if found.kind == "mesh" else Kind.PICTURE if found.name == _PICTURE else Kind.VOLUME
            return kind, found.name
        return next((kind for kind, asks in _QUESTIONS if asks(files)), Kind.OTHER), ""
    except (CaseError, OSError):
        return Kind.OTHER, ""


def _is_outlines(files: Sequence[Path]) -> bool:
    return any(one.sniff(files) for one in ANNOTATION_FORMATS)


_QUESTIONS: tuple[tuple[Kind, Callable[[Sequence[Path]], bool]], ...] = (
    (Kind.VIDEO, is_video),
    (Kind.SIGNAL, is_signal),
    (Kind.TABLE, is_table),
)


def _is_slide(files: Sequence[Path]) -> bool:
    try:
        return is_slide(files)
    except MissingExtraError:
        return files[0].suffix.lower() not in {".tif", ".tiff"}
    except MedshardError:
        return False
