"""The stored numbers of a DICOM object's frames, in every transfer syntax, without a decoder chosen by chance.

What comes out are the numbers of the file: only the bits that mean something, signs restored. Three things change them,
because nothing else makes sense of them, and each is a note: colours become RGB, palettes are looked up, and so are
modality tables, which stand where other images have a slope.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.dicom.codestreams import compressed_frames
from medshard.converters.dicom.colours import (
    modality_dtype,
    palette_dtype,
    rgb_of_palette,
    rgb_of_ybr,
    through_modality_table,
)
from medshard.converters.dicom.native_pixels import native_frames
from medshard.converters.dicom.pixel_layout import PixelLayout, layout_of, pixel_error
from medshard.converters.formats.faults import bad_file_errors
from medshard.converters.volume import Array

READER = "pydicom"
PALETTE = "PALETTE COLOR"
LOSSY_SYNTAXES = {
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.81",
}
# Of a whole object: a compressed one must not ask for more than this many times its size.
FREE_BYTES = 1 << 30
MOST_SHRUNK = 1000


@dataclass(frozen=True, kw_only=True)
class StoredForm:
    """dtype: of the decoded numbers; channels: 1 or 3; notes: what was applied, or is doubtful, one sentence each."""

    dtype: str
    channels: int
    notes: tuple[str, ...] = ()


def stored_form(dataset: Any, *, file: Path | None = None) -> StoredForm:
    """What `decode_file` will return, from the header alone. Raises CaseError[read.unreadable | read.unsupported]."""
    with _errors(dataset, file):
        layout = layout_of(dataset, file)
        notes = tuple(_notes(dataset, layout))
        if layout.photometric == PALETTE:
            return StoredForm(dtype=palette_dtype(dataset), channels=3, notes=notes)
        if _has_modality_table(dataset):
            return StoredForm(dtype=modality_dtype(dataset), channels=layout.samples, notes=notes)
        return StoredForm(dtype=layout.dtype, channels=layout.samples, notes=notes)


def decode_file(dataset: Any, numbers: Sequence[int] | None = None, *, file: Path | None = None) -> Array:
    """The frames `numbers` (all, in stored order) of a Dataset that has its pixels: (n, y, x, c).

    file: for messages only. The array may be a read-only view of the dataset's bytes: copy it before changing it.
    Raises CaseError[read.truncated | read.unreadable | read.unsupported].
    """
    with _errors(dataset, file):
        layout = layout_of(dataset, file)
        wanted = range(layout.frames) if numbers is None else list(numbers)
        _require_sane(dataset, layout, wanted, file)
        if not wanted:
            return np.empty((0, layout.rows, layout.columns, layout.samples), layout.dtype)
        frames = _frames(dataset, layout, wanted, file)
        first = next(frames)
        if len(wanted) == 1:
            return first[None]
        out = np.empty((len(wanted), *first.shape), first.dtype)
        out[0] = first
        for place, frame in enumerate(frames, start=1):
            out[place] = frame
        return out


def _frames(dataset: Any, layout: PixelLayout, wanted: Sequence[int], file: Path | None) -> Iterator[Array]:
    if layout.compressed:
        decoded = compressed_frames(dataset, layout, wanted, file)
    else:
        decoded = ((frame, layout.photometric == "RGB") for frame in native_frames(dataset, layout, wanted, file))
    for frame, is_rgb in decoded:
        if layout.samples == 3 and not is_rgb:
            yield rgb_of_ybr(frame)
        elif layout.photometric == PALETTE:
            yield rgb_of_palette(frame, dataset)
        elif _has_modality_table(dataset):
            yield through_modality_table(frame, dataset)
        else:
            yield frame


def _require_sane(dataset: Any, layout: PixelLayout, wanted: Sequence[int], file: Path | None) -> None:
    """Before anything of the stated size is allocated."""
    if layout.keyword not in dataset:
        raise pixel_error("read.unreadable", dataset, file, "the object has no pixels")
    if not isinstance(wanted, range) and any(not 0 <= number < layout.frames for number in wanted):
        raise pixel_error("read.unreadable", dataset, file, "a frame was asked for that the header does not state")
    if layout.compressed and len(wanted) * layout.decoded_bytes > max(
        FREE_BYTES, MOST_SHRUNK * len(dataset[layout.keyword].value or b"")
    ):
        raise pixel_error(
            "read.truncated",
            dataset,
            file,
            "the compressed pixels are too short for the size that the header states",
            {"rows, columns, frames": (layout.rows, layout.columns, layout.frames)},
        )


def _notes(dataset: Any, layout: PixelLayout) -> Iterator[str]:
    if layout.photometric == PALETTE:
        yield "palette expanded to RGB"
    elif _has_modality_table(dataset):
        yield "a modality table, not a slope, makes the numbers physical; it is applied"
    elif layout.samples == 3 and layout.photometric != "RGB":
        yield f"colours converted from {layout.photometric} to RGB"
    if layout.syntax in LOSSY_SYNTAXES or str(dataset.get("LossyImageCompression", "")) == "01":
        yield "the pixels were compressed with loss before they came here"
    if layout.high != layout.stored - 1:
        yield "the meaningful bits do not begin at the lowest one; they were moved there"
    if dataset.get("PixelPaddingValue") is not None:
        yield "a pixel padding value is stated: pixels that hold it were not measured"
    if not getattr(dataset, "file_meta", {}).get("TransferSyntaxUID"):
        yield "no transfer syntax is stated; the pixels are taken as not compressed"


def _has_modality_table(dataset: Any) -> bool:
    return bool(dataset.get("ModalityLUTSequence")) and int(dataset.get("SamplesPerPixel") or 1) == 1


@contextmanager
def _errors(dataset: Any, file: Path | None) -> Iterator[None]:
    """What the decoders raise, said of the file. pydicom's warnings of this step are about tolerated oddities."""
    named = file or getattr(dataset, "filename", None)
    path = Path(named) if isinstance(named, str | Path) else Path("DICOM object")
    with warnings.catch_warnings(), bad_file_errors(path, READER):
        warnings.simplefilter("ignore")
        yield
