"""What NumPy's own functions would make of the arguments that a pickle gives them; none of them is called.

Source: NumPy, `ndarray.__reduce__`, `dtype.__reduce__`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.array_types import Array
from medshard.converters.formats.faults import bad_file
from medshard.converters.signals.stored_arrays import DEEPEST
from medshard.errors import CaseError

LONGEST_WORD = 1 << 16
PLAIN_DTYPE = re.compile(r"[iu][1248]|f[248]|b1", re.ASCII)
CALLABLES = {
    **{(f"numpy.{core}.multiarray", name): name for core in ("core", "_core") for name in ("_reconstruct", "scalar")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): "_frombuffer" for core in ("core", "_core")},
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    ("collections", "OrderedDict"): "OrderedDict",
}


@dataclass(frozen=True)
class Name:
    """One of `CALLABLES`."""

    name: str


@dataclass
class _Type:
    """A NumPy type: letters such as `f8`, and whether its bytes are big end first."""

    letters: str
    big: bool = False


@dataclass
class Held:
    """An array; None before its numbers are known, and for arrays that hold no plain numbers."""

    array: Array | None = None


def made(path: Path, name: str, arguments: tuple[Any, ...]) -> Any:
    """What NumPy's function of that name would make of the arguments."""
    match name, arguments:
        case "_reconstruct", (Name("ndarray"), tuple(), _):
            return Held()
        case "dtype", (letters, *_):
            return _Type(word(path, letters))
        case "scalar", (_Type() as kind, bytes() | memoryview() as content):
            return Held(_array(path, (), kind, content, fortran=False))
        case "_frombuffer", (bytes() | memoryview() as content, _Type() as kind, tuple() as shape, order):
            return Held(_array(path, shape, kind, content, fortran=word(path, order) == "F"))
        case "encode", (str() as text, coding) if word(path, coding) in ("latin1", "latin-1"):
            return text.encode("latin-1")
        case "OrderedDict", ():
            return {}
    raise broken(path)


def built(path: Path, target: Any, state: Any) -> None:
    """Give a type its order of bytes, or an array its numbers."""
    match target, state:
        case _Type(), (int(), order, None, *_):
            target.big = word(path, order) == ">"
        case _Type(), _:
            # Text, records, dates: arrays of it are passed over.
            target.letters = "-"
        case Held(), (int(), tuple() as shape, _Type() as kind, fortran, content):
            target.array = _array(path, shape, kind, content, fortran=bool(fortran))
        case _:
            raise broken(path)


def _array(path: Path, shape: tuple[Any, ...], kind: _Type, content: Any, *, fortran: bool) -> Array | None:
    """A view of the bytes; None for what holds no plain numbers. Nothing is allocated."""
    if not PLAIN_DTYPE.fullmatch(kind.letters):
        return None
    whole = isinstance(content, bytes | memoryview) and all(type(size) is int and size >= 0 for size in shape)
    dtype = np.dtype(f"{'>' if kind.big else '<'}{kind.letters}")
    if not whole or len(shape) > DEEPEST or math.prod(shape) * dtype.itemsize != len(content):
        raise bad_file("read.unreadable", path, "an array of the pickle has not the bytes that its shape needs")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def word(path: Path, value: Any) -> str:
    """A short text; what Python 2 wrote as its `str` is bytes here."""
    if isinstance(value, str):
        return value
    if not isinstance(value, bytes | memoryview) or len(value) > LONGEST_WORD:
        raise broken(path)
    return bytes(value).decode("latin-1")


def broken(path: Path) -> CaseError:
    return bad_file("read.unreadable", path, "an instruction of the pickle makes no sense")


def unsupported(path: Path, problem: str) -> CaseError:
    return bad_file(
        "read.unsupported",
        path,
        problem,
        action="The case is excluded. Pickles are followed, never run; save the arrays as npz.",
    )
