"""Bad files: what the reading libraries raise, said as `CaseError`."""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    content; it passes, and so does MemoryError.
    """
    try:
        yield
    except MedshardError:
        raise
    except BAD_FILE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = _reason(error, file)
        if "failed to allocate memory" in reason.lower():
            raise MemoryError(reason) from error
        details: dict[str, object] = {
            "file": file.name,
            "reader": reader,
            "reason": f"{type(error).__name__}: {reason}",
        }
        if is_short_data(error):
            raise bad_file("read.truncated", file, "the file ends too early", details=details) from error
        raise bad_file("read.unreadable", file, "the file cannot be decoded", details=details) from error


def _reason(error: BaseException, file: Path) -> str:
    """The library's message without what differs from run to run: folders, addresses, places in its source."""
    text = " ".join(str(error).split()).replace(str(file), file.name).replace(f"{file.parent}{os.sep}", "")
    return re.sub(r"\S+\.[ch]xx:\d+:\s*|\(0x[0-9a-f]+\)", "", text)


def is_short_data(error: BaseException) -> bool:
    """Whether an error says that the data end too early."""
    text = str(error).lower()
    return isinstance(error, EOFError) or any(phrase in text for phrase in SHORT_DATA)
