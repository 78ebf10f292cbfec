"""Bad files: what the reading libraries raise, said as `CaseError`."""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from medshard.converters.formats.library_messages import without_values
from medshard.errors import CaseError, MedshardError

# What nibabel, SimpleITK, pydicom, pylibjpeg, Pillow and trimesh raise on a file that they cannot make sense of.
# Decoders trip over broken bytes in every way that Python has, so the list is long; MemoryError is not on it.
BAD_FILE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)

# Libraries that raise kinds of their own, which derive from none of these. The first is how decoders in Rust panic.
LIBRARIES = frozenset({"pyo3_runtime", "nibabel", "pydicom", "PIL", "zipfile", "lzma", "h5py", "trimesh", "_pickle"})

# How the libraries say that bytes are missing at the end.
SHORT_DATA = (
    "truncated",
    "less than expected",
    "fread got only",
    "expected to read",
    "end of file",
    "end-of-stream",
    "unexpected eof",
    "bytes but received",
    "broken data stream",
)


def bad_file(
    code: str, file: Path, problem: str, *, details: dict[str, object] | None = None, action: str = ""
) -> CaseError:
    """The error about one file, for the format modules, which know files and no cases."""
    return CaseError(
        code,
        where=file.name,
        problem=problem,
        details=details,
        action=action or "The case is excluded. Fetch the file again, or repair it at the source.",
    )


@contextmanager
def bad_file_errors(file: Path, reader: str) -> Iterator[None]:
    """Turn what a library raises on a bad file into CaseError[read.truncated | read.unreadable].

    An OSError that carries an errno speaks of the machine (no such file, disk full, permission), not of the file's
    content; it passes, and so does MemoryError. A library's message loses the values that it quotes.
    """
    try:
        yield
    except MedshardError:
        raise
    except BaseException as error:
        if not _speaks_of_the_file(error):
            raise
        if "failed to allocate memory" in str(error).lower():
            raise MemoryError("the reader failed to allocate memory") from error
        details: dict[str, object] = {"file": file.name, "reader": reader, "reason": _reason(error, file)}
        if is_short_data(error):
            raise bad_file("read.truncated", file, "the file ends too early", details=details) from error
        raise bad_file("read.unreadable", file, "the file cannot be decoded", details=details) from error


def _speaks_of_the_file(error: BaseException) -> bool:
    """Whether an error is about a file's content, not about the machine or the user."""
    if isinstance(error, BAD_FILE):
        return not (isinstance(error, OSError) and error.errno is not None)
    return type(error).__module__.partition(".")[0] in LIBRARIES and not isinstance(error, MemoryError)


def _reason(error: BaseException, file: Path) -> str:
    """The kind of error and what the library says, without values of the header (`library_messages`).

    Nor what differs from run to run: folders, addresses, places in its source.
    """
    text = " ".join(str(error).split()).replace(str(file), file.name).replace(f"{file.parent}{os.sep}", "")
    text = re.sub(r"\S+\.[ch]xx:\d+:\s*|\(0x[0-9a-f]+\)", "", text)
    said = without_values(text, kept=(file.name,))
    return type(error).__name__ if said is None else f"{type(error).__name__}: {said}"


def is_short_data(error: BaseException) -> bool:
    """Whether an error says that the data end too early."""
    text = str(error).lower()
    return isinstance(error, EOFError) or any(phrase in text for phrase in SHORT_DATA)


def refuse_no_files(files: Sequence[Path], where: str) -> None:
    """Raise CaseError[read.no_files | read.truncated (an empty file)]."""
    if not files:
        raise CaseError(
            "read.no_files", where=where, problem="no file is given for the image", action="Correct the entry's layout."
        )
    empty = next((path for path in files if path.stat().st_size == 0), None)
    if empty is not None:
        raise CaseError(
            "read.truncated",
            where=where,
            problem="the file is empty",
            details={"file": empty.name},
            action="The case is excluded. Fetch the file again.",
        )


@contextmanager
def errors_of_case(files: Sequence[Path], reader: str, where: str) -> Iterator[None]:
    """Errors about files, said of the case."""
    try:
        with bad_file_errors(files[0], reader):
            yield
    except CaseError as error:
        details = {"file": error.where, **error.details}
        raise CaseError(error.code, where=where, problem=error.problem, details=details, action=error.action) from error
