"""Opening DICOM objects that are no images (SEG, RTSTRUCT)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
from pydicom.filereader import read_file_meta_info, read_partial
from pydicom.uid import DeflatedExplicitVRLittleEndian

from medshard.converters.dicom.headers import (
    READER,
    DicomFile,
    has_preamble,
    looks_like_dicom,
    read_file_header,
    silent_log,
)
from medshard.converters.formats.faults import bad_file_errors
from medshard.converters.formats.format import first_bytes
from medshard.errors import CaseError

SOP_CLASS = 0x00080016


@contextmanager
def opened_object(path: Path) -> Iterator[DicomFile]:
    """The object without its pixels. What pydicom raises on its content while the context lasts becomes CaseError
    [read.truncated | read.unreadable]; its warnings, which quote values, go nowhere."""
    with silent_log(), warnings.catch_warnings(), bad_file_errors(path, READER):
        warnings.simplefilter("ignore")
        yield read_file_header(path)


def sop_class(path: Path) -> str | None:
    """The SOP class UID that a file states, None where it is not DICOM or states none."""
    if not looks_like_dicom(path):
        return None
    try:
        with silent_log(), warnings.catch_warnings(), bad_file_errors(path, READER):
            warnings.simplefilter("ignore")
            meta = read_file_meta_info(path) if has_preamble(first_bytes(path, 132)) else pydicom.Dataset()
            if "MediaStorageSOPClassUID" in meta:
                return str(meta.MediaStorageSOPClassUID)
            # Behind this syntax pydicom would inflate all of the file, however large that is.
            if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
                return None
            with path.open("rb") as stream:
                start = read_partial(stream, stop_when=lambda tag, *_: int(tag) > SOP_CLASS, force=True)
            return str(start.SOPClassUID) if "SOPClassUID" in start else None
    except CaseError:
        return None
