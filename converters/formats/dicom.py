"""DICOM: the files of one or more series, or one multi-frame file. Headers by pydicom; pixels as in `dicom.pixels`.

Oracle for the geometry: GDCM by way of SimpleITK's series reader, except for gantry tilt, which it does not represent;
and dcm2niix. The array holds the stored numbers; the rescale, one for the image or one per slice, makes them physical.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.dicom import attributes, burned_in, mr, suv
from medshard.converters.dicom.frames import Frame
from medshard.converters.dicom.headers import (
    frames_attached,
    holds_plain_frames,
    looks_like_dicom,
    notes_of,
    pixels_attached,
    remarks,
)
from medshard.converters.dicom.pixels import StoredForm, decode_file, stored_form
from medshard.converters.dicom.rescale import StackRescale, folded, frame_rescale, in_suv, stack_rescale
from medshard.converters.dicom.series import catalogue, description, selected, survey, the_one
from medshard.converters.dicom.split import Image as Scan
from medshard.converters.dicom.stack import Stack
from medshard.converters.dicom.values import text
from medshard.converters.formats.faults import bad_file, bad_file_errors
from medshard.converters.formats.format import ANY, Files, Format, Header, Request, installed_versions, narrowed
from medshard.converters.spooling import Spool, release_pages
from medshard.converters.volume import Array, AttributeValue, Image
from medshard.errors import CaseError

READER = "pydicom"
Entry = tuple[Frame, int, int]
"""A frame, and the step and the slice of the array that it fills."""
THREADS = 2
CHUNK_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class _Meant:
    """One image of the files, and what is to be said about it."""

    scan: Scan
    stack: Stack
    form: StoredForm
    scaled: StackRescale
    notes: tuple[str, ...]

    @property
    def first(self) -> Frame:
        return self.scan.ordered[0]


def sniff(files: Files) -> bool:
    return looks_like_dicom(files[0])


def read_header(files: Files, request: Request = ANY) -> Header:
    """Header of the image that is meant, from all its files' headers.

    Raises CaseError[dicom.*] as `the_one` and `stack_frames` do.
    """
    with remarks() as caught:
        header = _header(_meant(files, request))
    return replace(header, warnings=(*header.warnings, *notes_of(caught)))


def read(files: Files, request: Request = ANY) -> Image:
    """Stored numbers as (c, z, y, x), slices sorted by position; (t, c, z, y, x) where places have several frames."""
    with remarks():
        return _image(_meant(files, request), request.spool)


@dataclass(frozen=True, kw_only=True)
class AllImages:
    """Every image of some files, one in memory at a time; a bad image or file is an error among the others.

    count: of images and errors; one_by_one: to be gone through once.
    """

    count: int
    one_by_one: Iterator[tuple[Header, Image] | CaseError]

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[Header, Image] | CaseError]:
        return self.one_by_one


def read_all(files: Files, request: Request = ANY) -> AllImages:
    """Every image of the files that the request selects, scans or not; files that are no DICOM are passed over.

    Files that cannot be read are errors at the end. Headers are read now, voxels when an image's turn comes.
    Raises CaseError[dicom.no_series | read.unsupported (no file is an image)].
    """
    with remarks():
        found = survey(_dicom_only(files))
        scans = selected(found, request.select) if found.images else []
    lost = len(found.unreadable)
    notes = (f"{lost} files beside the image cannot be read; if they are slices of it, it lacks them",) if lost else ()
    return AllImages(count=len(scans) + lost, one_by_one=_each(scans, notes, found.unreadable, request.spool))


def _each(
    scans: Sequence[Scan], notes: tuple[str, ...], unreadable: Sequence[CaseError], spool: Spool
) -> Iterator[tuple[Header, Image] | CaseError]:
    for scan in scans:
        try:
            yield _both(scan, notes, spool)
        except CaseError as error:
            yield error
    yield from unreadable


def _both(scan: Scan, notes: tuple[str, ...], spool: Spool) -> tuple[Header, Image]:
    with remarks() as caught, bad_file_errors(scan.frames[0].file, READER):
        meant = _prepared(scan, notes)
        header, image = _header(meant), _image(meant, spool)
    return replace(header, warnings=(*header.warnings, *notes_of(caught))), image


def descriptions(files: Files, request: Request = ANY) -> list[str]:
    """What images the files hold, one line each, naming nobody."""
    with remarks():
        return [description(scan) for scan in selected(survey(_dicom_only(files)), request.select)]


def _dicom_only(files: Files) -> Files:
    """A folder that is looked through holds other files too; a folder that is one image does not."""
    return [path for path in files if looks_like_dicom(path)]


def decoders() -> dict[str, str]:
    return installed_versions(
        "pydicom", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle", "pyjpegls", "numpy"
    )


def _meant(files: Files, request: Request) -> _Meant:
    found = catalogue(files)
    scan, passed_over = the_one(found, request.select)
    return _prepared(scan, passed_over)


def _prepared(scan: Scan, passed_over: tuple[str, ...]) -> _Meant:
    if scan.stack is None:
        raise scan.problem or bad_file("dicom.no_image", scan.frames[0].file, "the frames are no image")
    first = scan.ordered[0]
    with bad_file_errors(first.file, READER):
        form = stored_form(first.source.dataset, file=first.file)
        rescales = [frame_rescale(frame.source.dataset, frame.number_in_file) for frame in scan.ordered]
        scaled, suv_notes = _with_suv(scan, stack_rescale(rescales, steps=scan.stack.steps))
    notes = (
        *scan.stack.warnings,
        *passed_over,
        *_series_notes(scan),
        *form.notes,
        *scaled.notes,
        *suv_notes,
    )
    return _Meant(scan=scan, stack=scan.stack, form=form, scaled=scaled, notes=tuple(dict.fromkeys(notes)))


def _header(meant: _Meant) -> Header:
    first, stack = meant.first, meant.stack
    dataset = first.source.dataset
    modality = attributes.modality(dataset)
    return Header(
        format=FORMAT.name,
        shape=(stack.slices, first.rows, first.columns),
        channels=meant.form.channels,
        timepoints=stack.steps,
        affine=stack.affine,
        dtype="float32" if meant.scaled.fold is not None else meant.form.dtype,
        modality=modality,
        sequence=_sequence(meant),
        trusted_geometry=stack.trusted_geometry,
        leading=stack.leading,
        attributes=_attributes(meant),
        subject=attributes.subject_facts(dataset),
        identifiers=attributes.identifiers(dataset),
        burned_in=burned_in.suspicion(dataset),
        warnings=meant.notes,
    )


def _image(meant: _Meant, spool: Spool) -> Image:
    first, stack = meant.first, meant.stack
    dataset = first.source.dataset
    stored, fold = _voxels(meant, spool), meant.scaled.fold
    array = narrowed(stored, spool, reuse=True) if fold is None else folded(stored, fold, spool)
    modality = attributes.modality(dataset)
    return Image(
        array=array,
        affine=stack.affine,
        rescale=meant.scaled.rescale,
        modality=modality or "",
        sequence=_sequence(meant),
        trusted_geometry=stack.trusted_geometry,
        leading=stack.leading,
        attributes=_attributes(meant),
    )


def _sequence(meant: _Meant) -> str | None:
    """The word for the contrast of an MR image, all of whose b-values have a say in it."""
    leading = meant.stack.leading
    b_values = (leading.values or ()) if leading is not None and leading.kind == "diffusion" else ()
    word = mr.sequence(meant.first.source.dataset, b_values)
    return str(word) if word else None


def _voxels(meant: _Meant, spool: Spool) -> Array:
    """(c, z, y, x), or (t, c, z, y, x) of several steps, decoded file by file into its place.

    Nothing of the stated size is made before the first file has shown that its frames have it.
    """
    stack, ordered = meant.stack, meant.scan.ordered
    slots: dict[Path, list[Entry]] = defaultdict(list)
    for index, frame in enumerate(ordered):
        slots[frame.file].append((frame, *divmod(index, stack.slices)))
    files = list(slots.values())
    begin = _decoded_chunk if _is_plain(ordered[0], meant.form) else _decoded
    begun = begin(files[0][:1], meant.form)
    shape = (stack.steps, meant.form.channels, stack.slices, *begun.shape[1:3])
    array = spool.empty(shape, begun.dtype)

    def fill(entries: Sequence[Entry]) -> None:
        decoded = _decoded_chunk if _is_large(entries, meant.form) else _decoded
        for chunk in _chunks(entries, begun.nbytes):
            _put(array, chunk, decoded(chunk, meant.form))
            release_pages(array)

    if ordered[0].source.is_encapsulated and len(files) > 1:
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(fill, files):
                pass
    else:
        for entries in files:
            fill(entries)
    return array if stack.leading is not None else array[0]


def _is_large(entries: Sequence[Entry], form: StoredForm) -> bool:
    first = entries[0][0]
    return len(entries) * _frame_bytes(first, form) > CHUNK_BYTES and _is_plain(first, form)


def _is_plain(frame: Frame, form: StoredForm) -> bool:
    """Whether frames can be read from the file one by one: uncompressed, whole bytes, kept as they are stored."""
    dataset = frame.source.dataset
    kept = text(dataset, "PhotometricInterpretation") in ("MONOCHROME1", "MONOCHROME2", "RGB")
    bits = int(dataset.get("BitsAllocated") or 16)
    as_stored = "ModalityLUTSequence" not in dataset and bits == np.dtype(form.dtype).itemsize * 8
    return frame.mosaic is None and kept and as_stored and holds_plain_frames(frame.source, _frame_bytes(frame, form))


def _frame_bytes(frame: Frame, form: StoredForm) -> int:
    return frame.rows * frame.columns * form.channels * np.dtype(form.dtype).itemsize


def _chunks(entries: Sequence[Entry], frame_bytes: int) -> Iterator[Sequence[Entry]]:
    """Frames of one file in stored order, so many at a time that they add little to the memory that the image takes."""
    if entries[0][0].mosaic is not None:
        yield entries
        return
    stored = sorted(entries, key=lambda entry: entry[0].number)
    count = max(1, CHUNK_BYTES // max(1, frame_bytes))
    begin = 0
    for end in range(1, len(stored) + 1):
        if end == len(stored) or stored[end][0].number - stored[begin][0].number >= count:
            yield stored[begin:end]
            begin = end


def _decoded_chunk(entries: Sequence[Entry], form: StoredForm) -> Array:
    """As `_decoded`, of frames that are read from the file without the others."""
    first, last = entries[0][0], entries[-1][0]
    with frames_attached(first.source, first.number, last.number + 1, _frame_bytes(first, form)) as dataset:
        return decode_file(dataset, [frame.number - first.number for frame, _, _ in entries], file=first.file)


def _decoded(entries: Sequence[Entry], form: StoredForm) -> Array:
    """The frames of one file as (n, y, x, c)."""
    first = entries[0][0]
    with pixels_attached(first.source) as dataset:
        if first.mosaic is not None:
            (large,) = decode_file(dataset, [0], file=first.file)
            pixels = first.mosaic.tiles(large, [frame.number for frame, _, _ in entries])
        else:
            pixels = decode_file(dataset, [frame.number for frame, _, _ in entries], file=first.file)
    expected = (len(entries), first.rows, first.columns, form.channels)
    if pixels.shape != expected:
        raise bad_file(
            "read.unreadable",
            first.file,
            "the decoded frames have another shape than the header states",
            details={"expected": expected, "found": pixels.shape},
        )
    return pixels


def _put(array: Array, entries: Sequence[Entry], pixels: Array) -> None:
    for (_, t, z), plane in zip(entries, pixels, strict=True):
        array[t, :, z] = np.moveaxis(plane, -1, 0)


def _with_suv(scan: Scan, scaled: StackRescale) -> tuple[StackRescale, tuple[str, ...]]:
    """PET in SUVbw where the header allows it; else as stored, and the reason."""
    files = {frame.file: frame.source.dataset for frame in scan.ordered}
    if text(scan.ordered[0].source.dataset, "Modality") != "PT":
        return scaled, ()
    scaling = suv.suv_scaling(list(files.values()))
    if scaling.factor is None:
        return scaled, (f"the numbers are not made SUV: {scaling.reason}", *scaling.notes)
    return in_suv(scaled, scaling.factor), scaling.notes


def _attributes(meant: _Meant) -> Mapping[str, AttributeValue]:
    """Of the first slice of every step; several values where they differ."""
    stack, ordered = meant.stack, meant.scan.ordered
    firsts = [ordered[step * stack.slices] for step in range(stack.steps)]
    first = attributes.acquisition_attributes(firsts[0].source.dataset, firsts[0].number_in_file)
    if stack.steps == 1:
        return first
    others = [attributes.acquisition_attributes(f.source.dataset, f.number_in_file) for f in firsts[1:]]
    return {keyword: _over_steps(value, [other.get(keyword) for other in others]) for keyword, value in first.items()}


def _over_steps(first: AttributeValue, others: Sequence[AttributeValue | None]) -> AttributeValue:
    values = [first, *others]
    if all(value == first for value in others):
        return first
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return tuple(float(value) for value in values)  # type: ignore[arg-type]
    if all(isinstance(value, str) for value in values):
        return tuple(str(value) for value in values)
    return first


def _series_notes(scan: Scan) -> list[str]:
    datasets: list[Any] = list({f.file: f.source.dataset for f in scan.ordered}.values())
    found = []
    patients = {text(dataset, "PatientID") for dataset in datasets}
    if len(patients) > 1:
        found.append(f"the files of the series name {len(patients)} patients")
    dropped = attributes.dropped_note(datasets[0], scan.ordered[0].number_in_file)
    if dropped:
        found.append(dropped)
    return found


FORMAT = Format(
    name="dicom",
    kind="image",
    suffixes=(".dcm", ""),
    sniff=sniff,
    read_header=read_header,
    read=read,
    decoders=decoders,
)
