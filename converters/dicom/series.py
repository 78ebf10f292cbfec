"""Which image of many is meant: what each is called without naming anybody, what is selected, what is no scan."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydicom.datadict import keyword_dict, tag_for_keyword

from medshard.converters.dicom.defined_terms import IMAGE_TYPES, MODALITIES
from medshard.converters.dicom.frames import Frame, frames_of, is_image, no_image
from medshard.converters.dicom.headers import DicomFile, read_header
from medshard.converters.dicom.split import Image, split_frames
from medshard.converters.dicom.steps import echo_time
from medshard.converters.dicom.values import numbers, text, texts
from medshard.converters.formats.faults import bad_file, bad_file_errors
from medshard.errors import CaseError

# Objects that lie beside scans and are none.
NO_SCANS = frozenset({"SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "SR", "PR", "KO", "REG", "FID", "DOC", "RTRECORD", "RWV"})
LOCALISER_WORDS = frozenset({"LOCALIZER", "SCOUT", "SURVIEW", "REF_SURVIEW", "SCREENSAVE", "SCREEN SAVE", "DOSE_INFO"})
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
MOST_LISTED = 20


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """All images of a pile of files.

    others: kind -> number of files that are no image; unreadable: what is wrong with files that cannot be read.
    """

    images: tuple[Image, ...]
    others: Mapping[str, int]
    unreadable: tuple[CaseError, ...] = ()


def catalogue(paths: Sequence[Path]) -> Catalogue:
    """What the files hold, ordered by series number and by what tells the images of a series apart.

    Raises CaseError[read.unreadable | read.truncated] for a file that cannot be read as DICOM, and [read.unsupported]
    where no file is an image.
    """
    found = survey(paths)
    if found.unreadable:
        raise found.unreadable[0]
    return found


def survey(paths: Sequence[Path]) -> Catalogue:
    """As `catalogue`, with the files that cannot be read beside the images, which may lack slices for it.

    Raises CaseError[read.unsupported] where every file can be read and none is an image.
    """
    frames: list[Frame] = []
    others: Counter[str] = Counter()
    unreadable: list[CaseError] = []
    not_image: CaseError | None = None
    for path in paths:
        try:
            with bad_file_errors(path, "pydicom"):
                file = read_header(path)
                if file is None:
                    continue
                if is_image(file.dataset):
                    frames += frames_of(file)
                    continue
                others[_kind_of(file)] += 1
                not_image = not_image or no_image(file)
        except CaseError as error:
            unreadable.append(error)
    if frames:
        with bad_file_errors(frames[0].file, "pydicom"):
            images = sorted(split_frames(frames), key=_order)
        return Catalogue(images=tuple(images), others=others, unreadable=tuple(unreadable))
    if unreadable:
        return Catalogue(images=(), others=others, unreadable=tuple(unreadable))
    raise not_image or bad_file("read.unsupported", paths[0], "the files hold a directory of images, but no image")


def selected(found: Catalogue, select: Mapping[str, str]) -> list[Image]:
    """The images whose attributes match all patterns. Raises CaseError[dicom.no_series] where none does."""
    if unknown := [name for name in select if tag_for_keyword(name) is None]:
        near = get_close_matches(unknown[0], keyword_dict, n=1)
        raise bad_file(
            "dicom.select_unknown",
            found.images[0].frames[0].file,
            f"no DICOM attribute is called {unknown[0]}",
            details={"nearest": near[0]} if near else None,
            action="Correct `select` in the entry's layout: it takes DICOM keywords, such as SeriesDescription.",
        )
    wanted = [image for image in found.images if all(_matches(image, *item) for item in select.items())]
    if wanted:
        return wanted
    raise bad_file(
        "dicom.no_series",
        found.images[0].frames[0].file,
        "no image of the files has the attributes that are selected",
        details={
            "selected by": ", ".join(f"{name}: {pattern}" for name, pattern in select.items()),
            **_listing(found.images),
        },
        action="The case is excluded. Correct `select` in the entry's layout.",
    )


def the_one(found: Catalogue, select: Mapping[str, str]) -> tuple[Image, tuple[str, ...]]:
    """The image that is meant, and a note on what was passed over.

    Raises CaseError[dicom.several_series], and the problem of the image where its frames make none.
    """
    wanted = selected(found, select)
    scans = [image for image in wanted if is_scan(image)] or wanted
    if len(scans) > 1:
        raise bad_file(
            "dicom.several_series",
            scans[0].frames[0].file,
            f"the files hold {len(scans)} images, and one is asked for",
            details=_listing(scans),
            action="The case is excluded. Name the one that is meant in the entry's layout, such as "
            f"`select: {{{(_telling(scans) or [ANY_DESCRIPTION])[0]}}}`.",
        )
    (image,) = scans
    if image.problem is not None:
        raise image.problem
    return image, _passed_over(found, wanted)


def is_scan(image: Image) -> bool:
    """Whether it is what a folder is asked for: no localiser, no annotation, no screen shot."""
    dataset = image.frames[0].source.dataset
    words = set(image.frames[0].words("ImageType"))
    return not (
        text(dataset, "Modality") in NO_SCANS
        or words & LOCALISER_WORDS
        or (text(dataset, "SOPClassUID") or "").startswith(SECONDARY_CAPTURE)
    )


def description(image: Image) -> str:
    """One line that tells images apart and names nobody: numbers, and words of the standard."""
    first = image.frames[0]
    dataset = first.source.dataset
    series = numbers(dataset, "SeriesNumber")
    modality = text(dataset, "Modality")
    words = [word for word in first.words("ImageType") if word in IMAGE_TYPES]
    steps = image.stack.steps if image.stack else 1
    slices = image.stack.slices if image.stack else len(image.frames)
    parts = [
        f"series {series[0]:g}" if series else "no series number",
        modality if modality in MODALITIES else "no known modality",
        f"{first.columns} x {first.rows} x {slices}",
    ]
    if steps > 1:
        parts.append(f"{steps} steps")
    echo = echo_time(first)
    if echo is not None:
        parts.append(f"echo time {echo:g} ms")
    if words:
        parts.append("\\".join(words))
    if image.problem is not None:
        parts.append(image.problem.code)
    return ", ".join(parts)


def _matches(image: Image, attribute: str, pattern: str) -> bool:
    """Whether a frame states it. Stars stand for anything, letter case is ignored; a number matches an equal one."""
    return any(_is_like(stated, pattern) for stated in {_stated(frame, attribute) for frame in image.frames})


def _is_like(stated: str | None, pattern: str) -> bool:
    if stated is None:
        return False
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    if re.fullmatch(expression, stated, re.IGNORECASE | re.DOTALL):
        return True
    try:
        return float(stated) == float(pattern)
    except ValueError:
        return False


def _stated(frame: Frame, attribute: str) -> str | None:
    """An attribute as text, several values joined by backslashes; None where the header has none."""
    places = [place for group in frame.groups for place in (group, *_macros(group))]
    for place in places:
        words = texts(place, attribute)
        if words:
            return "\\".join(words)
        values = numbers(place, attribute)
        if values:
            return "\\".join(f"{value:g}" for value in values)
    if attribute == "EchoTime" and (echo := echo_time(frame)) is not None:
        return f"{echo:g}"
    return None


def _macros(group: Any) -> list[Any]:
    """The first items of the sequences of a functional group; a data set itself has too many to be searched."""
    if "SOPClassUID" in group:
        return []
    return [element.value[0] for element in group if element.VR == "SQ" and element.value]


def _passed_over(found: Catalogue, wanted: Sequence[Image]) -> tuple[str, ...]:
    """Files that are no image, and images that are no scan, counted."""
    counts = Counter(found.others)
    for image in found.images:
        if image in wanted and not is_scan(image) and any(is_scan(other) for other in wanted):
            modality = text(image.frames[0].source.dataset, "Modality")
            kind = modality if modality in NO_SCANS else "localisers and screen shots"
            counts[str(kind)] += len({frame.file for frame in image.frames})
    if not counts:
        return ()
    listed = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))
    return (f"files beside the image are passed over: {listed}",)


ANY_DESCRIPTION = 'SeriesDescription: "*..."'


def _telling(images: Sequence[Image]) -> list[str] | None:
    """`keyword: value` for each image, of an attribute that is one within each and tells them apart; names nobody."""
    candidates: tuple[tuple[str, Callable[[Frame], str | None]], ...] = (
        ("SeriesNumber", lambda frame: _stated(frame, "SeriesNumber")),
        ("EchoTime", lambda frame: _stated(frame, "EchoTime")),
        ("AcquisitionNumber", lambda frame: _stated(frame, "AcquisitionNumber")),
        ("ImageType", _image_type),
        ("Rows", lambda frame: str(frame.rows)),
    )
    for keyword, value_of in candidates:
        values = [{value_of(frame) for frame in image.frames} for image in images]
        single = [value for found in values if len(found) == 1 for value in found if value is not None]
        if len(set(single)) == len(images):
            return [f"{keyword}: {value}" for value in single]
    return None


def _image_type(frame: Frame) -> str | None:
    """Image Type with its words where all of them are of the standard or of makers, else None."""
    words = frame.words("ImageType")
    return "\\".join(words) if words and all(word in IMAGE_TYPES for word in words) else None


def _listing(images: Sequence[Image]) -> dict[str, object]:
    """What the images are, and what would select each of them."""
    telling = _telling(images) or [""] * len(images)
    listed: dict[str, object] = {
        f"image {number}": description(image) + (f"; select: {{{chosen}}}" if chosen else "")
        for number, (image, chosen) in enumerate(list(zip(images, telling, strict=True))[:MOST_LISTED], start=1)
    }
    if len(images) > MOST_LISTED:
        listed["and"] = f"{len(images) - MOST_LISTED} more"
    return listed


def _order(image: Image) -> tuple[Any, ...]:
    first = image.ordered[0] if image.stack else image.frames[0]
    dataset = first.source.dataset
    series = numbers(dataset, "SeriesNumber")
    return (
        series[0] if series else 0.0,
        text(dataset, "SeriesInstanceUID") or "",
        "\\".join(first.words("ImageType")),
        echo_time(first) or 0.0,
        first.position or (),
        text(dataset, "SOPInstanceUID") or "",
        first.number,
    )


def _kind_of(file: DicomFile) -> str:
    modality = text(file.dataset, "Modality")
    return modality if modality in MODALITIES else "unknown objects"
