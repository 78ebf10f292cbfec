"""Numbers written as text: the voxels of `encoding: text`, `BinaryData = False`, and VTK's ASCII."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np

from medshard.converters.formats.faults import bad_file
from medshard.converters.volume import Array

BLOCK = 1 << 16
LONGEST_NUMBER = 64
BLANKS = (b" ", b"\n", b"\r", b"\t")
WORD = re.compile(rb"\S+")


def read_text_numbers(stream: IO[bytes], file: Path, target: Array) -> None:
    """Fill a C-ordered array with the next numbers of a stream, separated by white space.

    The stream stands right behind the last of them then. Raises CaseError[read.truncated] when there are too few,
    [read.unreadable] for what is no number of the array's type.
    """
    flat = target.reshape(-1)
    filled = 0
    while filled < flat.size:
        at = stream.tell()
        block = stream.read(BLOCK)
        if not block:
            raise bad_file(
                "read.truncated",
                file,
                "the file holds fewer numbers than its header promises",
                details={"expected": flat.size, "found": filled},
            )
        # A word at the end of a full block may go on in the next one.
        whole = block if len(block) < BLOCK else block[: max(block.rfind(blank) for blank in BLANKS) + 1]
        if not whole:
            raise _no_number(file, flat.dtype)
        found = list(islice(WORD.finditer(whole), flat.size - filled))
        flat[filled : filled + len(found)] = _numbers([word.group() for word in found], file, flat.dtype)
        filled += len(found)
        stream.seek(at + (found[-1].end() if filled == flat.size else len(whole)))


def _numbers(words: list[bytes], file: Path, dtype: np.dtype[np.generic]) -> Array:
    if max(map(len, words), default=0) > LONGEST_NUMBER:
        raise _no_number(file, dtype)
    if not words:
        return np.empty(0, dtype)
    try:
        if dtype.kind == "f":
            with np.errstate(over="ignore"):
                return np.array([float(word) for word in words], np.float64).astype(dtype)
        return np.array([int(word) for word in words], dtype)
    except (ValueError, OverflowError) as error:
        raise _no_number(file, dtype) from error


def _no_number(file: Path, dtype: np.dtype[np.generic]) -> Exception:
    return bad_file(
        "read.unreadable",
        file,
        "a word among the voxels is no number of their type",
        details={"expected": dtype.name},
    )
