"""Pickles that hold data only: containers, texts, numbers and NumPy arrays of numbers. Nothing in one is run.

A pickle is a program that may call anything it can name. This unpickler knows eight names, all of which make arrays or
empty containers; any other is refused before it is looked up.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.formats.faults import bad_file
from medshard.errors import CaseError

LARGEST_PICKLE = 1 << 30
LARGEST_ITEM = 1 << 16


def is_pickle(path: Path) -> bool:
    """By the mark of protocols 2 to 5; older ones have none and go by the suffix."""
    with path.open("rb") as stream:
        start = stream.read(2)
    marked = len(start) == 2 and start[0] == 0x80 and 2 <= start[1] <= 5
    return marked or path.suffix.lower() in (".pkl", ".pickle")


def load_plain(path: Path, *, encoding: str = "latin1") -> Any:
    """What a pickle holds. encoding: of the texts of Python 2; `latin1` keeps the bytes of its arrays.

    Raises CaseError[read.unsafe_pickle | read.too_large | read.unreadable].
    """
    size = path.stat().st_size
    if size > LARGEST_PICKLE:
        raise bad_file("read.too_large", path, f"a pickle of more than {LARGEST_PICKLE >> 20} MiB")
    content = path.read_bytes()
    _refuse_runaway(path, content)
    try:
        return _PlainUnpickler(io.BytesIO(content), path, encoding=encoding).load()
    except (CaseError, MemoryError):
        raise
    except Exception as error:
        raise bad_file(
            "read.unreadable", path, "the pickle cannot be decoded", details={"reason": type(error).__name__}
        ) from error


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, path: Path, *, encoding: str) -> None:
        super().__init__(stream, encoding=encoding)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        asked = (module.replace("numpy._core", "numpy.core"), name)
        if asked not in _KNOWN:
            raise bad_file(
                "read.unsafe_pickle",
                self._path,
                "the pickle asks for code, and pickles are never run",
                details={"asked for": f"{module}.{name}"[:80] if f"{module}{name}".isprintable() else "unprintable"},
                action="Convert the file to npz, csv or parquet with the source's own program.",
            )
        return _KNOWN[asked]

    def persistent_load(self, pid: Any) -> Any:  # noqa: ARG002
        raise bad_file("read.unsafe_pickle", self._path, "the pickle refers to objects outside itself")


class _Kind:
    """Stands for a NumPy dtype while a pickle is read: a letter code and a byte order, nothing else."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        if state[3] is not None or state[4] is not None or state[2] is not None:
            raise ValueError("a dtype that is no plain number or text")
        order = state[1].decode("latin1") if isinstance(state[1], bytes) else state[1]
        self.order = {"<": "<", ">": ">"}.get(order, "=")

    def dtype(self) -> np.dtype[Any]:
        made = np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]
        if made.hasobject or made.fields or made.itemsize > LARGEST_ITEM:
            raise ValueError("a dtype that is no plain number or text")
        return made


class _Array(np.ndarray[Any, Any]):
    """An array whose state is checked before NumPy takes it."""

    def __setstate__(self, state: Any) -> None:
        version, shape, kind, by_columns, raw = state
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        if not isinstance(kind, _Kind) or not isinstance(raw, bytes) or not _fits(shape, kind, len(raw)):
            raise ValueError("an array that is not what its bytes are")
        super().__setstate__((version, shape, kind.dtype(), bool(by_columns), raw))  # type: ignore[arg-type]


class _Call:
    """A function that a pickle may call and cannot change."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise ValueError("a pickle changes what it calls")


def _fits(shape: Any, kind: _Kind, size: int) -> bool:
    whole = isinstance(shape, tuple) and all(type(length) is int and length >= 0 for length in shape)
    return whole and len(shape) <= 32 and math.prod(shape) * kind.dtype().itemsize == size


def _reconstruct(_kind: Any, _shape: Any, _code: Any) -> np.ndarray[Any, Any]:
    return _Array((0,), np.int8)


def _dtype(code: Any, *_options: Any) -> _Kind:
    code = code.decode("latin1") if isinstance(code, bytes) else code
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise ValueError("a dtype that is no plain number or text")
    return _Kind(code)


def _scalar(kind: Any, raw: Any) -> Any:
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    if not isinstance(kind, _Kind) or not isinstance(raw, bytes) or len(raw) != kind.dtype().itemsize:
        raise ValueError("a number of another size than its type")
    return np.frombuffer(raw, kind.dtype())[0].item()


def _encode(text: Any, encoding: Any) -> bytes:
    """How Python 3 writes bytes in protocol 2."""
    if encoding != "latin1" or not isinstance(text, str):
        raise ValueError("bytes in an unusual form")
    return text.encode("latin1")


def _from_buffer(raw: Any, kind: Any, shape: Any, order: Any) -> np.ndarray[Any, Any]:
    """How protocol 5 writes arrays."""
    if not isinstance(kind, _Kind) or not isinstance(raw, bytes | bytearray) or not _fits(shape, kind, len(raw)):
        raise ValueError("an array that is not what its bytes are")
    array = np.frombuffer(bytes(raw), kind.dtype()).reshape(shape, order="F" if order == "F" else "C")
    return array.view(_Array)


_CODE = re.compile(r"[<>=|]?([biufc]\d{1,2}|[SU]\d{1,4}|b1|\?)")

_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Call(_reconstruct),
    ("numpy.core.multiarray", "scalar"): _Call(_scalar),
    ("numpy.core.numeric", "_frombuffer"): _Call(_from_buffer),
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): _Call(_dtype),
    ("_codecs", "encode"): _Call(_encode),
    ("collections", "OrderedDict"): dict,
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
}


def _refuse_runaway(path: Path, content: bytes) -> None:
    """Refuse what makes far more than it holds: a memo index or a length beyond the file.

    Raises CaseError[read.unreadable].
    """
    try:
        for operation, argument, _place in pickletools.genops(content):
            far = operation.name in ("LONG_BINPUT", "PUT", "BINPUT") and int(argument or 0) > len(content)
            if far or operation.name in ("EXT1", "EXT2", "EXT4", "INST", "OBJ"):
                raise bad_file("read.unsafe_pickle", path, "the pickle does what plain data never need")
    except CaseError:
        raise
    except Exception as error:
        raise bad_file("read.unreadable", path, "the pickle is damaged or cut off") from error
